"""What a step returns comes back equal in another process, and what has no rule is refused by name."""

import collections
import dataclasses
import enum
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pandas
import pytest

import whence
from tests.conftest import Project
from whence import Dataset, Handle, Model
from whence.client import Client
from whence_catalog.errors import Damaged, Denied, ErrorKind, InvalidInput

EVERY_VALUE = """
import dataclasses, datetime, decimal, uuid
import numpy, pandas, polars, pyarrow

@dataclasses.dataclass
class Fitted:
    weights: numpy.ndarray
    score: float
    note: Path

def folder():
    made = Path("made"); (made / "deep" / "empty").mkdir(parents=True, exist_ok=True)
    (made / "a.txt").write_text("a"); (made / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return made

def file(name="report.md", data=b"# all well"):
    Path(name).write_bytes(data); return Path(name)

index = pandas.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["letter", "number"])
FRAME = pandas.DataFrame({
    "n": pandas.array([1, None], dtype="Int64"), "f": [0.1, float("nan")], "s": ["ä", None],
    "t": pandas.to_datetime(["2026-01-01", "2026-01-02"], utc=True), "c": pandas.Categorical(["u", "v"]),
}, index=index)

MAKERS = {
    "file": file,
    "folder": folder,
    "odd name": lambda: file("-odd\\n näme %41 'x'.tar.gz", b"odd"),
    "bytes": lambda: b"\\x00\\xff",
    "nothing": lambda: None,
    "json": lambda: {"b": [1, 2.5, None, True, "ä\\u2028"], "a": {"deep": [[]]}, "big": 2**70, "-0": -0.0},
    "tuple": lambda: (1, "two", (3.0,)),
    "set": lambda: {1, 2, 3},
    "keys": lambda: {1: "one", (2, 3): {"x", "y"}, frozenset({4}): None, b"5": ()},
    "not finite": lambda: [float("inf"), -float("inf")],
    "times": lambda: [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.date(2026, 1, 1),
                      datetime.timedelta(seconds=1), decimal.Decimal("1.10"), uuid.UUID(int=7), 1j],
    "scalars": lambda: {"auc": numpy.float64(0.75), "n": numpy.int32(3)},
    "scalar": lambda: numpy.float32(0.5),
    "pandas": lambda: FRAME,
    "polars": lambda: polars.DataFrame({"a": [1, None], "b": [["x"], []]}),
    "arrow": lambda: pyarrow.table({"a": [1, 2], "b": [{"k": 1.5}, None]}),
    "array": lambda: numpy.arange(6, dtype=">i2").reshape(2, 3),
    "empty array": lambda: numpy.zeros((0, 3), dtype="f4"),
    "pickled": lambda: whence.pickled(range(3)),
    "mixed": lambda: (file(), {"acc": 0.5}, None, whence.model("m", b"w"), numpy.ones(2)),
    "dozen": lambda: [whence.dataset(f"part{n}", [n]) for n in range(12)],
    "named": lambda: {"frame": FRAME, "words": ["a"], "model": whence.model("n", b"w")},
    "class": lambda: Fitted(numpy.ones(3), 0.5, file()),
}

@whence.step(version="1")
def make(name):
    mark("x")
    return MAKERS[name]()

def same(a, b):
    if isinstance(a, whence.Handle):
        return isinstance(b, whence.Handle) and (b.is_draft or a.ref == b.ref) and bytes(a.path.read_bytes()) != b""
    if isinstance(b, whence.Pickled):
        return a == b.value
    if isinstance(a, Path):
        if a.is_dir():
            under = [sorted((p.relative_to(d).as_posix(), p.is_dir() or p.read_bytes()) for p in d.rglob("*")) for d in (a, b)]
            return under[0] == under[1]
        return a.name == b.name and a.read_bytes() == b.read_bytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, numpy.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    if isinstance(a, pandas.DataFrame):
        pandas.testing.assert_frame_equal(a, b); return True
    if isinstance(a, (polars.DataFrame, pyarrow.Table)):
        return a.equals(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if dataclasses.is_dataclass(a):
        return same(vars(a), vars(b))
    return a == b

wrong = [name for name in MAKERS if not same(make(name), MAKERS[name]())]
show(wrong)
"""


def test_every_kind_of_value_comes_back_equal_in_another_process(project: Project) -> None:
    project.write(EVERY_VALUE)
    assert project.run() == []
    executed = len(project.executed())
    assert executed > 20
    assert project.run() == []
    assert project.executed() == []
    catalog = project.client.catalog
    (pickled,) = [
        run for run in catalog.runs(limit=100) if run.params == {"name": "pickled"} and run.origin is None
    ]
    (output,) = catalog.run(str(pickled.uid)).outputs
    assert output.format == "pickle"
    kinds = {found.artifact.kind for found in catalog.artifacts()}
    assert kinds == {"file", "dataset", "model"}
    assert catalog.check().problems == ()


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Config:
    rate: float


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Opaque(), "Opaque"),
        ({"deep": [Opaque()]}, r"it\['deep'\]\[0\] is a .*Opaque"),
        ({"where": {"deep": Path("x")}}, "it holds a path"),
        ([Colour.RED], "it holds a enum"),
        pytest.param(10**5000, "4300 digits", id="an endless integer"),
        ({"deep": [10**5000]}, "4300 digits"),
        (numpy.eye(2).view(numpy.matrix), "numpy.matrix"),
        ([numpy.eye(2).view(numpy.matrix)], "numpy.matrix"),
        ({"config": [Config(1.0)]}, "it holds a dataclass"),
        (lambda: 1, "function"),
        ("\ud800", "lone surrogate"),
        (numpy.array([object()]), "this array cannot be kept as npy"),
        (pandas.DataFrame({"mixed": [1, "a", {}]}), "this pandas table cannot be kept as parquet"),
        ([whence.model("m", b"x"), [whence.model("n", b"y")]], "Model"),
    ],
)
def test_what_has_no_rule_is_refused_with_what_to_do(client: Client, value: object, why: str) -> None:
    @whence.step(version="1")
    def give() -> object:
        return value

    with pytest.raises(
        InvalidInput, match=f"(?s){why}.*write it to a file and return\\s+the path"
    ) as refused:
        give()
    assert refused.value.kind is ErrorKind.UNSUPPORTED_VALUE
    (run,) = client.catalog.runs()
    assert run.state == "failed"
    assert client.catalog.check().problems == ()


def test_a_returned_dataclass_that_holds_more_than_its_fields_is_refused(client: Client) -> None:
    @whence.step(version="1")
    def give() -> Config:
        made = Config(1.0)
        made.more = 1  # type: ignore[attr-defined]
        return made

    with pytest.raises(InvalidInput, match=r"the returned value\.more is no field of Config"):
        give()


def test_a_value_that_holds_itself_is_refused(client: Client) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidInput, match="no rule says"):
        client.publish("file:loop", loop)


def test_a_pickle_is_read_only_where_it_is_asked_for(client: Client) -> None:
    handle = client.publish("file:p", whence.pickled({1}))
    with pytest.raises(Denied, match=r"load\(unpickle=True\)"):
        handle.load()
    assert handle.load(unpickle=True) == {1}


def test_what_is_lent_is_read_only_and_keeps_its_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"w")
    handle = client.publish("model:m", tmp_path / "weights.bin")
    assert handle.path.name == "weights.bin"
    assert handle.path.stat().st_mode & 0o222 == 0
    assert handle.load() == handle.path


def test_metrics_that_are_no_numbers_are_legal(client: Client) -> None:
    handle = client.publish(
        "model:m", b"x", metrics={"loss": math.nan, "best": math.inf, "n": numpy.int64(3)}
    )
    assert str(sorted(client.get("model:m").metrics.items())) == "[('best', inf), ('loss', nan), ('n', 3.0)]"
    assert handle.metrics["best"] == math.inf
    with pytest.raises(InvalidInput, match="metric 'loss' is 'low', not a number"):
        client.publish("model:m", b"x", metrics={"loss": "low"})  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match=r"metadata of model:m: .*plain values only"):
        client.publish("model:m", b"x", metadata={"config": Opaque()})


# ── parameters ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("nan", [math.nan, [math.nan], {"lr": math.nan}])
def test_a_parameter_that_is_no_number_has_one_identity(client: Client, nan: object) -> None:
    ran: list[object] = []

    @whence.step(version="1")
    def odd(rate: object) -> int:
        ran.append(rate)
        return 1

    odd(nan)
    odd(nan)
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Opaque(), "options is a "),
        ({"a": [1, Opaque()]}, r"options\['a'\]\[1\] is a "),
        ([Config(Opaque())], r"options\[0\]\.rate is a "),  # type: ignore[arg-type]
        ({}.keys(), "options is a builtins.dict_keys"),
        ("\ud800", "options: .* lone surrogate"),
    ],
)
def test_a_parameter_without_identity_is_executed_each_time_and_says_where(
    client: Client, value: object, where: str
) -> None:
    ran: list[object] = []

    @whence.step(version="1")
    def odd(options: object) -> int:
        ran.append(options)
        return 1

    assert odd(value) == odd(value) == 1
    assert len(ran) == 2
    for run in client.catalog.runs():
        assert run.key is None
        (why,) = run.warnings
        assert re.search(where, why), why
        assert not run.capture.rerunnable
    with pytest.raises(InvalidInput, match=where), whence.run("block", params={"options": value}):
        pass


@dataclasses.dataclass(frozen=True)
class Sources:
    data: object


@pytest.mark.parametrize(
    ("hide", "where"),
    [
        (Sources, r"options\.data"),
        (lambda handle: {"a": [Sources((handle,))]}, r"options\['a'\]\[0\]\.data\[0\]"),
        (lambda handle: [{handle}], r"a member of options\[0\]"),
        (lambda handle: {handle: 1}, "a key of options"),
        (lambda handle: collections.namedtuple("Pair", "a b")(1, handle), r"options\[1\]"),
        (lambda handle: [Opaque(), collections.OrderedDict(a=handle)], r"options\[1\]\['a'\]"),
    ],
)
@pytest.mark.parametrize("is_draft", [True, False])
def test_a_handle_where_it_would_be_no_input_is_refused_before_the_step_runs(
    client: Client, hide: Callable[[object], object], where: str, is_draft: bool
) -> None:
    ran: list[object] = []

    @whence.step(version="1")
    def odd(options: object) -> int:
        ran.append(options)
        return 1

    handle = whence.dataset("d", [1]) if is_draft else client.publish("dataset:d", [1])
    before = len(client.catalog.runs())
    with pytest.raises(InvalidInput, match=f"^{where} is a handle, .*directly, or in a list, tuple or dict"):
        odd(hide(handle))
    assert (ran, len(client.catalog.runs())) == ([], before)


def test_a_list_that_holds_itself_as_a_parameter_is_executed(client: Client) -> None:
    @whence.step(version="1")
    def length(items: list[object]) -> int:
        return len(items)

    loop: list[object] = []
    loop.append(loop)
    assert length(loop) == 1
    assert "nested too deeply, or contains itself" in client.catalog.runs()[0].warnings[0]


def test_a_step_gets_the_very_objects_that_it_was_given(client: Client) -> None:
    @whence.step(version="1", cache="off")
    def extend(items: list[int], options: dict[str, list[int]]) -> None:
        items.append(1)
        options["more"].append(2)

    items, options = [0], {"more": [0]}
    extend(items, options)
    assert (items, options) == ([0, 1], {"more": [0, 2]})


# ── handles ──────────────────────────────────────────────────────────────────────────────────────


def test_a_handle_says_what_it_is(client: Client) -> None:
    draft = whence.model("m", b"x", metrics={"acc": 0.5})
    assert repr(draft) == "<model:m, not recorded yet>"
    assert draft.load() == b"x"
    with pytest.raises(InvalidInput, match="not recorded yet; return it from a step"):
        draft.version
    handle = client.publish("model:m", b"x", metrics={"acc": 0.5})
    assert isinstance(handle, Model)
    assert repr(handle) == "<model:m@1>"
    assert (handle.number, handle.metrics, handle.load()) == (1, {"acc": 0.5}, b"x")
    with pytest.raises(InvalidInput, match="recorded already"):
        handle.draft
    own = client.publish("prompt:greeting", "hello")
    assert type(own) is Handle
    assert own.load() == "hello"


@pytest.mark.parametrize("how", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_the_bytes_of_a_handle_that_are_gone_or_altered_are_damaged(
    client: Client, how: Callable[[Path], object]
) -> None:
    handle = client.publish("dataset:d", [1, 2, 3])
    (blob,) = [
        path
        for path in (Path(client.url) / "blobs").rglob("*")
        if path.is_file() and handle.digest[-62:] in path.name
    ]
    blob.chmod(0o600)
    how(blob)
    with pytest.raises(Damaged, match=handle.digest) as damaged:
        handle.path
    assert damaged.value.kind in (ErrorKind.BLOB_MISSING, ErrorKind.BLOB_ALTERED)


def test_import_loads_no_heavy_library_and_needs_three_packages_only() -> None:
    heavy = [
        "sqlmodel",
        "sqlalchemy",
        "fastapi",
        "strawberry",
        "mlflow",
        "pandas",
        "numpy",
        "pydantic",
        "typer",
    ]
    script = f"import sys, whence; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    poor = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and not top.startswith("_sysconfigdata") and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
ALLOWED = {"whence", "whence_catalog", "fsspec", "msgspec", "urllib3", "sitecustomize", "usercustomize"}
sys.meta_path.insert(0, Absent())
import whence
@whence.step
def one() -> int: return 1
try:
    whence.connect("/nowhere")
except whence.NotReady as error:
    print(error.kind, error)
"""
    done = subprocess.run([sys.executable, "-c", poor], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("extra-missing an embedded catalog needs sql"), done.stdout
    assert "pip install 'whence[local]'" in done.stdout


def test_a_dataset_annotation_changes_nothing(client: Client) -> None:
    @whence.step(version="1")
    def count(data: Dataset) -> int:
        return len(data.load())  # type: ignore[arg-type]

    assert count(client.publish("model:misnamed", [1, 2])) == 2  # type: ignore[arg-type]
