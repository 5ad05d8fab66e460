"""What it costs to capture what a Run needs to be made again, in a git work tree of 2,000 and of 50,000 files.

The floor is one `git status` there, which takes turns with it. In a process that has captured before, a look at each
file is all; in a new one, which a process before it left what it knew, `git status` is part of it. Of 50,000 files only
the imported ones are taken, and commit and diff stand in for the rest.
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

_ROOT = Path(__file__).parent.parent
_FEW, _MANY = 2_000, 50_000
_FOLDERS = 40
# What a process does, timed from within: its start is the interpreter's, and the code's identity the key's.
_CAPTURE = """
import gc, json, pathlib, sys, time
root, url = pathlib.Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(root))
from whence import capture, connecting, fingerprint
import part_00.step as step
client = connecting.open_client(url)
code = fingerprint.code_identity(step.fit, root)
def timed():
    wall, cpu = time.perf_counter(), time.process_time()
    capture.capture(client, step.fit, root, code)
    return [time.perf_counter() - wall, time.process_time() - cpu]
gc.collect()  # all that was loaded is looked at once more, sooner or later
first = timed()
if len(sys.argv) > 3:
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(timed()), flush=True)
else:
    print(json.dumps(first))
client.close()
"""


def benchmarks(quick: bool) -> list[measure.Benchmark]:
    """All of this module; quickly, without the work tree of 50,000."""
    wall = measure.Clock.WALL
    found = [
        measure.Benchmark("capture-warm-2000", 1.0, wall, partial(_warm, _FEW), limit=10.0),
        measure.Benchmark("capture-new-process-2000", 2.0, wall, partial(_new, _FEW)),
    ]
    if quick:
        return found
    return [
        *found,
        measure.Benchmark("capture-warm-50000", 1.0, wall, partial(_warm, _MANY)),
        measure.Benchmark("capture-new-process-50000", 2.0, wall, partial(_new, _MANY)),
    ]


@contextmanager
def _project(files: int) -> Iterator[tuple[Path, Path]]:
    """A repository with that many modules and a few changes, and a folder for a catalog."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve() / "project"
        for place in range(files):
            folder = root / f"part_{place % _FOLDERS:02}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"module_{place}.py").write_text("import os\n" + "VALUE = 1\n" * (5 + place % 100))
        (root / "pyproject.toml").write_text('[project]\nname = "many"\nversion = "1"\n')
        (root / "part_00" / "step.py").write_text("def fit(x):\n    return x\n")
        for arguments in (["init"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
            who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)
        for place in range(5):
            (root / f"part_{place:02}" / "new.py").write_text("x = 1\n")
            (root / f"part_{place:02}" / f"module_{place}.py").write_text("x = 2\n")
        yield root, root.parent / "catalog"


@contextmanager
def _warm(files: int) -> Iterator[measure.Contenders]:
    with _project(files) as (root, url):
        _captured(root, url)
        process = _start(root, url, "again")
        assert process.stdin is not None
        assert process.stdout is not None
        said, answers = process.stdin, process.stdout

        def again() -> measure.Spent:
            said.write("\n")
            said.flush()
            return measure.Spent(*json.loads(answers.readline()))

        try:
            assert answers.readline() == "ready\n"
            yield measure.Contenders(lambda: again, lambda: partial(_status, root))
        finally:
            said.close()
            process.wait()


@contextmanager
def _new(files: int) -> Iterator[measure.Contenders]:
    with _project(files) as (root, url):
        _captured(root, url)
        ours: Callable[[], measure.Spent] = partial(_captured, root, url)
        yield measure.Contenders(lambda: ours, lambda: partial(_status, root))


def _captured(root: Path, url: Path) -> measure.Spent:
    """What a new process takes to capture, told by itself."""
    process = _start(root, url)
    out, _ = process.communicate()
    assert process.returncode == 0
    return measure.Spent(*json.loads(out))


def _start(root: Path, url: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _CAPTURE, str(root), str(url), *more],
        cwd=_ROOT,
        env={**os.environ, "WHENCE_CODE_CACHE": str(root.parent / "shelf")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _status(root: Path) -> None:
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    subprocess.run(["git", "-C", str(root), "status"], env=variables, check=True, capture_output=True)
