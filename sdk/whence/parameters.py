"""Turns the values that a step is given into what can be hashed and kept, and back.

Exact types only: a value is identified by what it is, never by how it prints. What has no rule is
refused by the path to it (`options['rates'][2]`), since guessing would make two different calls equal.
"""

import contextlib
import dataclasses
import datetime
import decimal
import enum
import functools
import importlib
import operator
import os
import pathlib
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, cast

from whence import forms, origins, tracked
from whence_catalog import digest
from whence_catalog.errors import ErrorKind, InvalidInput

if TYPE_CHECKING:
    from whence_catalog import blobs

_HERE = pathlib.Path()
_PURE = (pathlib.PurePosixPath, pathlib.PureWindowsPath)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_DEEPEST = 100
_PREVIEW_CHARACTERS = 200
_LARGEST_BYTES = 64 * 1024


@dataclass(slots=True)
class Canonical:
    """Makes values canonical, for a project whose folder is `root`; `files` gathers the paths it met."""

    root: pathlib.Path
    files: dict[str, pathlib.Path] = field(default_factory=dict)

    def of(self, value: object, where: str, depth: int = 0) -> digest.Framed:
        """The canonical form of `value`, which the caller knows as `where`.

        Raises:
            InvalidInput: with the path to what has no rule.
        """
        if depth > _DEEPEST:
            raise _refused(where, "is nested too deeply, or contains itself")
        kind = type(value)
        if value is None or kind in (bool, float, bytes):
            return cast("digest.Framed", value)
        if isinstance(value, digest.Record) and value.name == "whence.input":
            return value
        if kind is str or kind is int:
            return _plain(cast("str | int", value), where)
        if kind is list or kind is tuple:
            items = [
                self.of(item, f"{where}[{place}]", depth + 1)
                for place, item in enumerate(cast("list[object]", value))
            ]
            return items if kind is list else tuple(items)
        if kind is dict:
            return self._mapping(cast("dict[object, object]", value), where, depth)
        if kind is set or kind is frozenset:
            members = [
                self.of(item, f"a member of {where}", depth + 1) for item in cast("set[object]", value)
            ]
            found = frozenset(_hashable(members, where))
            return found if kind is set else digest.Record("frozenset", found)
        return self._registered(value, kind, where, depth)

    def _mapping(self, value: dict[object, object], where: str, depth: int) -> digest.Framed:
        keys = _hashable([self.of(key, f"a key of {where}", depth + 1) for key in value], where)
        items = [self.of(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()]
        return dict(zip(keys, items, strict=True))

    def _registered(self, value: object, kind: type, where: str, depth: int) -> digest.Framed:
        match value:
            case _ if issubclass(kind, tracked.View):  # first, since it passes for what it is of
                return self.of(tracked.whole(value), where, depth)
            case enum.Enum():
                return digest.Record("enum", [*self.class_name(kind, where), _member(value, where)])
            case datetime.datetime() if kind is datetime.datetime:
                _refuse_unclear_time(value, where)
                if value.tzinfo is None:
                    return digest.Record("naive-datetime", value.isoformat())
                return digest.Record("datetime", (value - _EPOCH) // _MICROSECOND)
            case datetime.date() if kind is datetime.date:
                return digest.Record("date", value.isoformat())
            case datetime.time() if kind is datetime.time:
                _refuse_unclear_time(value, where)
                return digest.Record("time", value.isoformat())
            case datetime.timedelta() if kind is datetime.timedelta:
                return digest.Record("timedelta", value // _MICROSECOND)
            case decimal.Decimal() if kind is decimal.Decimal:
                return digest.Record("decimal", str(value))
            case uuid.UUID() if kind is uuid.UUID:
                return digest.Record("uuid", str(value))
            case complex() if kind is complex:
                return digest.Record("complex", [value.real, value.imag])
            case pathlib.Path() if kind is type(_HERE):
                return self._path(value, where)
            case pathlib.PurePath() if kind in _PURE:
                return digest.Record("pure-path", [kind.__name__, _plain(str(value), where)])
            case _ if is_dataclass(value) and not isinstance(value, type):
                if pseudo := _init_only(kind):
                    raise _refused(where, f"has the InitVar {pseudo!r}, whose value it does not keep")
                named = {
                    name: self.of(item, f"{where}.{name}", depth + 1)
                    for name, item in fields_of(value, where).items()
                }
                return digest.Record("dataclass", [self.class_name(kind, where), named])
            case _ if is_model(kind):
                _refuse_hidden_state(kind, where)
                named = {
                    name: self.of(item, f"{where}.{name}", depth + 1)
                    for name, item in held_by_model(value).items()
                }
                given = frozenset(getattr(value, "__pydantic_fields_set__", ()))
                return digest.Record("pydantic", [self.class_name(kind, where), named, given])
            case _ if kind.__module__ == "numpy" and hasattr(value, "dtype"):
                return _array(value, where)
            case _:
                raise _refused(
                    where, f"is a {kind.__module__}.{kind.__qualname__}, which has no stable identity"
                )

    def _path(self, path: pathlib.Path, where: str) -> digest.Framed:
        absolute = pathlib.Path.cwd() / path
        if os.path.lexists(absolute):
            self.files[where] = absolute
        # The last name stays, since two links to one file are two names; `..` at the end is no name.
        parent, name = os.path.split(absolute)
        real = os.path.realpath(absolute) if name == ".." else os.path.join(os.path.realpath(parent), name)
        try:
            named = pathlib.Path(real).relative_to(self.root).as_posix()
        except ValueError:
            named = path.as_posix()
        return digest.Record("path", _plain(named, where))

    def class_name(self, kind: type, where: str) -> list[digest.Framed]:
        """[module, qualified name] of a class, which any process of the project can find again."""
        if "<locals>" in kind.__qualname__:
            raise _refused(where, f"is of the class {kind.__qualname__}, which no other process can find")
        return [_module_name(kind.__module__, self.root), kind.__qualname__]


def _module_name(name: str, root: pathlib.Path) -> str:
    return origins.module_name(vars(sys.modules[name]) if name in sys.modules else {}, os.path.realpath(root))


def _plain(value: str | int, where: str) -> str | int:
    """`value`, if it can be hashed: a lone surrogate and a very long integer cannot."""
    try:
        digest.frame(value)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}", error.kind) from error
    return value


def _hashable(items: list[digest.Framed], where: str) -> list[digest.Framed]:
    try:
        distinct = len({digest.frame(item) for item in items})
        if len(set(items)) == distinct == len(items):
            return items
    except TypeError:
        raise _refused(where, "has a key or member that is itself a collection") from None
    raise _refused(
        where, "has keys or members that compare equal but are of different types, such as 1 and True"
    )


def _array(value: object, where: str) -> digest.Framed:
    import numpy

    if type(value) is not numpy.ndarray and not isinstance(value, numpy.generic):
        raise _refused(where, f"is a numpy.{type(value).__name__}; make it a plain array: numpy.array(value)")
    array = numpy.asarray(value)
    if array.dtype.hasobject or array.dtype.names is not None:
        # `dtype.str` of a structured type leaves its fields out: two types would be one.
        raise _refused(where, f"is an array of dtype {array.dtype}, which has no stable identity")
    if array.dtype.metadata is not None:
        raise _refused(where, "is an array whose dtype has metadata, which would be lost")
    shape = None if isinstance(value, numpy.generic) else list(array.shape)
    # How the elements lie shows, too, where it is not in C order: `ravel("K")` goes by it.
    strides = [] if array.flags.c_contiguous else [list(array.strides)]
    return digest.Record("ndarray", [array.dtype.str, shape, array.tobytes(), *strides])


def _member(value: enum.Enum, where: str) -> str | int | None:
    """The name of a member; of a Flag without one its number, None for zero."""
    names = type(value).__members__
    if names.get(value.name) is value:
        return value.name
    if not isinstance(value, enum.Flag):
        raise _refused(where, f"is no member of {type(value).__qualname__}")
    if value.name is not None and all(part in names for part in value.name.split("|")):
        return value.name
    return value.value or None


def fields_of(value: object, where: str) -> dict[str, object]:
    """The fields of a dataclass instance, which are all that it holds.

    Raises:
        InvalidInput: it holds something besides them, or one was never set.
    """
    kind = type(value)
    names = [item.name for item in dataclasses.fields(cast("type", kind))]
    slots = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    slotted = {name for each in slots for name in ([each] if isinstance(each, str) else each)}
    held = {name for name in slotted - {"__dict__", "__weakref__"} if hasattr(value, name)}
    for name in sorted((held | getattr(value, "__dict__", {}).keys()) - set(names)):
        raise _refused(f"{where}.{name}", f"is no field of {kind.__qualname__}, so it would be lost")
    _refuse_hidden_state(kind, where)
    for name in names:
        if not hasattr(value, name):
            raise _refused(f"{where}.{name}", "was never set")
    return {name: getattr(value, name) for name in names}


def _refuse_hidden_state(kind: type, where: str) -> None:
    if any(forms.hides_state(base) for base in kind.__mro__):
        raise _refused(where, f"is a {kind.__qualname__}, which holds more than its fields")


def is_model(kind: type) -> bool:
    """Whether it is a model of pydantic, which need not be installed here."""
    return any(
        base.__module__ == "pydantic.main" and base.__qualname__ == "BaseModel" for base in kind.__mro__
    )


def held_by_model(value: object) -> dict[str, object]:
    """What a model holds: fields, extra ones, private attributes.

    Which of the fields were given is none of that, though `exclude_unset` tells.
    """
    extra: Mapping[str, object] | None = getattr(value, "__pydantic_extra__", None)
    private: Mapping[str, object] | None = getattr(value, "__pydantic_private__", None)
    return {**vars(value), **(extra or {}), **(private or {})}


def _init_only(kind: type) -> str | None:
    """The name of an `InitVar` of a dataclass. Such a pseudo-field is in no public list."""
    pseudo: object = dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]
    declared: Mapping[str, object] = getattr(kind, "__dataclass_fields__", {})
    return next(
        (name for name, item in declared.items() if getattr(item, "_field_type", None) is pseudo), None
    )


def _refuse_unclear_time(value: datetime.datetime | datetime.time, where: str) -> None:
    """Nothing, if ISO 8601 or microseconds say all of `value`: they have no zone, and no `fold`."""
    if value.fold:
        raise _refused(where, "has fold=1, which its canonical form leaves out; pass it in UTC")
    if value.tzinfo is None:
        return
    if isinstance(value, datetime.time):
        raise _refused(where, "is a time of day with a zone, which has no stable identity")
    # Another zone may be as UTC is at that time, and not half a year later.
    if type(value.tzinfo) is not datetime.timezone or value.tzinfo != datetime.UTC:
        raise _refused(
            where, "is not in UTC, and its zone would be lost; pass it in UTC: value.astimezone(UTC)"
        )
    if value.tzname() != "UTC":
        raise _refused(where, f"is in UTC by the name {value.tzname()}, which would be lost")


def _refused(where: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{where} {why}; pass plain values, or an artifact (as it is, or in a list, tuple or dict)",
        ErrorKind.UNSUPPORTED_VALUE,
    )


# ── kept with a Run ──────────────────────────────────────────────────────────────────────────────


def keep(value: digest.Framed, store: "blobs.BlobStore") -> digest.Framed:
    """A parameter as its Run keeps it: as it is, or as a Blob where it is large."""
    framed = digest.frame(value)
    if len(framed) <= _LARGEST_BYTES:
        return value
    return digest.Record("whence.blob", [store.put_bytes(framed).raw, len(framed)])


def kept(value: digest.Framed, store: "blobs.BlobStore") -> digest.Framed:
    """What `keep` was given."""
    if isinstance(value, digest.Record) and value.name == "whence.blob":
        raw, _ = cast("tuple[bytes, int]", value.value)
        return digest.unframe(store.read_bytes(digest.Digest.of(raw)))
    return value


# ── and back ─────────────────────────────────────────────────────────────────────────────────────


def restore(value: digest.Framed, root: pathlib.Path) -> object:
    """The Python value of a canonical form; classes are imported by name.

    Raises:
        InvalidInput: its class can no longer be imported.
    """
    if isinstance(value, digest.Record):
        return _RESTORED[value.name](value.value, root)
    if isinstance(value, Mapping):
        return {_frozen(restore(key, root)): restore(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item, root) for item in value]
    if isinstance(value, tuple):
        return tuple(restore(item, root) for item in value)
    if isinstance(value, frozenset):
        return {_frozen(restore(item, root)) for item in value}
    return value


def _frozen(value: object) -> object:
    """`value` as a key or a member, which a set cannot be."""
    if type(value) is set:
        return frozenset(value)
    return tuple(_frozen(item) for item in value) if type(value) is tuple else value


def restore_class(named: object, root: pathlib.Path) -> type:
    """The class that [module, qualified name] names, in the project at `root`.

    Raises:
        InvalidInput: it can no longer be imported.
    """
    module, qualname = cast("list[str]", named)
    try:
        found: object = module_named(module, root)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"a value is of the class {module}.{qualname}, which can no longer be imported: {error}"
        ) from error
    return cast("type", found)


def module_named(name: str, root: pathlib.Path) -> types.ModuleType:
    """The module that every process knows as `name`: a script that runs is `__main__` here, and a folder
    on the search path, inside the project, is in the name and not in the import.

    Raises:
        ImportError: there is none.
    """
    parts = name.split(".")
    imports = [".".join(parts[start:]) for start in range(len(parts))]
    for loaded in (*origins.MAIN_MODULES, *imports):
        if loaded in sys.modules and _module_name(loaded, root) == name:
            return sys.modules[loaded]
    for each in imports[:-1]:
        with contextlib.suppress(ImportError):
            found = importlib.import_module(each)
            if each == name or _module_name(each, root) == name:
                return found
    return importlib.import_module(imports[-1])


def _restore_enum(parts: digest.Framed, root: pathlib.Path) -> object:
    module, qualname, name = cast("tuple[str, str, str | int | None]", parts)
    kind = cast("type[enum.Enum]", restore_class([module, qualname], root))
    if not isinstance(name, str):  # of a Flag
        return kind(name or 0)
    return functools.reduce(operator.or_, [kind[each] for each in name.split("|")])


def _restore_dataclass(parts: digest.Framed, root: pathlib.Path) -> object:
    named, values = cast("tuple[object, Mapping[str, digest.Framed]]", parts)
    kind = restore_class(named, root)
    made: object = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, restore(value, root))
    return made


def _restore_model(parts: digest.Framed, root: pathlib.Path) -> object:
    named, values, given = cast("tuple[object, Mapping[str, digest.Framed], frozenset[str]]", parts)
    kind = restore_class(named, root)
    held = {name: restore(value, root) for name, value in values.items()}
    private = {name: held.pop(name) for name in getattr(kind, "__private_attributes__", {}) if name in held}
    made: object = kind.model_construct(set(given), **held)  # type: ignore[attr-defined]
    for name, value in private.items():
        setattr(made, name, value)
    return made


def _restore_array(parts: digest.Framed, root: pathlib.Path) -> object:
    import numpy

    dtype, shape, data, *rest = cast("tuple[str, list[int] | None, bytes, list[int]]", parts)
    plain = numpy.frombuffer(data, dtype=dtype).reshape(shape or ()).copy()
    if not rest:
        return plain[()] if shape is None else plain
    (strides,) = rest
    reach = [stride * (count - 1) for stride, count in zip(strides, plain.shape, strict=True)]
    first = -sum(step for step in reach if step < 0)
    held = bytearray(first + sum(step for step in reach if step > 0) + plain.itemsize)
    made = numpy.ndarray(plain.shape, plain.dtype, held, first, strides)
    made[...] = plain
    return made


_RESTORED: Mapping[str, Callable[[digest.Framed, pathlib.Path], object]] = {
    "datetime": lambda value, _: _EPOCH + cast("int", value) * _MICROSECOND,
    "naive-datetime": lambda value, _: datetime.datetime.fromisoformat(cast("str", value)),
    "date": lambda value, _: datetime.date.fromisoformat(cast("str", value)),
    "time": lambda value, _: datetime.time.fromisoformat(cast("str", value)),
    "timedelta": lambda value, _: cast("int", value) * _MICROSECOND,
    "decimal": lambda value, _: decimal.Decimal(cast("str", value)),
    "uuid": lambda value, _: uuid.UUID(cast("str", value)),
    "complex": lambda value, _: complex(*cast("list[float]", value)),
    "frozenset": lambda value, root: frozenset(
        restore(each, root) for each in cast("frozenset[digest.Framed]", value)
    ),
    "pure-path": lambda value, _: getattr(pathlib, cast("list[str]", value)[0])(cast("list[str]", value)[1]),
    "path": lambda value, root: root / cast("str", value),
    "enum": _restore_enum,
    "dataclass": _restore_dataclass,
    "pydantic": _restore_model,
    "ndarray": _restore_array,
}


def preview(value: object) -> str:
    """A value as people see it: short, on one line, and never an error."""
    try:
        shown = repr(value)
    except Exception as error:
        shown = f"<{type(value).__qualname__}, which cannot be shown: {type(error).__name__}>"
    shown = " ".join(shown.split()).encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _PREVIEW_CHARACTERS else shown[: _PREVIEW_CHARACTERS - 1] + "…"
