"""What ran is compared with what is covered: on every Python that can tell, in threads and inside one another."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tests.core import code_corpus
from tests.core.code_pairs import PAIRS
from tests.core.test_code_identity import PROBE, interpreters
from tests.core.test_code_pairs import answers, version_of

_BEGIN = f"""
import json, os, pathlib, sys, threading
sys.path[:0] = [{PROBE[0].rpartition("/")[0]!r}, os.getcwd()]
import code_corpus
fingerprint = code_corpus.load_fingerprint({PROBE[1]!r}, {PROBE[2]!r})
from whence import executed
import pipe
ROOT = pathlib.Path.cwd()
def compared(step, further=()):
    return executed.compared(fingerprint.code_identity(step, ROOT, (), further), ROOT)
"""
_PIPE = """
import importlib
def step(x):
    return x
def other(x):
    return x + 1
def hidden(x):
    return x + 2
def also_hidden(x):
    return x + 3
"""


def able() -> list[str]:
    return [python for python in interpreters() if version_of(python) >= (3, 12)]


def told_by(python: str, folder: pathlib.Path, script: str, **files: str) -> Any:
    code_corpus.write(folder, {"pipe.py": _PIPE, **{f"{name}.py": text for name, text in files.items()}})
    done = subprocess.run([python, "-c", _BEGIN + script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("python", able())
def test_no_project_of_the_corpus_runs_what_is_not_covered_but_the_one_that_unpickles(python: str) -> None:
    told = {
        pair.name: answer["holes"]
        for pair in PAIRS
        for answer in answers(python)[pair.name]
        if answer["covered"] is not True
    }
    assert told == {"class that only unpickling brings in": ["shapes"]}


@pytest.mark.parametrize("python", able())
def test_what_ran_unseen_is_a_further_root_and_covered_from_then_on(
    python: str, tmp_path: pathlib.Path
) -> None:
    script = """
import pickle
def run(further):
    identity = fingerprint.code_identity(pipe.step, ROOT, (), further)
    with executed.compared(identity, ROOT) as comparison:
        pickle.loads(b"cshapes\\nA\\n)R.").m()
    return comparison, identity
first, before = run(())
second, after = run(first.missed)
print(json.dumps([first.covered, first.holes, second.covered, second.holes, sorted(set(after.rows) - set(before.rows))]))
"""
    told = told_by(
        python, tmp_path, script, shapes="import deeper\nclass A:\n    def m(self): return 1\n", deeper=""
    )
    assert told == [False, ["deeper", "shapes"], True, [], ["file deeper.py", "file shapes.py"]]


@pytest.mark.parametrize("python", able())
def test_a_thread_that_nobody_claims_is_everybodys(python: str, tmp_path: pathlib.Path) -> None:
    script = """
with compared(pipe.step) as comparison:
    thread = threading.Thread(target=pipe.hidden, args=(1,))
    thread.start()
    thread.join()
print(json.dumps(comparison.holes))
"""
    assert told_by(python, tmp_path, script) == ["pipe.hidden"]


@pytest.mark.parametrize("python", able())
def test_what_a_step_inside_another_runs_is_its_own(python: str, tmp_path: pathlib.Path) -> None:
    script = """
with compared(pipe.step) as outer:
    pipe.hidden(1)
    with compared(pipe.other) as inner:
        pipe.other(1)
        pipe.also_hidden(1)
    between = inner.holes
with compared(pipe.step) as later:
    with compared(pipe.other) as inner:
        pipe.hidden(1)
    pipe.hidden(1)
print(json.dumps([outer.holes, between, later.holes, inner.holes]))
"""
    told = told_by(python, tmp_path, script)
    assert told == [["pipe.hidden"], ["pipe.also_hidden"], ["pipe.hidden"], ["pipe.hidden"]]


@pytest.mark.parametrize("python", able())
def test_two_at_once_each_hear_of_what_both_run(python: str, tmp_path: pathlib.Path) -> None:
    script = """
both, told = threading.Barrier(2), {}
def run(name, later):
    with compared(pipe.step) as comparison:
        for turn in (False, True):
            both.wait()
            if turn is later:
                pipe.hidden(1)
        both.wait()
    told[name] = comparison.holes
threads = [threading.Thread(target=run, args=arguments) for arguments in (("a", False), ("b", True))]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([told["a"], told["b"]]))
"""
    assert told_by(python, tmp_path, script) == [["pipe.hidden"], ["pipe.hidden"]]


@pytest.mark.parametrize("python", able())
def test_code_that_was_replaced_in_the_process_is_not_what_its_file_says(
    python: str, tmp_path: pathlib.Path
) -> None:
    script = """
identity = fingerprint.code_identity(pipe.step, ROOT)
made = {}
exec(compile("def step(x):\\n    return x + 5", pipe.__file__, "exec"), made)
with executed.compared(identity, ROOT) as comparison:
    made["step"](1)
print(json.dumps(comparison.holes))
"""
    assert told_by(python, tmp_path, script) == ["pipe.step"]


@pytest.mark.parametrize("python", able())
def test_where_all_numbers_are_taken_nothing_is_compared_and_a_number_is_given_back(
    python: str, tmp_path: pathlib.Path
) -> None:
    script = """
with compared(pipe.step) as free:
    during = [sys.monitoring.get_tool(tool) for tool in (3, 4)]
after = [sys.monitoring.get_tool(tool) for tool in (3, 4)]
for tool in (3, 4): sys.monitoring.use_tool_id(tool, "another")
with compared(pipe.step) as taken:
    pipe.hidden(1)
print(json.dumps([free.covered, during, after, taken.covered, taken.holes]))
"""
    assert told_by(python, tmp_path, script) == [True, [None, "whence"], [None, None], None, []]


@pytest.mark.parametrize("python", able())
def test_a_forked_child_is_not_compared_and_ends_as_it_would(python: str, tmp_path: pathlib.Path) -> None:
    script = """
with compared(pipe.step) as comparison:
    child = os.fork()
    if child == 0:
        pipe.hidden(1)
        os._exit(7 if sys.monitoring.get_tool(4) is None else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps([status, comparison.covered]))
"""
    assert told_by(python, tmp_path, script) == [7, True]


def test_before_python_3_12_nothing_is_compared(tmp_path: pathlib.Path) -> None:
    script = """
with compared(pipe.step) as comparison:
    pipe.hidden(1)
print(json.dumps([sys.version_info[:2] >= (3, 12), comparison.covered, comparison.holes]))
"""
    for python in interpreters() or [sys.executable]:
        is_able, covered, holes = told_by(python, tmp_path, script)
        assert (covered, holes) == ((False, ["pipe.hidden"]) if is_able else (None, []))
