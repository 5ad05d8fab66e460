"""What a new process costs that imports whence, or records one run in an embedded catalog, beside `import mlflow`.

Steps in pods and in worker pools are new processes. CPU time is the user's and the system's of the whole process, memory
the most that was resident; a bare interpreter is in both, on both sides.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import environments, measure

_IMPORTED = "import whence"
_RECORDED = """
import sys, whence
client = whence.connect(sys.argv[1])
with client.run("train", params={"c": 1.0, "epochs": 3}) as run:
    run.publish("model:detector", b"weights")
client.close()
"""


def benchmarks() -> list[measure.Benchmark]:
    """All of this module."""
    cpu, memory = measure.Clock.CPU, measure.Clock.MEMORY
    rows = (
        ("process-import-cpu", 0.1, cpu, "ms", _IMPORTED),
        ("process-import-memory", 0.4, memory, "MB", _IMPORTED),
        ("process-record-cpu", 0.4, cpu, "ms", _RECORDED),
        ("process-record-memory", 0.4, memory, "MB", _RECORDED),
    )
    return [
        measure.Benchmark(name, goal, clock, partial(_beside_mlflow, code), unit=unit)
        for name, goal, clock, unit, code in rows
    ]


@contextmanager
def _beside_mlflow(code: str) -> Iterator[measure.Contenders]:
    theirs = environments.python(environments.MLFLOW)
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as name:
        folder = Path(name) / ".whence"
        ours = partial(spent, [sys.executable, "-c", code, str(folder)])
        floor = partial(spent, [str(theirs), "-c", "import mlflow"])
        yield measure.Contenders(lambda: ours, lambda: floor)


def spent(command: list[str]) -> measure.Spent:
    """What a process took from its start to its end, which is to be a good one."""
    # Modules are compiled once on a machine, and not by each process.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment)
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status):
        raise OSError(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    kibibyte = 1 if sys.platform == "darwin" else 1024
    return measure.Spent(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * kibibyte)
