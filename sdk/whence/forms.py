"""Forms: what a value of the running process is, in the code's identity.

Decides which values are plain data, identified by what they hold, and how. Leaves to others: functions,
classes and modules (`fingerprint`, through `refer`), and what to do about a value that has no form.
A form is made of what `digest.frame` takes; it holds no address, no order of a set, and no path that
depends on where the project lies.
"""

import array
import collections
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import operator
import os
import pathlib
import re
import struct
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from whence import loaded, normal_form, origins
from whence_catalog import digest
from whence_catalog.errors import InvalidInput

DOMAIN = "whence.code/1"

_CODE = (
    types.FunctionType,
    type,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    staticmethod,
    classmethod,
    property,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
)
# Functions of compiled packages, of types that Python does not know.
_COMPILED = frozenset({"ufunc", "cython_function_or_method", "fused_cython_function"})
_SEQUENCES = (list, tuple, collections.deque)
_MAPPINGS = (
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    collections.Counter,
    types.MappingProxyType,
)
_SAID_BY_REPR = (
    decimal.Decimal,
    fractions.Fraction,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    uuid.UUID,
    range,
)
_GETTERS = (operator.attrgetter, operator.itemgetter, operator.methodcaller)
# What these hold beside attributes is told by `_contents`, or is nothing.
_TOLD = frozenset(
    {
        *(object, dict, list, tuple, set, frozenset, str, bytes, int, float, complex, bytearray, array.array),
        *(collections.deque, collections.OrderedDict, collections.defaultdict, types.SimpleNamespace),
        *(
            BaseException,
            decimal.Decimal,
            datetime.date,
            datetime.datetime,
            datetime.time,
            datetime.timedelta,
        ),
    }
)
# What a class adds to its objects for `__dict__`, for `__weakref__`, and for each of its slots.
_POINTER = struct.calcsize("P")
_MOST_LEVELS = 60
# Asked first, since asking an object for what wraps it takes long.
_NEVER_CODE = frozenset(
    {
        *(int, float, complex, bool, str, bytes, type(None), list, tuple, dict, set, frozenset),
        *_SAID_BY_REPR,
    }
)


class Opaque(Exception):
    """A value has no form: what it holds cannot be told from outside. The message is its type."""


class Unrecorded(Opaque):
    """A value is a draft: no statement stands for it, since the content is whatever it holds by then."""


def is_code(value: object) -> bool:
    """Whether a value stands for code, rather than being data."""
    if type(value) in _NEVER_CODE:
        return False
    return isinstance(value, _CODE) or type(value).__name__ in _COMPILED or is_wrapper(value)


def is_wrapper(value: object) -> bool:
    """Whether a value has a `__wrapped__` of its own; asked without running any `__getattr__`."""
    return inspect.getattr_static(value, "__wrapped__", None) is not None


def is_handle(value: object) -> bool:
    """Whether a value is a handle of whence's. Nobody has one before the module that makes them is there."""
    kind = getattr(sys.modules.get("whence.handles"), "Handle", None)
    return isinstance(kind, type) and isinstance(value, kind)


class Forms:
    """Makes forms; one for each walk over the code, since it remembers objects by their address."""

    def __init__(self, root: str, refer: Callable[[object], digest.Framed]) -> None:
        self._root = root
        self._refer = refer
        # The object is kept too: an address is used again once its object is gone.
        self._known: dict[int, tuple[object, digest.Framed]] = {}
        self._open: set[int] = set()

    def of(self, value: object, level: int = 0) -> digest.Framed:
        """The form of a value.

        Raises:
            Opaque: there is none.
        """
        if is_handle(value):
            return _handle(value)
        if is_code(value):
            return self._refer(value)
        plain = self._scalar(value)
        if plain is not None:
            return plain
        if level > _MOST_LEVELS:
            raise Opaque(f"data nested more than {_MOST_LEVELS} deep")
        if id(value) in self._open:
            return ["cycle"]
        self._open.add(id(value))
        try:
            return self._compound(value, level + 1)
        except (Opaque, InvalidInput):
            raise
        except Exception as error:  # looking at an object may run its own code
            raise Opaque(f"{type(value).__qualname__}, which raises {type(error).__name__}") from error
        finally:
            self._open.discard(id(value))

    def handles(self, value: object) -> list[digest.Framed]:
        """The forms of the handles in a value that has none itself, as far as they can be found.

        Raises:
            Unrecorded: one is a draft.
        """
        found: list[digest.Framed] = []
        todo, seen = [value], dict[int, object]()
        while todo:
            item = todo.pop()
            if id(item) in seen:
                continue
            seen[id(item)] = item
            if is_handle(item):
                found.append(_handle(item))
            elif isinstance(item, _MAPPINGS):
                todo += item.values()
            elif isinstance(item, (*_SEQUENCES, set, frozenset)):
                todo += item
            elif isinstance(item, types.SimpleNamespace) or loaded.origin(type(item)) is _PROJECT:
                todo += getattr(item, "__dict__", {}).values()
        return found

    def _scalar(self, value: object) -> digest.Framed:
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, float, complex, bytes):
            return ["constant", normal_form.constant(value)]
        if isinstance(value, str) and kind is str:
            return ["constant", normal_form.text(self._relative(value))]
        if kind is object:
            return ["object"]  # a sentinel: nothing but being itself
        if isinstance(value, datetime.datetime | datetime.time) and not _has_known_zone(value):
            return None
        if kind in _SAID_BY_REPR:
            return [kind.__name__, repr(value)]
        if isinstance(value, re.Pattern):
            return ["pattern", normal_form.constant(value.pattern), value.flags]
        if isinstance(value, pathlib.PurePath) and loaded.origin(kind) is not _PROJECT:
            return ["path", normal_form.text(self._relative(str(value)))]
        return None

    def _relative(self, text: str) -> str:
        if text == self._root or text.startswith(self._root + os.sep):
            return "<root>" + text[len(self._root) :].replace(os.sep, "/")
        return text

    def _compound(self, value: object, level: int) -> digest.Framed:
        kind = type(value)
        if isinstance(value, dict) and kind is dict and "__spec__" in value:
            module = sys.modules.get(str(value.get("__name__")))
            if module is not None and vars(module) is value:
                return self._refer(module)
        if isinstance(value, enum.Enum):
            return ["enum", self._refer(kind), value.name, self.of(value.value, level)]
        if isinstance(value, _SEQUENCES) and kind in _SEQUENCES:
            # How many a deque keeps is seen once another is put into it.
            most = value.maxlen if isinstance(value, collections.deque) else None
            return [
                kind.__name__,
                [self.of(item, level) for item in value],
                *([] if most is None else [most]),
            ]
        if isinstance(value, set | frozenset) and kind in (set, frozenset):
            return [kind.__name__, sorted((self.of(item, level) for item in value), key=digest.frame)]
        if isinstance(value, Mapping) and kind in _MAPPINGS:
            # Code sees the order of a mapping, so it counts.
            pairs: list[digest.Framed] = [
                [self.of(key, level), self.of(item, level)] for key, item in value.items()
            ]
            made = [self.of(value.default_factory)] if isinstance(value, collections.defaultdict) else []
            return [kind.__name__, pairs, *made]
        if isinstance(value, slice):
            return ["slice", [self.of(item, level) for item in (value.start, value.stop, value.step)]]
        if isinstance(value, _GETTERS):
            return [kind.__name__, self.of(value.__reduce__()[1], level)]
        if kind.__module__ == "numpy" and hasattr(value, "dtype") and hasattr(value, "tobytes"):
            return _array(value)
        if isinstance(value, datetime.datetime | datetime.time) and kind in _SAID_BY_REPR:
            return [kind.__name__, repr(value.replace(tzinfo=None)), self.of(value.tzinfo, level)]
        if isinstance(value, bytearray | array.array) and kind in (bytearray, array.array):
            return [kind.__name__, self.of(_contents(value), level)]
        if isinstance(value, memoryview):
            return ["memoryview", value.format, list(value.shape or ()), value.readonly, value.tobytes()]
        if isinstance(value, collections.ChainMap) and kind is collections.ChainMap:
            return ["ChainMap", self.of(value.maps, level)]
        origin = loaded.origin(kind)
        if isinstance(value, types.SimpleNamespace) or origin is _PROJECT:
            return self._object(value, level)
        if isinstance(value, BaseException) and origin is origins.Origin.STANDARD:
            return self._object(value, level)
        raise Opaque(f"{kind.__module__}.{kind.__qualname__}")

    def _object(self, value: object, level: int) -> digest.Framed:
        """An object of one of the project's classes: by its class and everything it holds."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        form: digest.Framed = ["instance", self._refer(type(value)), self._held(value, level)]
        self._known[id(value)] = (value, form)
        return form

    def wrapper(self, value: object, skipped: frozenset[str]) -> digest.Framed:
        """What a wrapper holds besides what it wraps and what it took over from there, or None.

        Raises:
            Opaque: there is no telling.
        """
        if id(value) in self._open:
            return ["cycle"]
        self._open.add(id(value))
        try:
            if loaded.origin(type(value)) is _PROJECT:
                return self._held(value, 1, skipped)
            # Those of `functools` hold nothing else that would not be said by how they were made.
            names = sorted(set(getattr(value, "__dict__", {})) - skipped)
            return [[name, self.of(vars(value)[name], 1)] for name in names] or None
        except (Opaque, InvalidInput):
            raise
        except Exception as error:
            raise Opaque(f"{type(value).__qualname__}, which raises {type(error).__name__}") from error
        finally:
            self._open.discard(id(value))

    def attributes(self, value: object) -> list[digest.Framed]:
        """The attributes in an object's `__dict__`.

        Raises:
            Opaque: one of them has no form.
        """
        if id(value) in self._open:
            return [["cycle"]]
        self._open.add(id(value))
        try:
            held = getattr(value, "__dict__", {})
            return [[name, self.of(held[name], 1)] for name in sorted(held)]
        finally:
            self._open.discard(id(value))

    def _held(self, value: object, level: int, skipped: frozenset[str] = frozenset()) -> bytes:
        kind = type(value)
        if any(hasattr(kind, name) for name in ("fileno", "acquire")) or _hides(kind):
            raise Opaque(f"{kind.__module__}.{kind.__qualname__}")
        state: dict[str, object] = {}
        for base in kind.__mro__:
            # What a path keeps there is what it has worked out so far.
            if base.__module__.partition(".")[0] == "pathlib":
                continue
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else tuple(slots):
                hidden = name.startswith("__") and not name.endswith("__")
                name = f"_{base.__name__.lstrip('_')}{name}" if hidden else name
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    state[name] = getattr(value, name)
        state.update(getattr(value, "__dict__", {}))
        names = sorted(state.keys() - skipped)
        parts: list[digest.Framed] = [[name, self.of(state[name], level)] for name in names]
        parts.append(self.of(_contents(value), level))
        return digest.raw_digest_of(DOMAIN, parts)


_PROJECT = origins.Origin.PROJECT


def _hides(kind: type) -> bool:
    """Whether objects of a class may hold what is neither an attribute nor told by `_contents`."""
    told = (*_TOLD, _numpy_array())
    return any(base not in told and hides_state(base) for base in kind.__mro__)


def hides_state(base: type) -> bool:
    """Whether a class adds to its objects what is neither an attribute nor in a slot.

    Told by the size of its objects: what is written in Python adds to it by these only.
    """
    above = base.__base__
    if above is None:
        return False
    held = vars(base)
    slots = sum(isinstance(item, types.MemberDescriptorType) for item in held.values())
    told = (slots if "__slots__" in held else 0) + ("__dict__" in held) + ("__weakref__" in held)
    is_larger = base.__basicsize__ > above.__basicsize__ + told * _POINTER
    return is_larger or base.__itemsize__ != above.__itemsize__


def _descriptor(name: str) -> Any:
    return vars(BaseException)[name]


def _numpy_array() -> object:
    return getattr(sys.modules.get("numpy"), "ndarray", None)


def _has_known_zone(value: datetime.datetime | datetime.time) -> bool:
    zone = value.tzinfo
    return zone is None or type(zone) is datetime.timezone or type(zone).__module__.startswith("zoneinfo")


def _contents(value: object) -> object:
    """What an object holds as the list, number or text that it also is."""
    # Not `list(value)`, which asks the subclass how to iterate, and may run its code.
    array_kind: Any = _numpy_array()
    if array_kind is not None and isinstance(value, array_kind):
        return array_kind.view(value, array_kind)
    match value:
        case collections.defaultdict():
            return [dict(dict.items(value)), value.default_factory]
        case collections.OrderedDict():
            # Its own order, which is not always that of the dict that it also is.
            return dict(collections.OrderedDict.items(value))
        case collections.deque():
            return [list(collections.deque.__iter__(value)), value.maxlen]
        case BaseException():
            return [_descriptor(name).__get__(value) for name in ("args", "__cause__")]
        case complex():
            return complex(complex.real.__get__(value), complex.imag.__get__(value))
        case bytearray():
            return bytes(memoryview(value))
        case array.array():
            return [array.array.typecode.__get__(value), bytes(memoryview(value))]
        case decimal.Decimal():
            return decimal.Decimal.__repr__(value)
        case datetime.datetime():
            zone = datetime.datetime.tzinfo.__get__(value)
            return [datetime.datetime.__reduce_ex__(value, 3)[1][0], zone]
        case datetime.time():
            zone = datetime.time.tzinfo.__get__(value)
            return [datetime.time.__reduce_ex__(value, 3)[1][0], zone]
        case datetime.date():
            return datetime.date.__reduce__(value)[1]
        case datetime.timedelta():
            return datetime.timedelta.__reduce__(value)[1]
        case pathlib.PurePath():
            return pathlib.PurePath(pathlib.PurePath.__str__(value))
        case dict():
            return dict(dict.items(value))
        case list():
            return list(list.__iter__(value))
        case tuple():
            return tuple(tuple.__iter__(value))
        case set():
            return set(set.__iter__(value))
        case frozenset():
            return frozenset(frozenset.__iter__(value))
        case str():
            return str.__str__(value)
        case bytes():
            return bytes.__getnewargs__(value)[0]
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case _:
            return None


def _handle(handle: object) -> digest.Framed:
    """A handle, by the content that it names: its name may come to mean another Version."""
    if handle.is_draft:  # type: ignore[attr-defined]
        raise Unrecorded(f"{handle!r}; publish it first, or hand it in as an argument")
    version = handle.version  # type: ignore[attr-defined]
    return ["handle", version.content.strength.value, version.digest.raw]


def _array(value: object) -> digest.Framed:
    kind = value.dtype  # type: ignore[attr-defined]
    if kind.hasobject:
        raise Opaque("numpy array of objects")
    # `descr` names the fields of a structured type; `str` has the byte order.
    described = repr(kind.descr) if kind.names else kind.str
    # A matrix multiplies otherwise than an array of the same numbers.
    name = "matrix" if type(value).__name__ == "matrix" else "array"
    return [name, described, list(value.shape), value.tobytes()]  # type: ignore[attr-defined]
