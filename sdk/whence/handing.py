"""Handing on: under which key what a room makes enters the cache, and what of that key is not true of the room.

A key says what a result depends on. Where the room is another in that, what is made there is recorded, and handed to
nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whence import counted, described, environment, programs
from whence_catalog import cache, model

_SHOWN_OTHERS = 3


@dataclass(frozen=True, slots=True)
class Keyed:
    """Under which key what is made enters the cache, and what the key was made from."""

    key: str
    components: tuple[model.Component, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The program that a command starts in a room, and whether that is one of the environment made there."""

    path: Path
    is_of_environment: bool


def untrue(
    keyed: Keyed,
    captured: model.Capture,
    recorded: environment.Environment,
    inside: environment.Environment,
    started: Started | None = None,
) -> Iterator[str]:
    """What the key says and the room is not: then nothing that is made there is handed out under it."""
    for part in keyed.components:
        if (part.kind, part.name) == ("extra", "reads"):
            yield "its reads are strict, and nobody watched what it read in the room"
        if part.kind == "envvar" and part.preview != "unset":
            yield f"the variable {part.name.partition('/')[2]} counts, and its value was not kept"
        name = part.name.partition("/")[2]
        if captured.command and part.kind == "extra" and name in counted.UNKEPT:
            yield f"{counted.UNKEPT[name]} count, and were not kept"
    if started is not None and _is_another(keyed, started, recorded):
        yield f"it started {started.path}, which is not the program that its key names"
    there = {each.name: each for each in inside.distributions}
    others = [
        f"{each.name} {there[each.name].told if each.name in there else 'nothing'} in place of {each.told}"
        for each in recorded.distributions
        if not each.editable and each.name != "whence" and there.get(each.name) != each
    ]
    if others:
        more = f" and {len(others) - _SHOWN_OTHERS} more" if len(others) > _SHOWN_OTHERS else ""
        yield f"it ran with other packages than were recorded: {', '.join(others[:_SHOWN_OTHERS])}{more}"


def _is_another(keyed: Keyed, started: Started, recorded: environment.Environment) -> bool:
    """Whether the key names another program; one that is installed with the packages is, if they are, the same."""
    parts = {part.name: part.digest for part in keyed.components}
    if (named := parts.get("extra/program")) is None:
        return False  # it is of the source
    if started.is_of_environment:
        place = environment.key_environment(recorded, "packages")
        if recorded.image is not None:
            place["image"] = described.Image(recorded.image).digest or recorded.image
        return parts.get("environment") != cache.component("environment", dict(place)).digest
    identity = programs.Program(started.path, None).identity
    return named != cache.component("extra", identity, "extra/program").digest


def is_other_code(keyed: Keyed, told: Path) -> bool:
    """Whether the code in the room is not what the key says, or cannot be told; a stated version is believed."""
    for part in keyed.components:
        if part.kind == "code" and not described.is_stated(part):
            return not told.exists() or told.read_bytes() != part.digest
    return False
