"""What is remembered of a step's code is never stale: whatever changes, the answer is that of a new walk."""

import importlib
import os
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import code_corpus
from whence import fingerprint, further, shelf, source

FILES = {
    "remembered_pipe.py": """
import collections, functools
import remembered_lib as lib
from remembered_lib import helper, Shape, TABLE
LIMIT = 1
BYTES = bytearray(1)
class Queue(collections.deque): pass
QUEUE = Queue([1])
class Around:
    def __init__(self, f): functools.update_wrapper(self, f)
    def __call__(self, x): return x
around = Around(helper)
NAMES = ["a", {"b": [1]}]
half = functools.partial(helper, k=2)
kind = functools.singledispatch(helper)
def make(k):
    def inner(x): return x * k
    return inner
times = make(3)
def plain(x, y=1, *, z=2): return x + y + z
def step(x):
    import remembered_late
    y = helper(x) + lib.helper(x) + lib.CONST + half(x) + times(x) + plain(x) + LIMIT + len(NAMES) + kind(x) + len(BYTES) + len(QUEUE) + around(x)
    return y + Shape().area() + TABLE["a"] + lib.shape.side + remembered_late.f(x) + abs(x)
""",
    "remembered_lib.py": """
CONST = 1
TABLE = {"a": 1}
def helper(x, k=1): return x + k
def other(x, k=1): return x - k
class Base:
    K = 1
    def area(self): return self.K
class Shape(Base):
    side = 2
shape = Shape()
""",
    "remembered_late.py": "def f(x): return x\n",
}
_MODULES = [name.removesuffix(".py") for name in FILES]


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    code_corpus.write(tmp_path, FILES)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in _MODULES:
        sys.modules.pop(name, None)


def settle(folder: pathlib.Path) -> None:
    """Return once the file system's clock has moved on from the last write."""
    while any(source.state(str(path)) == () for path in folder.glob("*.py")):
        pass


def identity(folder: pathlib.Path) -> fingerprint.CodeIdentity:
    step = sys.modules["remembered_pipe"].__dict__["step"]
    return fingerprint.code_identity(step, folder)


def walked(folder: pathlib.Path) -> fingerprint.CodeIdentity:
    step = sys.modules["remembered_pipe"].__dict__["step"]
    return fingerprint._walked(step, os.path.realpath(folder), [], ())[1]


def pipe() -> Any:
    return sys.modules["remembered_pipe"]


def lib() -> Any:
    return sys.modules["remembered_lib"]


def cell() -> types.CellType:
    found: types.CellType = pipe().times.__closure__[0]
    return found


def write(folder: pathlib.Path, number: int) -> None:
    path = folder / ["remembered_late.py", "remembered_lib.py", "remembered_pipe.py"][number % 3]
    path.write_text(path.read_text().replace("return x", f"return x * {number}", 1))
    settle(folder)


CHANGES: dict[str, Callable[[pathlib.Path, int], object]] = {
    "nothing": lambda _, n: None,
    "a global of the step's module": lambda _, n: setattr(pipe(), "LIMIT", n),
    "a global that takes another type": lambda _, n: setattr(pipe(), "LIMIT", [1, True, 1.0, "1"][n % 4]),
    "a constant of another module": lambda _, n: setattr(lib(), "CONST", n),
    "a list in place": lambda _, n: pipe().NAMES.append(n),
    "what is deep in a list": lambda _, n: pipe().NAMES[1]["b"].append(n),
    "a dict in place": lambda _, n: lib().TABLE.update(a=n),
    "a function by another": lambda _, n: setattr(lib(), "helper", [lib().helper, lib().other][n % 2]),
    "a function by a lambda": lambda _, n: setattr(pipe(), "helper", lambda x, k=n: x + k),
    "the code of a function": lambda _, n: setattr(pipe().plain, "__code__", (lambda x, y, *, z: x).__code__),
    "a default": lambda _, n: setattr(pipe().plain, "__defaults__", (n,)),
    "a keyword default in place": lambda _, n: pipe().plain.__kwdefaults__.update(z=n),
    "a cell": lambda _, n: setattr(cell(), "cell_contents", n),
    "an attribute of a function": lambda _, n: setattr(pipe().plain, "mark", n),
    "an attribute of a function in place": lambda _, n: vars(pipe().plain).setdefault("marks", []).append(n),
    "the name of a function": lambda _, n: setattr(pipe().plain, "__name__", f"plain{n}"),
    "a bytearray in place": lambda _, n: pipe().BYTES.append(n),
    "what an object holds as the deque that it also is": lambda _, n: pipe().QUEUE.append(n),
    "an attribute of a wrapper": lambda _, n: setattr(pipe().around, "n", n),
    "an attribute of a partial": lambda _, n: setattr(pipe().half, "n", n),
    "a method": lambda _, n: setattr(lib().Shape, "area", [lambda s: 1, lambda s: 2][n % 2]),
    "a method of a base": lambda _, n: setattr(lib().Base, "area", [lambda s: 1, lambda s: 2][n % 2]),
    "an attribute of a class": lambda _, n: setattr(lib().Base, "K", n),
    "an attribute of an object": lambda _, n: setattr(lib().shape, "side", n),
    "a registration": lambda _, n: pipe().kind.register([int, str, float][n % 3], lambda x: n),
    "a partial": lambda _, n: setattr(pipe(), "half", pipe().functools.partial(lib().helper, k=n)),
    "a name that hides a builtin": lambda _, n: setattr(pipe(), "abs", [lambda x: x, lambda x: -x][n % 2]),
    "a name that hides it no more": lambda _, n: vars(pipe()).pop("abs", None),
    "a module": lambda _, n: setattr(
        pipe(), "lib", types.SimpleNamespace(helper=lib().other, CONST=n, shape=1)
    ),
    "a late import": lambda _, n: importlib.import_module("remembered_late"),
    "a file": write,
    "a value without a form": lambda _, n: setattr(pipe(), "LIMIT", iter([n])),
    "a value that is a file's": lambda folder, n: setattr(pipe(), "LIMIT", folder / str(n)),
}


@given(changes=st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(1, 4)), max_size=8))
@settings(max_examples=30, deadline=None)
def test_whatever_changes_the_answer_is_that_of_a_new_walk(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("project")
    code_corpus.write(folder, FILES)
    settle(folder)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        importlib.import_module("remembered_pipe")
        for name, number in changes:
            assert identity(folder) == walked(folder)
            CHANGES[name](folder, number)
            assert identity(folder) == walked(folder), name
    finally:
        sys.path.remove(str(folder))
        for module in _MODULES:
            sys.modules.pop(module, None)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_each_change_alone_is_noticed(project: pathlib.Path, name: str) -> None:
    settle(project)
    importlib.import_module("remembered_pipe")
    before = identity(project)
    assert identity(project) is before, "it is remembered while nothing changes"
    CHANGES[name](project, 2)
    assert identity(project) == walked(project)


def test_a_file_that_is_damaged_on_the_shelf_is_as_if_it_were_not_there(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "shelf"))
    importlib.import_module("remembered_pipe")
    source._files.clear()
    sound = walked(project)
    kept = sorted((tmp_path / "shelf").iterdir())
    assert len(kept) == len(FILES)
    damages: list[Callable[[bytes], bytes]] = [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data + b"\0",
    ]
    for damage in damages:
        for path in kept:
            path.write_bytes(damage(path.read_bytes()))
        source._files.clear()
        assert walked(project) == sound
    # What was damaged has been put right.
    assert all(shelf.read(path.name) is not None for path in kept)


def test_where_nothing_can_be_kept_the_answer_is_the_same(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("remembered_pipe")
    answers = []
    (tmp_path / "a file").write_text("")
    for place in ("off", str(tmp_path / "a file" / "below"), str(tmp_path / "new")):
        monkeypatch.setenv(shelf.VARIABLE, place)
        source._files.clear()
        answers.append(walked(project))
    assert answers[0] == answers[1] == answers[2]


def test_what_is_kept_of_a_file_is_not_taken_for_another(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "shelf"))
    importlib.import_module("remembered_pipe")
    before = walked(project)
    late = project / "remembered_late.py"
    late.write_text(late.read_text().replace("return x", "return 7"))
    source._files.clear()
    after = walked(project)
    assert {name for name in after.rows if after.rows[name] != before.rows.get(name)} == {
        "file remembered_late.py"
    }


def test_from_a_working_folder_that_was_deleted_the_answer_is_the_same(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("remembered_pipe")
    before = walked(project)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert identity(project) == before
    finally:
        os.chdir(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[1]", b"[[1, 2, 3]]", b"null"])
def test_roots_that_cannot_be_read_are_as_if_there_were_none(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path))
    shelf.write(further._name("root", "job"), data)
    assert further._kept("root", "job") == frozenset()


def test_a_survey_that_cannot_be_unpacked_is_made_anew(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "shelf"))
    importlib.import_module("remembered_pipe")
    source._files.clear()
    sound = walked(project)
    for path in (tmp_path / "shelf").iterdir():
        shelf.write(path.name, b"nothing of ours")
    source._files.clear()
    assert walked(project) == sound
