"""What a step asked of an argument that is tracked: the rules of verifying traces.

A tracked argument is no part of the step's key as a whole. The step sees it through a view, which notes each
question and the digest of its answer; a later call may be handed the same result if every question still
has that answer. So whatever the step could have learnt has to be a question: that a key is absent, how many
there are, in which order they come. Who looks in any other way has asked for all of it.

A tracked value stands here as what can be framed. Mappings, lists and dataclasses are asked about member by member,
and so are tuples that hold one of these; everything else is a leaf, which is asked for whole. So is a folder, by
what its Manifest says: nothing of it need be fetched to know the answers. (The verifying traces of Mokhov, Mitchell
and Peyton Jones, "Build systems à la carte", ICFP 2018, §4.2.2, with finer questions.)

Leaves to others: how a step's code comes to ask (`whence.tracked`), and what a key is made of (`cache`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias, cast

from whence_catalog import digest

ANSWER_DOMAIN = "whence.answer/1"

# How many observations a trace has at most; with more of them, what was asked most about was asked for whole.
MOST_OBSERVATIONS = 1000
# How many traces of one base are looked at, the newest first.
MOST_TRACES = 64

# Steps from a file to what is known of it, and from a folder to what no file has: names are text, so no name is one.
SIZE = 0
CONTENT = 1
LISTING = 2

# From an argument to what was asked about: keys, places in a list (from its end, where negative), names of fields and
# files, and for a slice of a list the three numbers of it.
Path: TypeAlias = tuple[digest.Framed, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a folder that is tracked; `content` is the digest of its bytes."""

    size_bytes: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is tracked, or in one; `root` is the digest of its Manifest, where it has one."""

    members: "dict[str, File | Folder]"
    root: bytes | None = None


# What can be asked about.
Tracked: TypeAlias = "digest.Framed | Folder | File"


class Question(StrEnum):
    """What can be asked about what stands at a path. Closed and append-only."""

    # Nothing, a leaf (and which), or something with members (and of what type).
    GET = "get"
    # Whether there is something.
    HAS = "has"
    LENGTH = "length"
    EMPTY = "empty"
    # The keys of a mapping, in its order; the names in a folder, and which of them are folders.
    NAMES = "names"
    # All of it, in its order.
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Observation:
    """One question that a step asked of a tracked argument, and the digest of the answer."""

    argument: str
    path: Path
    question: Question
    answer: bytes

    def __str__(self) -> str:
        return f"{self.question} {self.argument}" + "".join(f"[{step!r}]" for step in self.path)


@dataclass(frozen=True, slots=True)
class Trace:
    """What a Run really read of its tracked arguments, in the order in which it asked.

    `base` is the key of the Run's components without its tracked `arguments`; `key` the one that stands for this trace.
    """

    base: str
    key: str
    arguments: tuple[str, ...]
    observations: tuple[Observation, ...]


Ask: TypeAlias = Callable[[str, Path, Question], bytes]


def match(trace: Trace, ask: Ask) -> bool:
    """Whether every question still has its answer; asks in order, and no further than the first that has not.

    The order matters: what the step asked next, it asked because of the answers before.
    """
    return all(ask(seen.argument, seen.path, seen.question) == seen.answer for seen in trace.observations)


def asking(values: Mapping[str, Tracked]) -> Ask:
    """How arguments of these values answer."""
    return lambda argument, path, question: answer(values[argument], path, question)


def asked_for_whole(values: Mapping[str, Tracked], arguments: Iterable[str]) -> list[Observation]:
    """What is observed of these arguments when each is asked for whole."""
    return [
        Observation(argument, (), Question.WHOLE, answer(values[argument], (), Question.WHOLE))
        for argument in arguments
    ]


def reads(observations: Iterable[Observation], argument: str) -> digest.Framed:
    """What a trace says of one argument, as the value of its component `reads/<argument>`."""
    return [
        [list(seen.path), seen.question.value, seen.answer]
        for seen in observations
        if seen.argument == argument
    ]


def shown(observations: Iterable[Observation], argument: str) -> str:
    """What was asked of an argument, for people: a line for each question, and the first digits of the answer's digest."""
    return "\n".join(f"{seen} {seen.answer.hex()[:16]}" for seen in observations if seen.argument == argument)


def asked_again(trace: Trace, ask: Ask) -> Trace:
    """The questions of a trace with their present answers."""
    seen = [replace(each, answer=ask(each.argument, each.path, each.question)) for each in trace.observations]
    return replace(trace, observations=tuple(seen))


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


class _Absent:
    """There is nothing; `beside` are the keys that might be meant by it, if any might."""

    def __init__(self, beside: digest.Framed = None) -> None:
        self.beside = beside


def answer(value: Tracked, path: Path, question: Question) -> bytes:
    """The digest of what `value` says when it is asked that about what stands at `path`."""
    return digest.raw_digest_of(ANSWER_DOMAIN, question.value, _said(_at(value, path), question))


def _at(value: Tracked, path: Path) -> "Tracked | _Absent":
    current: Tracked | _Absent = value
    for step in path:
        if isinstance(current, _Absent):
            break
        current = _member(current, step)
    return current


def _member(value: Tracked, step: digest.Framed) -> "Tracked | _Absent":
    if isinstance(value, File | Folder):
        return _inside(value, step)
    if isinstance(value, Mapping):
        # As in Python, 1 finds True; what such a key is, only who asks for the names is told.
        if step in value:
            return cast("Mapping[digest.Framed, digest.Framed]", value)[step]
        # A key of a class of the caller's may equal what was asked for, and stands here as a record, which does not.
        return _Absent(None if all(is_plain(key) for key in value) else _names(value))
    if is_container(value):
        if isinstance(value, digest.Record):
            return _fields(value).get(cast("str", step), _Absent())
        items = cast("Sequence[digest.Framed]", value)
        if isinstance(step, tuple):
            return list(items[slice(*cast("tuple[int | None, ...]", step))])
        if type(step) is int and -len(items) <= step < len(items):
            return items[step]
    return _Absent()


def _inside(place: File | Folder, step: digest.Framed) -> "Tracked | _Absent":
    if isinstance(place, Folder):
        if step == LISTING:
            return True
        return place.members.get(cast("str", step), _Absent())
    if step == SIZE:
        return place.size_bytes
    return place.content if step == CONTENT else _Absent()


def is_container(value: Tracked) -> bool:
    """Whether a value is asked about member by member."""
    if isinstance(value, tuple):
        return any(is_container(item) for item in value)
    return isinstance(value, Mapping | list | File | Folder) or (
        isinstance(value, digest.Record) and value.name == "dataclass"
    )


def is_plain(key: digest.Framed) -> bool:
    """Whether a key is found by all that equal it: not if it is a record, or not equal to itself."""
    if isinstance(key, tuple):
        return all(is_plain(item) for item in key)
    return isinstance(key, str | int | float | bytes | None) and key == key


def _said(found: "Tracked | _Absent", question: Question) -> digest.Framed:
    if isinstance(found, _Absent):
        return ["absent", found.beside]
    match question:
        case Question.GET:
            return ["container", _kind(found)] if is_container(found) else ["leaf", ordered(found)]
        case Question.HAS:
            return ["there"]
        case Question.LENGTH:
            return ["length", _length(found)]
        case Question.EMPTY:
            return ["empty", _length(found) == 0]
        case Question.NAMES:
            return ["names", _listed(found)]
        case Question.WHOLE:
            return ["whole", ordered(found)]


def _kind(container: Tracked) -> digest.Framed:
    match container:
        case digest.Record():
            return ["dataclass", cast("Sequence[digest.Framed]", container.value)[0]]
        case File() | Folder():
            return type(container).__name__.lower()
        case _:
            return "dict" if isinstance(container, Mapping) else type(container).__name__


def _length(found: Tracked) -> int | None:
    return len(cast("Sequence[object]", found)) if isinstance(found, Mapping | list | tuple) else None


def _listed(found: Tracked) -> digest.Framed:
    if isinstance(found, Folder):
        return [[name, isinstance(item, Folder)] for name, item in sorted(found.members.items())]
    return _names(found) if isinstance(found, Mapping) else None


def _names(found: "Mapping[digest.Framed, digest.Framed] | Mapping[str, digest.Framed]") -> digest.Framed:
    return [ordered(key) for key in found]


def _fields(record: digest.Record) -> Mapping[str, digest.Framed]:
    return cast("tuple[object, Mapping[str, digest.Framed]]", record.value)[1]


def ordered(value: Tracked) -> digest.Framed:
    """`value` with the order of its mappings, which no frame tells: who iterates sees it."""
    match value:
        case Mapping():
            return ["mapping", *([ordered(key), ordered(item)] for key, item in value.items())]
        case list():
            return ["list", *map(ordered, value)]
        case tuple():
            return ["tuple", *map(ordered, value)]
        case Folder(members, None):
            return ["folder", *([name, ordered(item)] for name, item in sorted(members.items()))]
        case Folder(_, root):
            return ["tree", root]
        case File(size_bytes, content):
            return ["file", size_bytes, content]
        case digest.Record(name, inner):
            return ["record", name, ordered(inner)]
        case AbstractSet():
            return ["set", value]
        case _:
            return value


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────


def bounded(
    observations: Sequence[Observation], ask: Ask, most: int = MOST_OBSERVATIONS
) -> tuple[Observation, ...]:
    """At most so many observations that say no less: what was asked most about counts as asked for whole.

    What is said of something within what was asked for whole is left out: it follows.
    """
    kept = _without_what_follows(observations)
    while len(kept) > most:
        argument, path = _asked_most(kept)
        inside = [n for n, seen in enumerate(kept) if _is_within(seen, argument, path)]
        if len(inside) == 1:
            break  # a single question of each argument
        whole = Observation(argument, path, Question.WHOLE, ask(argument, path, Question.WHOLE))
        kept = _without_what_follows([*kept[: inside[0]], whole, *kept[inside[0] :]])
    return tuple(kept)


def _asked_most(observations: Sequence[Observation]) -> tuple[str, Path]:
    """What holds the most of what was asked about, and at least two of it, as near to it as can be."""
    for up in range(1, max(len(seen.path) for seen in observations) + 1):
        below = Counter((seen.argument, seen.path[:-up]) for seen in observations)
        # Among equals the one that was asked about first: the same reads give the same trace.
        most, many = max(below.items(), key=lambda item: item[1])
        if many > 1:
            return most
    return observations[0].argument, ()


def _without_what_follows(observations: Iterable[Observation]) -> list[Observation]:
    # A path holds what can be a key, or the numbers of a slice: all of it can be looked up.
    once = list({(seen.argument, seen.path, seen.question): seen for seen in observations}.values())
    wholes = {(seen.argument, seen.path) for seen in once if seen.question is Question.WHOLE}

    def follows(seen: Observation) -> bool:
        inside = len(seen.path) if seen.question is Question.WHOLE else len(seen.path) + 1
        return any((seen.argument, seen.path[:depth]) in wholes for depth in range(inside))

    return [seen for seen in once if not follows(seen)] if wholes else once


def _is_within(seen: Observation, argument: str, path: Path) -> bool:
    return seen.argument == argument and seen.path[: len(path)] == path
