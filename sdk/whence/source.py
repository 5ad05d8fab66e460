"""Source: a file of Python as it is written, before anything is known of what its names mean.

Decides where a function or class of a given name and line stands, and whether what is written there is what
is loaded. What a file says is surveyed once for all processes of this user: the survey is kept under the digest
of the file's bytes, of the interpreter that compiles them and of the code that surveys. Leaves to others: the
survey (`written`), and what names refer to in the running process (`reach`).
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import linecache
import marshal
import os
import sys
import time
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from whence import normal_form, reading, shelf, written
from whence.reading import Chain, Imported, Reading
from whence_catalog import digest

_FIELDS = tuple(field.name for field in dataclasses.fields(written.Survey))


@dataclass(frozen=True, slots=True)
class Decorator:
    """One decorator: `head` is the name called or applied, where it is a dotted one."""

    head: Chain | None
    reading: Reading


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, lambda or class, without its decorators; `names` are those bound in its own body."""

    reading: Reading
    decorators: tuple[Decorator, ...]
    names: frozenset[str]


class Source:
    """One file, or one cell of a notebook, as it is written.

    It holds the survey as it is kept, and makes of it what is asked for: most of a file seldom is.
    """

    def __init__(self, kept: tuple[Any, ...], filename: str) -> None:
        self.filename = filename
        self._said: dict[str, Any] = dict(zip(_FIELDS, kept, strict=True))
        self.digest: bytes = self._said["digest"]
        self.documented_digest: bytes = self._said["documented_digest"]
        self._known: dict[tuple[str, str], Any] = {}
        self._definitions: dict[tuple[int, ...], Definition] = {}

    @functools.cached_property
    def whole(self) -> Reading:
        """The whole file, with everything any function in it reads."""
        return _reading(_unpacked(self._said["whole"]))

    @functools.cached_property
    def every_import(self) -> tuple[Imported, ...]:
        """What the file imports at any time."""
        return tuple(Imported(*item) for item in _unpacked(self._said["every_import"]))

    @functools.cached_property
    def imports(self) -> tuple[Imported, ...]:
        """What the file imports when it is imported itself."""
        return tuple(Imported(*item) for item in _unpacked(self._said["imports"]))

    @functools.cached_property
    def sequence(self) -> tuple[Imported | None, ...]:
        """What it imports and, for None, does, in the order of it."""
        return tuple(None if item is None else Imported(*item) for item in _unpacked(self._said["sequence"]))

    @functools.cached_property
    def effects(self) -> tuple[Reading, ...]:
        """The statements that run at import and do more than bind names, in order."""
        return tuple(map(_reading, _unpacked(self._said["effects"])))

    @functools.cached_property
    def calls(self) -> tuple[tuple[str, Reading], ...]:
        """The statements that give a name what a call answers, by that name."""
        return tuple((name, _reading(item)) for name, item in _unpacked(self._said["calls"]))

    @functools.cached_property
    def applied(self) -> tuple[tuple[Chain, Reading], ...]:
        """The definitions that a decorator may keep somewhere, by the decorator's name."""
        return tuple((head, _reading(item)) for head, item in _unpacked(self._said["applied"]))

    @functools.cached_property
    def _bound_otherwise(self) -> frozenset[str]:
        return cast("frozenset[str]", _unpacked(self._said["bound_otherwise"]))

    def _of_name(self, field: str, name: str) -> Any:
        kept = self._said[field].get(name)
        return () if kept is None else _unpacked(kept)

    def bindings(self, name: str) -> tuple[Reading, ...]:
        """The statements outside functions that bind `name`, or change what it holds."""
        return tuple(map(_reading, self._of_name("bindings", name)))

    def _places(self, name: str) -> tuple[written.Place, ...]:
        if ("places", name) not in self._known:
            self._known["places", name] = tuple(map(_place, self._of_name("places", name)))
        return cast("tuple[written.Place, ...]", self._known["places", name])

    def imports_of(self, name: str) -> tuple[tuple[Imported, str], ...]:
        """The modules `name` may have come from, the last import first, and its name there.

        Empty where anything but an import binds it. `from m import *` may bind any name.
        """
        if name in self._bound_otherwise:
            return ()
        if ("imports", name) not in self._known:
            stars = [(Imported(*item), name) for item in _unpacked(self._said["stars"])]
            named = [(Imported(*item), there) for item, there in self._of_name("imports_of", name)]
            self._known["imports", name] = tuple(reversed([*stars, *named]))
        return cast("tuple[tuple[Imported, str], ...]", self._known["imports", name])

    def is_ambiguous(self, qualname: str) -> bool:
        """Whether several definitions share this name, as lambdas do."""
        return len(self._places(normal_form.plain_qualname(qualname))) > 1

    def definition(self, code: types.CodeType) -> Definition | None:
        """Where `code` was written, found by its name, line and, for a lambda, column."""
        places = self._places(normal_form.plain_qualname(code.co_qualname))
        if len(places) > 1:
            places = tuple(item for item in places if item.first_line == code.co_firstlineno) or places
        if len(places) > 1 and (column := _column(code)) is not None:
            places = tuple(item for item in places if _spans(item, column)) or places
        elif len(places) > 1:
            # What only returns a constant has no column on Python 3.12; its text compiles alone.
            loaded = normal_form.digest_of_code(code)
            places = tuple(item for item in places if item.alone == loaded) or places
        return self._combined(places)

    def class_definition(self, qualname: str, method_lines: Iterable[int]) -> Definition | None:
        """Where a class was written; its methods' lines tell several of one name apart."""
        places = self._places(qualname)
        if len(places) > 1:
            lines = set(method_lines)
            places = (
                tuple(
                    item for item in places if any(item.lines[0] <= line <= item.lines[1] for line in lines)
                )
                or places
            )
        return self._combined(places)

    def compiles_to(self, code: types.CodeType) -> bool:
        """Whether this source, compiled now, gives `code`: it may have been edited since it was loaded."""
        known = self._of_name("bytecode", normal_form.plain_qualname(code.co_qualname))
        return normal_form.digest_of_code(code) in known

    def _combined(self, places: Sequence[written.Place]) -> Definition | None:
        which = tuple(map(id, places))
        if which not in self._definitions:
            definitions = [
                Definition(item.reading, tuple(Decorator(*pair) for pair in item.decorators), item.names)
                for item in places
            ]
            if len(definitions) < 2:
                return definitions[0] if definitions else None
            # Which of them is loaded cannot be told: all of them count, so that none can change unseen.
            self._definitions[which] = Definition(
                reading.union([item.reading for item in definitions]),
                tuple(decorator for item in definitions for decorator in item.decorators),
                frozenset().union(*(item.names for item in definitions)),
            )
        return self._definitions[which]


def _column(code: types.CodeType) -> int | None:
    if not code.co_qualname.endswith("<lambda>"):
        return None
    # The first instructions stand at column 0 whatever the lambda's place is.
    return next((column for _, _, column, _ in code.co_positions() if column), None)


def _spans(place: written.Place, column: int) -> bool:
    start, end = place.columns
    return start <= column < end or place.lines[0] != place.lines[1]


_Stamp = tuple[int, ...]
_TICK_NANOSECONDS = 100_000_000
_files: dict[str, tuple[_Stamp, Source | None]] = {}
_cells: dict[str, tuple[str, Source | None]] = {}


def stamp(path: str) -> _Stamp:
    """What is another one once a file is, as far as the file system tells.

    Raises:
        OSError: there is no such file.
    """
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def state(path: str) -> _Stamp | None:
    """The stamp of a file; None where there is none, and empty where it was written just now.

    Another write in the same tick of the file system's clock may leave the stamp as it is.
    """
    try:
        now = stamp(path)
    except OSError:
        return None
    return now if time.time_ns() - max(now[:2]) > _TICK_NANOSECONDS else ()


def of_file(path: str) -> Source | None:
    """What stands in a file, read again when it changed; None if it is not readable Python."""
    try:
        now = stamp(path)
        if path not in _files or _files[path][0] != now:
            settled = state(path)
            with open(path, "rb") as file:
                _files[path] = (settled or (), _source(file.read(), path))
        return _files[path][1]
    except OSError:
        return None


def of_cell(filename: str) -> Source | None:
    """What a notebook or a prompt ran under this name, as far as it kept the text."""
    text = "".join(linecache.getlines(filename))
    if not text:
        return None
    if filename not in _cells or _cells[filename][0] != text:
        _cells[filename] = (text, _source(text.encode("utf-8", "surrogatepass"), filename))
    return _cells[filename][1]


def _source(data: bytes, filename: str) -> Source | None:
    name = "source-" + hashlib.sha256(_surveyor() + data).hexdigest()
    kept = shelf.read(name)
    if kept is not None:
        # What is intact, and yet not ours, is made anew.
        with contextlib.suppress(ValueError, TypeError, EOFError):
            return Source(marshal.loads(kept), filename)
    try:
        said = _packed(written.survey(data))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    shelf.write(name, marshal.dumps(said))
    return Source(said, filename)


@functools.cache
def _surveyor() -> bytes:
    """The identity of what makes a survey: the interpreter, how it compiles, and our own code."""
    state = hashlib.sha256(importlib.util.MAGIC_NUMBER)
    state.update(f"{sys.implementation.name} {sys.version} {sys.flags.optimize}".encode())
    try:
        for path in (__file__, *(module.__file__ for module in (normal_form, reading, written, digest))):
            with open(str(path), "rb") as file:
                state.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:  # packed in an archive, say; then what is kept is for this process alone
        state.update(os.urandom(32))
    return state.digest()


def _packed(survey: written.Survey) -> tuple[Any, ...]:
    """A survey as it is kept: each part as `marshal` writes it, so that nobody makes what is not asked for.

    Most of what it takes to read a file whole is the garbage collector's look at each new tuple.
    """
    said = (getattr(survey, name) for name in _FIELDS)
    return tuple(_packed_part(value) for value in said)


def _packed_part(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: marshal.dumps(_plain(item)) for name, item in value.items()}
    return value if isinstance(value, bytes) else marshal.dumps(_plain(value))


def _unpacked(kept: bytes) -> Any:
    return marshal.loads(kept)


def _plain(value: Any) -> Any:
    """A survey as nothing but what `marshal` takes: tuples in the place of our own classes."""
    if dataclasses.is_dataclass(value):
        return tuple(_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _reading(kept: tuple[Any, ...]) -> Reading:
    body, documented, chains, dynamic, late_imports, stores, reads_docstrings, lines = kept
    modules = tuple(Imported(*item) for item in late_imports)
    return Reading(body, documented, chains, dynamic, modules, stores, reads_docstrings, lines)


def _place(kept: tuple[Any, ...]) -> written.Place:
    first_line, lines, columns, alone, what, decorators, names = kept
    applied = tuple((head, _reading(item)) for head, item in decorators)
    return written.Place(first_line, lines, columns, alone, _reading(what), applied, names)
