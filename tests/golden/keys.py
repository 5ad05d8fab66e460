"""The keys of calls with a value of every kind, as any interpreter makes them; frozen in `keys.json`.

Run as a script it prints them as JSON, and needs nothing but the standard library and the two packages whose
folders it is given; what numpy and pydantic make is there where they are. New values are added with

    python tests/golden/keys.py sdk catalog --complete

which fills in what is not in the file yet. A key that stands there is never changed.
"""

import dataclasses
import datetime
import decimal
import enum
import importlib
import json
import os
import pathlib
import sys
import types
import uuid
from collections.abc import Iterator

FILE = pathlib.Path(__file__).with_name("keys.json")
# The project that the values are of, wherever these files lie.
ROOT = pathlib.Path(__file__).resolve().parents[2]
JOB, PROJECT = "golden.step", "default"


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Mode(enum.IntFlag):
    READ = 1


class Way(enum.Flag):
    UP = 1
    DOWN = 2


@dataclasses.dataclass
class Config:
    rate: float
    layers: list[int] = dataclasses.field(default_factory=list)
    inner: "Config | None" = None


def values() -> dict[str, object]:
    """A value of every kind that steps take, by name."""
    found: dict[str, object] = {
        "nothing": None,
        "true": True,
        "one": 1,
        "a very large number": 2**200,
        "a negative number": -7,
        "one as a float": 1.0,
        "minus zero": -0.0,
        "not a number": float("nan"),
        "infinity": float("inf"),
        "complex": 1 - 2j,
        "text": "train",
        "text of one": "1",
        "unicode, composed": "\u00e9t\u00e9 \U0001f600",
        "unicode, decomposed": "e\u0301te\u0301 \U0001f600",
        "bytes": b"\x00\xff",
        "list": [1, "a", None, [2.5]],
        "tuple": (1, "a", None, (2.5,)),
        "set": {"b", "a", "c", 3, (1, 2)},
        "set of one": {1},
        "frozenset of one": frozenset({1}),
        "frozenset in a set": {frozenset({"x", "y"}), "z"},
        "mapping": {"b": 1, "a": {"d": [1], "c": (2,)}, 3: None},
        "date": datetime.date(2026, 5, 3),
        "time": datetime.time(1, 2, 3, 4),
        "naive datetime": datetime.datetime(2026, 5, 3, 12, 30),
        "datetime": datetime.datetime(2026, 5, 3, 12, 30, 0, 1, tzinfo=datetime.UTC),
        "timedelta": datetime.timedelta(days=-1, microseconds=5),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=7),
        "enum": Colour.RED,
        "int enum": Level.HIGH,
        "flag": Way.UP | Way.DOWN,
        "flag without a name": Mode(8) | Mode.READ,
        "dataclass": Config(0.5, [1, 2], Config(1.0)),
        "path in the project": ROOT / "data" / ".." / "data" / "absent.csv",
        "pure path": pathlib.PureWindowsPath("a/absent.csv"),
        "path from elsewhere": pathlib.Path("/nowhere/absent.csv"),
        "deep": {"a": [{"b": (1, {"c": {1.5, 2.5}})}]},
    }
    return {**found, **_of_numpy(), **_of_pydantic()}


def _of_numpy() -> dict[str, object]:
    try:
        import numpy
    except ImportError:
        return {}
    return {
        "numpy: int64": numpy.int64(1),
        "numpy: array without axes": numpy.array(1),
        "numpy: int32": numpy.int32(1),
        "numpy: float32": numpy.float32(0.1),
        "numpy: bool": numpy.bool_(True),
        "numpy: matrix": numpy.arange(6, dtype="<f8").reshape(2, 3),
        "numpy: matrix, transposed": numpy.arange(6, dtype="<f8").reshape(2, 3).T,
        "numpy: big-endian": numpy.arange(3, dtype=">i4"),
        "numpy: empty": numpy.zeros((0, 2), dtype="u1"),
        "numpy: text": numpy.array(["a", "bc"]),
        "numpy: datetime": numpy.datetime64("2026-05-03T12:30", "us"),
    }


def _of_pydantic() -> dict[str, object]:
    try:
        import pydantic
    except ImportError:
        return {}

    class Settings(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        rate: float
        names: set[str] = set()

    Settings.__module__, Settings.__qualname__ = __name__, "Settings"
    globals()["Settings"] = Settings
    return {"pydantic: model": Settings(rate=0.5, names={"b", "a"}, more=[1])}


def keys(
    parameters: types.ModuleType, cache: types.ModuleType, digest: types.ModuleType
) -> Iterator[tuple[str, str]]:
    """(name, key) of a call with that value as its one argument."""
    for name, value in values().items():
        canonical = parameters.Canonical(ROOT).of(value, "value")
        version = {"version": digest.raw_digest_of("whence.version/1", "1")}
        components = [
            cache.component("scope", PROJECT),
            cache.component("job", JOB),
            cache.component("signature", [["value", "KEYWORD_ONLY", False]]),
            cache.component("environment", {"python": "3.11"}),
            cache.component("code", version),
            cache.component("params", canonical, "params/value"),
        ]
        yield name, cache.key(components)


def main(sdk: str, catalog: str, *options: str) -> None:
    """Print the keys; with `--complete`, put those into the file that are not there."""
    sys.path.insert(0, catalog)
    package = types.ModuleType("whence")  # without the packages that the rest of whence needs
    package.__path__ = [os.path.join(sdk, "whence")]
    sys.modules["whence"] = package
    # As if it had been imported, so that the classes here have one name.
    sys.modules["tests.golden.keys"] = sys.modules["__main__"]
    made = dict(
        keys(
            *map(
                importlib.import_module,
                ("whence.parameters", "whence_catalog.cache", "whence_catalog.digest"),
            )
        )
    )
    if options:
        known = json.loads(FILE.read_text()) if FILE.exists() else {}
        FILE.write_text(json.dumps({**made, **known}, indent=1) + "\n")
    print(json.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
