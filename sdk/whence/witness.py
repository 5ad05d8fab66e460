"""Witness: what a walk over code saw in the process, so that it need not walk again while that is so.

Everything that a walk's answer depends on is noted as it is seen: what names stood for, what functions, classes
and data held, which files were read in which state, which modules were loaded. Where something cannot be noted,
the witness says that it is not complete, and nothing is remembered. Leaves to others: walking (`reach`), and
whose answer is remembered (`fingerprint`).
"""

import abc
import builtins
import enum
import marshal
import operator
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from whence import forms, loaded, origins, source
from whence.loaded import Namespace
from whence_catalog import digest

_METACLASSES = (type, abc.ABCMeta, enum.EnumType)
_SAME_WHILE_THEY_ARE_THE_SAME = frozenset(
    {int, float, complex, bool, str, bytes, type(None), types.FunctionType}
)


class Witness:
    """What one walk saw."""

    def __init__(self) -> None:
        self.is_complete = True
        self._is_asked = False
        self._names: dict[int, tuple[Namespace, dict[str, object]]] = {}
        self._functions: dict[int, tuple[types.FunctionType, tuple[object, ...]]] = {}
        self._classes: dict[int, tuple[type, list[str], list[object], tuple[type, ...]]] = {}
        self._values: dict[int, tuple[object, bytes | str]] = {}
        self._files: dict[str, tuple[int, ...] | None] = {}
        self._answers: list[tuple[Callable[..., object], tuple[object, ...], object]] = []
        self._modules = dict(sys.modules)
        # In a folder that has been deleted, where a relative name leads cannot be told.
        self._place = (list(sys.path), origins.current_folder())
        if not self._place[1]:
            self.is_complete = False

    def cannot_tell(self) -> None:
        """Something was seen that cannot be noted."""
        self.is_complete = False

    def look(self, namespace: Namespace, name: str) -> object:
        """What a name stands for, or Missing; noted."""
        value = namespace.get(name, loaded.Missing)
        self._names.setdefault(id(namespace), (namespace, {}))[1][name] = value
        return value

    def builtin(self, name: str) -> object:
        """What a name stands for where nobody binds it, or Missing; noted."""
        return self.look(vars(builtins), name)

    def function(self, function: types.FunctionType) -> None:
        """Note what a function is made of."""
        if id(function) not in self._functions:
            self._functions[id(function)] = (function, _made_of(function))
            for name in ("__file__", "__name__", "__package__"):
                self.look(function.__globals__, name)
            registry = getattr(function, "registry", None)
            if isinstance(registry, Mapping):
                self.answer(_items, (registry,), _items(registry))

    def kind(self, kind: type) -> None:
        """Note what a class and those above it hold."""
        for item in kind.__mro__:
            if item is not object and id(item) not in self._classes:
                held = vars(item)
                self._classes[id(item)] = (item, list(held), list(held.values()), item.__bases__)

    def attribute(self, kind: type, name: str) -> object:
        """An attribute of a class, or Missing; noted."""
        self.kind(kind)
        if type(kind) not in _METACLASSES or not any(name in vars(item) for item in kind.__mro__):
            self.cannot_tell()
        return loaded.attribute(kind, name)

    def value(self, value: object, form: digest.Framed) -> None:
        """Note what form a value has."""
        if type(value) not in _SAME_WHILE_THEY_ARE_THE_SAME:
            self._note(value, _kept(form))

    def opaque(self, value: object, why: str) -> None:
        """Note that a value has no form."""
        self._note(value, why)

    def _note(self, value: object, said: bytes | str) -> None:
        # Asked whether it still holds, a walk makes forms again, of which there is nothing to note.
        if not self._is_asked:
            self._values.setdefault(id(value), (value, said))

    def file(self, path: str) -> None:
        """Note the state of a file."""
        if path not in self._files:
            self._files[path] = source.state(path)
            if self._files[path] == ():
                self.cannot_tell()

    def answer(
        self, question: Callable[..., object], arguments: tuple[object, ...], answer: object
    ) -> object:
        """Note the answer to a question that can be asked again; answers it."""
        self._answers.append((question, arguments, answer))
        return answer

    def still_holds(
        self, of_value: Callable[[object], digest.Framed], handles: Callable[[object], object]
    ) -> bool:
        """Whether all of it is as it was. `of_value` makes forms as the walk did."""
        self._is_asked = True
        return (
            sys.path == self._place[0]
            and origins.current_folder() == self._place[1]
            and sys.modules.keys() == self._modules.keys()
            and all(map(operator.is_, sys.modules.values(), self._modules.values()))
            and all(
                namespace.get(name, loaded.Missing) is value
                for namespace, names in self._names.values()
                for name, value in names.items()
            )
            and all(_same(_made_of(function), before) for function, before in self._functions.values())
            and all(_holds(*noted) for noted in self._classes.values())
            and all(source.state(path) == before for path, before in self._files.items())
            and all(question(*arguments) == answer for question, arguments, answer in self._answers)
            and all(_is_said(value, said, of_value, handles) for value, said in self._values.values())
        )


def _made_of(function: types.FunctionType) -> tuple[object, ...]:
    cells = function.__closure__
    keyword_defaults = function.__kwdefaults__
    attributes = function.__dict__
    return (
        function.__code__,
        function.__defaults__,
        function.__doc__,
        function.__name__,
        function.__qualname__,
        *(() if cells is None else map(_content, cells)),
        *(() if not keyword_defaults else _flat(keyword_defaults.items())),
        *(() if not attributes else _flat(attributes.items())),
    )


def _flat(pairs: Iterable[tuple[object, object]]) -> list[object]:
    return [item for pair in pairs for item in pair]


def _items(registry: Mapping[object, object]) -> list[tuple[int, int]]:
    return [(id(key), id(value)) for key, value in registry.items()]


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return loaded.Missing


def _same(now: tuple[object, ...], before: tuple[object, ...]) -> bool:
    return len(now) == len(before) and all(map(operator.is_, now, before))


def _holds(kind: type, names: list[str], values: list[object], bases: tuple[type, ...]) -> bool:
    held = vars(kind)
    return list(held) == names and all(map(operator.is_, held.values(), values)) and kind.__bases__ == bases


def _kept(form: Any) -> bytes:
    # Of version 2: later ones write what is shared as such, and what is shared differs from call to call.
    return marshal.dumps(form, 2)


def _is_said(
    value: object,
    said: bytes | str,
    of_value: Callable[[object], digest.Framed],
    handles: Callable[[object], object],
) -> bool:
    try:
        return _kept(of_value(value)) == said
    except forms.Unrecorded:
        return False
    except forms.Opaque as error:
        return str(error) == said and not handles(value)
