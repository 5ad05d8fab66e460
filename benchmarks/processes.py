"""What a new process costs that imports whence, or records one run in an embedded catalog, beside `import mlflow`.

Steps in pods and in worker pools are new processes. CPU time is the user's and the system's of the whole process, memory
the most that was resident; a bare interpreter is in both, on both sides.
"""

import json
import os
import subprocess
import sys
import tempfile
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


# A process begins with the most that the one which started it held: so a small one starts it.
_STARTER = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, used = os.wait4(process, 0)
wall = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), wall, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def spent(command: list[str]) -> measure.Spent:
    """What a process took from its start to its end, which is to be a good one."""
    # Modules are compiled once on a machine, and not by each process.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = subprocess.run(
        [sys.executable, "-S", "-c", _STARTER, *command],
        capture_output=True,
        check=True,
        env=environment,
    )
    code, wall, cpu, held = json.loads(started.stdout)
    if code:
        raise OSError(f"{command[0]} ended with {code}: {started.stderr.decode()[-2000:]}")
    return measure.Spent(wall, cpu, held * (1 if sys.platform == "darwin" else 1024))
