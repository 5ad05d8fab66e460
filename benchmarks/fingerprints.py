"""What it costs to know the code of a step that calls 200 functions in 50 modules, most of which it does not call.

In a process that has answered before, the floor is what cannot be left out: a look at each file's state. In a
new one, whose user's shelf has the survey of every file, it is the import of the same modules from what they
were compiled to. On Python 3.12 and later there is a row for the comparison of what ran with what is covered.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import measure
from whence import executed, fingerprint, source

_ROOT = Path(__file__).parent.parent
_MODULES, _CALLED, _UNCALLED = 50, 4, 16
_CALLS = 200_000
_BODY = """
def called_{n}(x, scale=1):
    \"\"\"What it does.\"\"\"
    total = 0
    for item in range(int(x)):
        total += item * RATE * scale if item % 2 == 0 else -math.sqrt(item) - TABLE["a"]
    return total + {next}
"""
_IDLE = """
def not_called_{n}(x):
    values = [item * {n} for item in x if item]
    return sum(values) / max(len(values), 1)
"""
_STEP = "import part_00\ndef step(x): return {sum}\ndef one(x): return x + 1\ndef tight(n):\n    y = 0\n    for _ in range(n): y = one(y)\n    return y\n"
# What a new process does, timed from within: its start is the interpreter's.
_NEW = {
    "ours": "from whence import fingerprint; import project_step; begin(); fingerprint.code_identity(project_step.step, root)",
    "floor": "begin(); import project_step",
}
_TIMED = """
import json, pathlib, sys, time
sys.path.insert(0, sys.argv[1])
root = pathlib.Path(sys.argv[1])
def begin():
    global wall, cpu
    wall, cpu = time.perf_counter(), time.process_time()
{work}
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


def benchmarks() -> list[measure.Benchmark]:
    """All of this module."""
    cpu = measure.Clock.CPU
    found = [
        measure.Benchmark("code-warm", 20.0, cpu, _warm, operations=5, limit=2.0),
        measure.Benchmark("code-new-process", 8.0, cpu, _new, limit=60.0),
    ]
    if sys.version_info >= (3, 12):
        found.append(measure.Benchmark("code-compared", 1.05, cpu, _compared))
    return found


@contextmanager
def _project() -> Iterator[Path]:
    """A folder with the project, whose modules are compiled; on `sys.path` while it is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "pyproject.toml").write_text('[project]\nname = "many"\n')
        for place in range(_MODULES):
            later = place + 1 < _MODULES
            head = f"import part_{place + 1:02}\n" if later else ""
            head += 'import math\nRATE = 0.5\nTABLE = {"a": 1, "b": [1, 2, 3]}\n'
            bodies = [
                _BODY.format(n=n, next=f"part_{place + 1:02}.called_{n}(x)" if later else "x")
                for n in range(_CALLED)
            ]
            bodies += [_IDLE.format(n=n) for n in range(_UNCALLED)]
            (folder / f"part_{place:02}.py").write_text(head + "".join(bodies))
        called = " + ".join(f"part_00.called_{n}(x)" for n in range(_CALLED))
        (folder / "project_step.py").write_text(_STEP.format(sum=called))
        while any(source.state(str(path)) == () for path in folder.glob("*.py")):
            pass  # until the file system's clock has moved on, a file may change and look the same
        sys.path.insert(0, str(folder))
        try:
            yield folder
        finally:
            sys.path.remove(str(folder))
            for loaded in [name for name in sys.modules if name.startswith(("part_", "project_step"))]:
                del sys.modules[loaded]


@contextmanager
def _warm() -> Iterator[measure.Contenders]:
    with _project() as folder:
        step = __import__("project_step").step
        files = [str(path) for path in sorted(folder.glob("*.py"))]
        first = fingerprint.code_identity(step, folder)
        assert len([symbol for symbol in first.rows if ":" in symbol]) == _MODULES * _CALLED + 1

        def known() -> None:
            assert fingerprint.code_identity(step, folder) is first, "nothing changed"

        yield measure.Contenders(lambda: known, lambda: partial(_look_at, files))


def _look_at(files: list[str]) -> None:
    for path in files:
        os.stat(path)


@contextmanager
def _new() -> Iterator[measure.Contenders]:
    with _project() as folder, tempfile.TemporaryDirectory() as shelf:
        environment = {**os.environ, "WHENCE_CODE_CACHE": shelf}

        def timed(which: str) -> measure.Spent:
            said = subprocess.run(
                [sys.executable, "-c", _TIMED.format(work=_NEW[which]), str(folder)],
                cwd=_ROOT,
                env=environment,
                capture_output=True,
                check=True,
            )
            return measure.Spent(*json.loads(said.stdout))

        timed("ours")  # fills the shelf, and compiles the modules
        yield measure.Contenders(lambda: partial(timed, "ours"), lambda: partial(timed, "floor"))


@contextmanager
def _compared() -> Iterator[measure.Contenders]:
    with _project() as folder:
        tight: Callable[[int], int] = __import__("project_step").tight
        identity = fingerprint.code_identity(tight, folder)

        def compared() -> None:
            with executed.compared(identity, folder) as comparison:
                tight(_CALLS)
            assert comparison.covered

        yield measure.Contenders(lambda: compared, lambda: partial(tight, _CALLS))
