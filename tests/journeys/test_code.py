"""What counts as a step's code can be asked for: of a step that never ran, and of a run."""

import json
import os
import subprocess
import sys

from tests.conftest import Project

_SCRIPT = """
import logging, threading
import shapes
log = logging.getLogger("x")
def helper(x, lock=threading.Lock()): return x
@whence.step
def good(x): return shapes.A().m() + eval("1")
@whence.step
def bad(x): return helper(x)
if __name__ == "__main__":
    show(good(4))
"""


def asked(project: Project, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "whence", "why", "--code", *arguments],
        cwd=project.folder,
        env={**os.environ, "WHENCE_URL": str(project.url)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_counts_as_a_steps_code_is_named_with_what_is_left_open(project: Project) -> None:
    project.write(_SCRIPT)
    (project.folder / "shapes.py").write_text("class A:\n    def m(self): return 1\n")
    good = json.loads(asked(project, "pipeline:good", "--json"))
    assert {row["symbol"]: row["where"] for row in good["covered"] if "shapes" in row["symbol"]} == {
        "project shapes.py": "shapes.py",
        "shapes:A": "shapes.py",
        "shapes:A.m": "shapes.py",
    }
    assert (good["job"], good["widened"], good["uncacheable"]) == (
        "pipeline.good",
        ["pipeline:good uses eval"],
        [],
    )
    bad = asked(project, "pipeline:bad")
    assert "no key: pipeline:helper has a default for lock: _thread.lock" in bad


def test_of_a_run_it_is_what_its_record_says(project: Project) -> None:
    project.write(_SCRIPT)
    (project.folder / "shapes.py").write_text("class A:\n    def m(self): return 1\n")
    assert project.run() == 2
    (run,) = project.client.catalog.runs()
    said = json.loads(asked(project, str(run.uid), "--json"))
    assert "shapes:A.m" in {row["symbol"] for row in said["covered"]}
    expected = True if sys.version_info >= (3, 12) else None
    assert (said["job"], said["compared"], said["holes"]) == ("pipeline.good", expected, [])
    assert ("coverage not checked" in asked(project, str(run.uid))) == (expected is None)
