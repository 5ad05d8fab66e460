"""How a value that a step makes becomes files, and comes back.

A path keeps its bytes and its name. Tables become Parquet, arrays `.npy`, plain values JSON, or frames
where JSON would lose their type (a tuple, a set, a time, a number of numpy). Nothing is pickled, or
unpickled, unless it is asked for by name.
"""

import contextlib
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from whence import parameters, tracked
from whence_catalog import digest
from whence_catalog.errors import Denied, ErrorKind, InvalidInput, NotReady

if TYPE_CHECKING:
    import numpy

    _Array: TypeAlias = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.generic]]


@dataclass(frozen=True, slots=True)
class Pickled:
    """A value to be kept as a pickle, because its maker asked for that."""

    value: object


@dataclass(frozen=True, slots=True)
class Staged:
    """A value as bytes: either `path` (a file or a folder, as it lies there) or `data`."""

    format: str
    filename: str
    path: Path | None = None
    data: bytes | None = None


# Which kind of artifact a value is, where nobody named one.
_KINDS = {"pandas": "dataset", "polars": "dataset", "arrow": "dataset", "npy": "dataset"}
# Forms that say something of a project; a value that is handed on says nothing of one.
_OF_A_PROJECT = frozenset({"path", "enum", "dataclass", "pydantic", "whence.input"})


def kind_of(staged: Staged) -> str:
    """The kind of artifact for a value that was returned without one."""
    return _KINDS.get(staged.format, "file")


def is_own_output(value: object) -> bool:
    """Whether a value inside a container is an output of its own, rather than part of a JSON value."""
    return isinstance(value, os.PathLike | bytes | Pickled) or _table_library(value) is not None


def stage(value: object, folder: Path) -> Staged:
    """The bytes of `value`; `folder` is for files that have to be written.

    Raises:
        InvalidInput: there is no rule for its type.
    """
    if isinstance(value, Staged):
        return value
    with contextlib.suppress(RecursionError):  # what holds itself is refused below
        value = tracked.whole(value)
    if isinstance(value, os.PathLike):
        path = Path(os.fspath(value))
        return Staged("path", _filename(path), path=path)
    if isinstance(value, bytes):
        return Staged("bytes", "content.bin", data=value)
    if isinstance(value, Pickled):
        return Staged("pickle", "value.pkl", data=pickle.dumps(value.value, protocol=5))
    library = _table_library(value)
    if library is not None:
        return _stage_table(value, library, folder)
    try:
        if _is_json(value):
            text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=False)
            return Staged("json", "value.json", data=text.encode())
        return Staged("frame", "value.frame", data=digest.frame(_canonical(value)))
    # ValueError: JSON has no way to write an integer of thousands of digits either.
    except (InvalidInput, RecursionError, ValueError) as error:
        kind = type(value)
        raise InvalidInput(
            f"no rule says how this {kind.__module__}.{kind.__qualname__} becomes an artifact: {error}; write it"
            " to a file and return the path, or wrap it in whence.pickled(…)",
            ErrorKind.UNSUPPORTED_VALUE,
        ) from error


def _filename(path: Path) -> str:
    name = os.path.basename(os.path.abspath(path)) or "content"
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the file name {name!r} is not UTF-8; rename it", ErrorKind.BAD_PATH) from error
    return name


def _canonical(value: object) -> digest.Framed:
    """The canonical form of a value that is the same in every project.

    Raises:
        InvalidInput: it has none, or would stand for something else: a path is not the file that it names.
    """
    framed = parameters.Canonical(Path.cwd()).of(value, "it")
    for record in _records(framed):
        if record.name in _OF_A_PROJECT:
            raise InvalidInput(f"it holds a {record.name}", ErrorKind.UNSUPPORTED_VALUE)
    return framed


def _records(value: digest.Framed) -> Iterator[digest.Record]:
    if isinstance(value, digest.Record):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _records(pair)
    elif isinstance(value, list | tuple | frozenset):
        for item in value:
            yield from _records(item)


def load(path: Path, form: str | None, *, unpickle: bool = False) -> object:
    """The value that `stage` made `path` from; the path itself, where it was a path.

    Raises:
        Denied: it is a pickle, and nobody asked for one.
        NotReady: the library that reads it is not installed.
    """
    match form:
        case "json":
            return json.loads(path.read_text("utf-8"))
        case "frame":
            return parameters.restore(digest.unframe(path.read_bytes()), Path.cwd())
        case "bytes":
            return path.read_bytes()
        case "pickle":
            if not unpickle:
                raise Denied(
                    f"{path.name} is a pickle, and reading one runs code; ask with load(unpickle=True) if you"
                    " trust who made it",
                    ErrorKind.PERMISSION,
                )
            return pickle.loads(path.read_bytes())
        case "pandas" | "polars" | "arrow" | "npy":
            return _load_table(path, form)
        case _:
            return path


def _is_json(value: object) -> bool:
    """Whether JSON gives back exactly this."""
    kind = type(value)
    if value is None or kind in (bool, int):
        return True
    if kind is float:
        return value == value and abs(cast("float", value)) != float("inf")
    if kind is str:
        return not any(0xD800 <= ord(c) <= 0xDFFF for c in cast("str", value))
    if kind is list:
        return all(_is_json(item) for item in cast("list[object]", value))
    if kind is dict:
        items = cast("Mapping[object, object]", value).items()
        return all(type(key) is str and _is_json(key) and _is_json(item) for key, item in items)
    return False


def _table_library(value: object) -> str | None:
    kind = type(value)
    match (kind.__module__.partition(".")[0], kind.__name__):
        case ("pandas", "DataFrame"):
            return "pandas"
        case ("polars", "DataFrame"):
            return "polars"
        case ("pyarrow", "Table"):
            return "arrow"
        case ("numpy", "ndarray"):
            return "npy"
        case _:
            return None


def _stage_table(value: object, library: str, folder: Path) -> Staged:
    path = folder / ("array.npy" if library == "npy" else "table.parquet")
    try:
        if library == "npy":
            import numpy

            numpy.save(path, cast("_Array", value), allow_pickle=False)
        elif library == "pandas":
            value.to_parquet(path)  # type: ignore[attr-defined]
        elif library == "polars":
            value.write_parquet(path)  # type: ignore[attr-defined]
        else:
            import pyarrow.parquet

            pyarrow.parquet.write_table(value, path)
    except ImportError as error:
        raise _absent(library, error) from error
    except (ValueError, TypeError, NotImplementedError, ArithmeticError) as error:
        what = "this array" if library == "npy" else f"this {library} table"
        raise InvalidInput(
            f"{what} cannot be kept as {path.suffix[1:]}: {error}; change it, or write it to a file and return"
            " the path",
            ErrorKind.UNSUPPORTED_VALUE,
        ) from error
    return Staged(library, path.name, path=path)


def _load_table(path: Path, form: str) -> object:
    try:
        if form == "npy":
            import numpy

            return numpy.load(path, allow_pickle=False)
        if form == "pandas":
            import pandas

            return pandas.read_parquet(path)
        if form == "polars":
            import polars

            return polars.read_parquet(path)
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path)
    except ImportError as error:
        raise _absent(form, error) from error


def _absent(library: str, error: ImportError) -> NotReady:
    needed = {"pandas": "pandas pyarrow", "polars": "polars", "arrow": "pyarrow", "npy": "numpy"}[library]
    return NotReady(f"{error}; run: pip install {needed}", ErrorKind.EXTRA_MISSING)
