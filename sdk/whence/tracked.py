"""Arguments that a step is handed through a view, which notes what the step asks of them.

A step that names an argument as tracked is reused by what it really read of it. Members that can be asked about
one by one come as views of their own, anything else as it is. Nothing can be asked without being noted: who
looks at a view as a whole (prints it, compares it, copies it, pickles it, calls what no view has) has read all of it.

A view passes for what it is of (`isinstance`), and is read-only. Its type is none of these all the same: code written
in C would read a `dict` or a `list` past every view.
"""

import copy
import functools
import operator
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NoReturn, cast

from whence_catalog import digest, traces
from whence_catalog.errors import Conflict, ErrorKind
from whence_catalog.traces import Question

_PLAIN = frozenset({str, int, bool, bytes, type(None)})
_CHANGING = frozenset(
    {
        "append",
        "clear",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
    }
)


class Log:
    """What one call asks of its tracked arguments, in order. Safe from threads."""

    def __init__(self, values: Mapping[str, traces.Tracked]) -> None:
        self._ask = traces.asking(values)
        self._seen: dict[tuple[str, traces.Path, Question], traces.Observation] = {}
        # One view of each place, so that a view is itself.
        self.views: dict[tuple[str, traces.Path], View] = {}
        self._guard = threading.Lock()
        self._is_over = False

    def note(self, argument: str, path: traces.Path, question: Question) -> None:
        """Somebody is about to be told the answer.

        Raises:
            Conflict: the call is over, and what is read now would count for nothing.
        """
        if self._is_over:
            raise Conflict(
                f"the call that {argument} was tracked for has ended; take what you need of it inside of the call",
                ErrorKind.WRONG_STATE,
            )
        asked = argument, path, question
        if asked in self._seen:
            return
        seen = traces.Observation(*asked, self._ask(*asked))
        with self._guard:
            self._seen[asked] = seen
            if len(self._seen) > 4 * traces.MOST_OBSERVATIONS:
                short = traces.bounded(list(self._seen.values()), self._ask)
                self._seen = {(each.argument, each.path, each.question): each for each in short}

    def knows(self, argument: str, path: traces.Path, question: Question) -> bool:
        """Whether that was asked before, in this call."""
        return not self._is_over and (argument, path, question) in self._seen

    def end(self) -> tuple[traces.Observation, ...]:
        """All that was asked; nothing can be asked any more."""
        with self._guard:
            self._is_over = True
            return traces.bounded(list(self._seen.values()), self._ask)


def view(value: object, framed: digest.Framed, argument: str, log: Log) -> object:
    """A view of an argument, which stands as `framed` in `log`; a value without members comes as it is, and is read."""
    return _handed(value, framed, argument, (), log)


def whole(value: object) -> object:
    """All of a tracked value, as it is: that counts as reading it all. Anything else comes back as it was given."""
    try:
        return _without_views(value)
    except RecursionError:
        return value  # it holds itself, and is refused by who needs a form of it


def _without_views(value: object) -> object:
    if isinstance(value, View):
        return _whole(value)
    kind = type(value)
    if kind is list or kind is tuple:
        items = [_without_views(item) for item in cast("Sequence[object]", value)]
        same = all(a is b for a, b in zip(items, cast("Sequence[object]", value), strict=True))
        return value if same else items if kind is list else tuple(items)
    if kind is dict:
        given = cast("Mapping[object, object]", value)
        named = {key: _without_views(item) for key, item in given.items()}
        return value if all(named[key] is item for key, item in given.items()) else named
    return value


class View:
    """A tracked value with members."""

    __slots__ = ("_whence_argument", "_whence_framed", "_whence_log", "_whence_path", "_whence_raw")

    def __init__(
        self, raw: object, framed: traces.Tracked, argument: str, path: traces.Path, log: Log
    ) -> None:
        self._whence_raw = raw
        self._whence_framed = framed
        self._whence_argument = argument
        self._whence_path = path
        self._whence_log = log

    def _whence_all(self) -> object:
        _note(self, Question.WHOLE)
        return _copied(self._whence_raw)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # asked of every value, and answered by its type
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in _CHANGING and type(self) is not FieldsView:
            return functools.partial(_refuse_change, self, name)
        return getattr(_whole(self), name)

    def __len__(self) -> int:
        _note(self, Question.LENGTH)
        return len(cast("Sequence[object]", self._whence_raw))

    def __bool__(self) -> bool:
        _note(self, Question.EMPTY)
        return bool(self._whence_raw)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._whence_raw)

    def __setitem__(self, key: object, item: object) -> NoReturn:
        _refuse_change(self, "by item")

    def __delitem__(self, key: object) -> NoReturn:
        _refuse_change(self, "by item")

    def __eq__(self, other: object) -> bool:
        return bool(_whole(self) == whole(other))

    def __lt__(self, other: object) -> bool:
        return bool(operator.lt(cast("int", _whole(self)), cast("int", whole(other))))

    def __le__(self, other: object) -> bool:
        return bool(operator.le(cast("int", _whole(self)), cast("int", whole(other))))

    def __gt__(self, other: object) -> bool:
        return bool(operator.gt(cast("int", _whole(self)), cast("int", whole(other))))

    def __ge__(self, other: object) -> bool:
        return bool(operator.ge(cast("int", _whole(self)), cast("int", whole(other))))

    def __hash__(self) -> int:
        return hash(_whole(self))

    def __or__(self, other: object) -> object:
        return operator.or_(_whole(self), whole(other))

    def __ror__(self, other: object) -> object:
        return operator.or_(whole(other), _whole(self))

    def __add__(self, other: object) -> object:
        return operator.add(_whole(self), whole(other))

    # No `__radd__`: `some_list += view` would ask it first, and have a new list in place of a longer one.

    def __mul__(self, other: object) -> object:
        return operator.mul(_whole(self), whole(other))

    def __rmul__(self, other: object) -> object:
        return operator.mul(whole(other), _whole(self))

    def __str__(self) -> str:
        return str(_whole(self))

    def __repr__(self) -> str:
        return repr(_whole(self))

    def __format__(self, spec: str) -> str:
        return format(_whole(self), spec)

    def __copy__(self) -> object:
        return _whole(self)

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        return copy.deepcopy(_whole(self), memo)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return _itself, (_whole(self),)


class MappingView(View, Mapping[object, object]):
    """A tracked dict."""

    __slots__ = ()

    def __new__(cls, *given: object) -> object:  # type: ignore[misc]
        """`type(view)(…)` makes a dict, as it would of what the view is of."""
        return super().__new__(cls) if _is_of_view(given) else dict(*given)

    def __getitem__(self, key: object) -> object:
        step = _step(self, key)
        if step is None:
            raise KeyError(key)
        raw = cast("Mapping[object, object]", self._whence_raw)
        framed = cast("Mapping[digest.Framed, digest.Framed]", self._whence_framed)
        return _handed(
            raw[key], framed[step[0]], self._whence_argument, (*self._whence_path, *step), self._whence_log
        )

    def __contains__(self, key: object) -> bool:
        return _step(self, key, Question.HAS) is not None

    def __iter__(self) -> Iterator[object]:
        _note(self, Question.NAMES)
        return iter(cast("Mapping[object, object]", self._whence_raw))

    def __reversed__(self) -> Iterator[object]:
        _note(self, Question.NAMES)
        return reversed(cast("dict[object, object]", self._whence_raw))

    __len__ = View.__len__
    __eq__ = View.__eq__
    __hash__ = View.__hash__


def _step(view: View, key: object, question: Question = Question.GET) -> tuple[digest.Framed] | None:
    """The step of a path to a key, if it is there; notes what was asked to know that."""
    raw = cast("Mapping[object, object]", view._whence_raw)
    framed = cast("Mapping[digest.Framed, digest.Framed]", view._whence_framed)
    is_there = key in raw
    if type(key) in _PLAIN and is_there == (key in framed):
        step = cast("digest.Framed", key)
    else:
        # Whatever a key of such a type is equal to, only all names can tell.
        _note(view, Question.NAMES)
        if not is_there:
            return None
        step = dict(zip(raw, framed, strict=True))[key]
    _note(view, question, step)
    return (step,) if is_there else None


class SequenceView(View, Sequence[object]):
    """A tracked list."""

    __slots__ = ()

    def __new__(cls, *given: object) -> object:  # type: ignore[misc]
        """`type(view)(…)` makes a list, as it would of what the view is of."""
        return super().__new__(cls) if _is_of_view(given) else cls._made_of(*given)

    _made_of: ClassVar[type] = list

    def __getitem__(self, place: object) -> object:  # type: ignore[override]
        raw = cast("Sequence[object]", self._whence_raw)
        framed = cast("Sequence[digest.Framed]", self._whence_framed)
        at = functools.partial(_handed, argument=self._whence_argument, log=self._whence_log)
        if isinstance(place, slice):
            ends = [
                None if end is None else operator.index(end) for end in (place.start, place.stop, place.step)
            ]
            step = tuple(ends)
            members = list(zip(raw[place], framed[place], strict=True))
            _note(self, Question.LENGTH, step)
            path = *self._whence_path, step
            items = [at(item, known, path=(*path, n)) for n, (item, known) in enumerate(members)]
            return items if type(raw) is list else tuple(items)
        number = operator.index(cast("int", place))
        if not -len(raw) <= number < len(raw):
            _note(self, Question.GET, number)
        return at(raw[number], framed[number], path=(*self._whence_path, number))

    __len__ = View.__len__
    __eq__ = View.__eq__
    __hash__ = View.__hash__


class TupleView(SequenceView):
    """A tracked tuple, with a list, a dict or a dataclass in it."""

    __slots__ = ()

    _made_of = tuple


class FieldsView(View):
    """A tracked dataclass: its fields are asked for by name, and whatever else it has looks at all of it."""

    __slots__ = ()

    @property
    def __dataclass_fields__(self) -> Mapping[str, object]:
        return cast("Mapping[str, object]", type(self._whence_raw).__dataclass_fields__)  # type: ignore[attr-defined]

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        return dict(vars(_whole(self)))

    def __getattr__(self, name: str) -> object:
        record = cast("digest.Record", object.__getattribute__(self, "_whence_framed"))
        fields = cast("tuple[object, Mapping[str, digest.Framed]]", record.value)[1]
        if name not in fields:
            return View.__getattr__(self, name)
        path = *self._whence_path, name
        raw = getattr(self._whence_raw, name)
        return _handed(raw, fields[name], self._whence_argument, path, self._whence_log)

    def __len__(self) -> int:
        return len(cast("Sequence[object]", _whole(self)))

    def __bool__(self) -> bool:
        return bool(_whole(self))


def _handed(raw: object, framed: digest.Framed, argument: str, path: traces.Path, log: Log) -> object:
    """What a step gets of what stands at a path: that it is there, and what it is, was asked."""
    log.note(argument, path, Question.GET)
    if not traces.is_container(framed):
        return raw
    if (known := log.views.get((argument, path))) is not None:
        return known
    if isinstance(framed, digest.Record):
        return log.views.setdefault((argument, path), FieldsView(raw, framed, argument, path, log))
    kind: type = (
        MappingView if isinstance(framed, Mapping) else TupleView if type(raw) is tuple else SequenceView
    )
    return log.views.setdefault((argument, path), cast("View", kind(raw, framed, argument, path, log)))


def _is_of_view(given: Sequence[object]) -> bool:
    return len(given) == len(View.__slots__) and isinstance(given[-1], Log)


def _note(view: View, question: Question, *steps: digest.Framed) -> None:
    view._whence_log.note(view._whence_argument, (*view._whence_path, *steps), question)


def _whole(view: View) -> object:
    return view._whence_all()


def _copied(value: object) -> object:
    """A copy that can be changed without changing what is tracked."""
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in cast("Mapping[object, object]", value).items()}
    if kind is list or kind is tuple:
        items = [_copied(item) for item in cast("Sequence[object]", value)]
        return items if kind is list else tuple(items)
    return value


def _itself(value: object) -> object:
    return value


def _refuse_change(view: View, name: str, *_: object, **__: object) -> NoReturn:
    raise TypeError(
        f"{view._whence_argument} is tracked, and cannot be changed ({name}); take a copy: whence.whole(…)"
    )
