"""A parameter has one canonical form, which gives it back; what has none is refused by where it is."""

import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import math
import uuid
import zoneinfo
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence import parameters
from whence_catalog import digest
from whence_catalog.blobs import BlobStore
from whence_catalog.errors import ErrorKind, InvalidInput

ROOT = Path(__file__).parents[2]


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = 2


class Bits(enum.IntFlag):
    READ = 1


class Way(enum.Flag):
    UP = 1
    DOWN = 2


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float
    inner: "Config | None" = None


@dataclasses.dataclass(slots=True)
class Slotted:
    made: list[int] = dataclasses.field(init=False, default_factory=list)


def canonical(value: object) -> digest.Framed:
    return parameters.Canonical(ROOT).of(value, "it")


def named(value: object) -> digest.Digest:
    return digest.digest_of("test/1", canonical(value))


def back(value: object) -> object:
    """As another process would have it: through bytes."""
    return parameters.restore(digest.unframe(digest.frame(canonical(value))), ROOT)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.just(datetime.UTC)).map(lambda at: at.replace(fold=0))
    | st.datetimes().map(lambda at: at.replace(fold=0))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.sampled_from(Colour)
    | st.builds(Config, st.floats(allow_nan=False)),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text("ab"), inner),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_made_canonical_comes_back_as_it_was(value: object) -> None:
    assert back(value) == value


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        {frozenset({1, 2}): {"x"}, (1, frozenset({2})): None, b"k": ()},
        Way.UP | Way.DOWN,
        Way(0),
        Colour.CRIMSON,
        1 + 2j,
        datetime.time(1, 2, 3),
        numpy.float32(0.1),
        Slotted(),
        -0.0,
        2**100,
        frozenset({1}),
        Bits(8),
        Bits(9),
        Bits(0),
        PurePosixPath("a/b"),
        PureWindowsPath("a/b"),
    ],
)
def test_odd_values_come_back_as_they_were(value: object) -> None:
    again = back(value)
    assert (type(again), again) == (type(value), value)
    assert math.copysign(1, again) == math.copysign(1, value) if isinstance(value, float) else True


def test_arrays_come_back_to_the_bit() -> None:
    for array in (
        numpy.arange(6, dtype=">i4").reshape(2, 3).T,
        numpy.array([numpy.nan, -0.0]),
        numpy.zeros((0, 2)),
        numpy.array(1.0),
        numpy.arange(6)[::-2],
        numpy.broadcast_to(numpy.arange(2), (3, 2)),
    ):
        again = back(array)
        assert isinstance(again, numpy.ndarray)
        assert numpy.array_equal(again, array, equal_nan=array.dtype.kind == "f")
        assert (again.shape, again.dtype.str, again.strides) == (array.shape, array.dtype.str, array.strides)


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, True, "1", b"1", decimal.Decimal(1), Colour.RED, numpy.int64(1), numpy.int32(1)),
        ([1], (1,), {1}, {1: None}, [[1]]),
        (None, False, 0, "", b"", [], (), {}),
        (0.0, -0.0, math.nan, math.inf),
        (
            datetime.date(2026, 5, 3),
            datetime.datetime(2026, 5, 3),
            datetime.datetime(2026, 5, 3, tzinfo=datetime.UTC),
        ),
        (uuid.UUID(int=1), str(uuid.UUID(int=1)), uuid.UUID(int=1).bytes),
        (Config(1.0), Config(1.0, Config(1.0)), {"rate": 1.0}),
        ({1}, frozenset({1})),
        (Bits(8), Bits(16), Bits(9), Bits(1), Bits(0)),
        (numpy.float64(1), numpy.array(1.0), numpy.array([1.0])),
        (numpy.array([1], "<i4"), numpy.array([1], ">i4")),
        (numpy.eye(2), numpy.asfortranarray(numpy.eye(2)), numpy.eye(4)[::2, ::2]),
        (Path("x"), PurePosixPath("x"), PureWindowsPath("x")),
    ],
)
def test_what_differs_in_kind_differs_in_identity(values: tuple[object, ...]) -> None:
    assert len({named(value) for value in values}) == len(values)


def test_what_is_equal_has_one_identity() -> None:
    for one, other in (
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({3, 1, 2}, {2, 3, 1}),
        (float("nan"), -float("nan")),
        (Colour.RED, Colour.CRIMSON),
        (numpy.arange(3, dtype="<i4"), numpy.arange(3, dtype=">i4").astype("<i4")),
        (ROOT / "x" / ".." / "y", ROOT / "y"),
    ):
        assert named(one) == named(other)


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    rate: float = 0.5
    inner: "Settings | None" = None
    held: object = None
    _seen: int = pydantic.PrivateAttr(0)


def test_a_model_of_pydantic_is_what_it_holds_and_comes_back() -> None:
    model = Settings(rate=1.0, inner=Settings(), more={"a": (1,)})  # type: ignore[call-arg]
    model._seen = 3
    again = back(model)
    assert (again, type(again)) == (model, Settings)
    # Two models can be equal, and yet a step that leaves out what was not given tells them apart.
    assert Settings(rate=0.5) == Settings()
    assert named(Settings(rate=0.5)) != named(Settings())
    assert again.model_dump(exclude_unset=True) == model.model_dump(exclude_unset=True)
    seen = Settings()
    seen._seen = 1
    others = [
        Settings(),
        Settings(rate=1.0),
        Settings(more=1),
        Settings(inner=Settings()),
        seen,
        {"rate": 0.5},
    ]  # type: ignore[call-arg]
    assert len({named(each) for each in others}) == len(others)


class Opaque:
    pass


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Seeded:
    rate: float
    seed: dataclasses.InitVar[int] = 0


class Wider(Slotted):
    __slots__ = ("more",)


@dataclasses.dataclass
class Unset:
    made: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Sized(list[int]):
    unit: str = "m"


def _with_more(value: object) -> object:
    object.__setattr__(value, "more", 1)
    return value


BERLIN = datetime.timezone(datetime.timedelta(hours=2))
LONDON = zoneinfo.ZoneInfo("Europe/London")
ICELAND = datetime.timezone(datetime.timedelta(0), "Iceland")


def _local() -> object:
    @dataclasses.dataclass
    class Hidden:
        n: int = 1

    return Hidden()


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (Opaque, r"^it is a .*Opaque, which has no stable identity; pass plain values, or an artifact"),
        (lambda: {"a": [1, {"b": Opaque()}]}, r"^it\['a'\]\[1\]\['b'\] is a "),
        (lambda: [Settings(held=Opaque())], r"^it\[0\]\.held is a "),
        (lambda: Config(Opaque()), r"^it\.rate is a "),  # type: ignore[arg-type]
        (lambda: {Opaque(): 1}, r"^a key of it is a "),
        (lambda: Text("x"), r"Text"),
        (_local, r"Hidden, which no other process can find"),
        (lambda: "\ud800", r"^it: .*lone surrogate"),
        (lambda: [10**5000], r"^it\[0\]: an integer of more than"),
        (lambda: numpy.array([object()]), r"dtype object"),
        (lambda: numpy.zeros(1, dtype=[("a", "i4")]), r"dtype \[\('a'"),
        (lambda: lambda: 1, r"builtins\.function"),
        (lambda: [_with_more(Config(1.0))], r"^it\[0\]\.more is no field of Config"),
        (lambda: _with_more(Wider()), r"^it\.more is no field of Wider"),
        (lambda: Seeded(1.0), r"^it has the InitVar 'seed'"),
        (Unset, r"^it\.made was never set"),
        (Sized, r"^it is a Sized, which holds more than its fields"),
        (
            lambda: datetime.datetime(2026, 5, 3, tzinfo=BERLIN),
            r"^it is not in UTC.*value\.astimezone\(UTC\)",
        ),
        (lambda: [datetime.datetime(2026, 1, 1, tzinfo=LONDON)], r"^it\[0\] is not in UTC"),
        (lambda: datetime.datetime(2026, 1, 1, tzinfo=ICELAND), r"^it is in UTC by the name Iceland"),
        (lambda: datetime.datetime(2026, 5, 3, fold=1), r"^it has fold=1"),
        (lambda: datetime.time(1, fold=1), r"^it has fold=1"),
        (lambda: datetime.time(1, tzinfo=datetime.UTC), r"^it is a time of day with a zone"),
        (lambda: [numpy.eye(2).view(numpy.matrix)], r"^it\[0\] is a numpy\.matrix"),
        (lambda: numpy.rec.array([1]), r"^it is a numpy\.\w*\.?recarray"),
    ],
)
def test_what_has_no_identity_is_refused_by_where_it_is(make: Callable[[], object], where: str) -> None:
    with pytest.raises(InvalidInput, match=where) as refused:
        digest.frame(canonical(make()))
    assert refused.value.kind is ErrorKind.UNSUPPORTED_VALUE


def test_what_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append({"again": loop})
    with pytest.raises(InvalidInput, match="nested too deeply, or contains itself"):
        canonical(loop)


def test_a_class_is_found_wherever_it_is_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools" / "deep").mkdir(parents=True)
    (tmp_path / "tools" / "deep" / "kinds_of_mine.py").write_text("class Kind: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path / "tools"))
    found = parameters.restore_class(["tools.deep.kinds_of_mine", "Kind"], tmp_path)
    assert found.__module__ == "deep.kinds_of_mine"
    assert parameters.Canonical(tmp_path).class_name(found, "it") == ["tools.deep.kinds_of_mine", "Kind"]
    with pytest.raises(
        InvalidInput, match=r"tools\.deep\.kinds_of_mine\.Gone, which can no longer be imported"
    ):
        parameters.restore_class(["tools.deep.kinds_of_mine", "Gone"], tmp_path)
    with pytest.raises(InvalidInput, match=r"nowhere\.at_all\.X"):
        parameters.restore_class(["nowhere.at_all", "X"], tmp_path)


def test_a_path_is_a_place_in_the_project_and_what_lies_there_is_a_file(tmp_path: Path) -> None:
    made = parameters.Canonical(tmp_path)
    (tmp_path / "there").write_text("x")
    values = {
        "there": tmp_path / "there",
        "not yet": tmp_path / "out" / "x",
        "outside": Path("/etc/hostname"),
    }
    assert made.of(values, "it") == {
        "there": digest.Record("path", "there"),
        "not yet": digest.Record("path", "out/x"),
        "outside": digest.Record("path", "/etc/hostname"),
    }
    assert set(made.files) >= {"it['there']"}
    assert parameters.restore(made.of(values, "it"), tmp_path) == values


def test_two_links_to_one_file_are_two_parameters(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "real").write_text("x")
    for name in ("one", "other"):
        (tmp_path / name).symlink_to(tmp_path / "data" / "real")
    (tmp_path / "folder").symlink_to(tmp_path / "data")
    made = parameters.Canonical(tmp_path)
    paths = [tmp_path / name for name in ("one", "other", "folder/real", "data/..")]
    assert made.of(paths, "it") == [
        digest.Record("path", name) for name in ("one", "other", "data/real", ".")
    ]


def test_what_is_large_is_kept_as_a_blob_and_comes_back(tmp_path: Path) -> None:
    store = BlobStore.open(str(tmp_path / "blobs"))
    large = list(range(20_000))
    kept = parameters.keep(large, store)
    framed = digest.frame(large)
    assert kept == digest.Record("whence.blob", [digest.digest_of_bytes(framed).raw, len(framed)])
    assert parameters.kept(digest.unframe(digest.frame(kept)), store) == large


def test_a_parameter_that_looks_like_one_kept_elsewhere_is_what_it_is(tmp_path: Path) -> None:
    store = BlobStore.open(str(tmp_path / "blobs"))
    own = {"whence.blob": store.put_bytes(digest.frame("other")).text, "size_bytes": 1}
    assert parameters.kept(parameters.keep(canonical(own), store), store) == own
    record = digest.Record("whence.blob", [bytes(32), 1])
    assert back(record) == record
    assert canonical(record) != record


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_preview_is_one_short_line_whatever_the_value() -> None:
    assert parameters.preview([1, "a\nb"]) == r"[1, 'a\nb']"
    assert parameters.preview("x" * 1000) == "'" + "x" * 198 + "…"
    assert parameters.preview(Unprintable()) == "<Unprintable, which cannot be shown: RuntimeError>"
    parameters.preview("\ud800").encode()


@dataclasses.dataclass(eq=False)
class Queue(collections.deque):  # type: ignore[type-arg]
    name: str


@dataclasses.dataclass(eq=False)
class Failure(Exception):
    code: int


class Both(pydantic.BaseModel, collections.abc.Hashable):
    rate: float = 0.5

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize("value", [Queue("n"), Failure(1)])
def test_a_dataclass_that_holds_what_a_base_keeps_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="holds more than its fields"):
        named(value)


def test_bases_that_are_written_in_python_hide_nothing() -> None:
    assert named(Both(rate=1.0)) != named(Both(rate=2.0))
