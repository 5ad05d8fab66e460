"""Handing on: under which key what a room makes enters the cache, and what of that key is not true of the room.

A key says what a result depends on. Where the room is another in that, what is made there is recorded, and handed to
nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whence import counted, described, environment
from whence_catalog import model

_SHOWN_OTHERS = 3


@dataclass(frozen=True, slots=True)
class Keyed:
    """Under which key what is made enters the cache, and what the key was made from."""

    key: str
    components: tuple[model.Component, ...]


def untrue(
    keyed: Keyed,
    captured: model.Capture,
    recorded: environment.Environment,
    inside: environment.Environment,
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
    there = {each.name: each for each in inside.distributions}
    others = [
        f"{each.name} {there[each.name].told if each.name in there else 'nothing'} in place of {each.told}"
        for each in recorded.distributions
        if not each.editable and each.name != "whence" and there.get(each.name) != each
    ]
    if others:
        more = f" and {len(others) - _SHOWN_OTHERS} more" if len(others) > _SHOWN_OTHERS else ""
        yield f"it ran with other packages than were recorded: {', '.join(others[:_SHOWN_OTHERS])}{more}"


def is_other_code(keyed: Keyed, told: Path) -> bool:
    """Whether the code in the room is not what the key says, or cannot be told; a stated version is believed."""
    for part in keyed.components:
        if part.kind == "code" and not described.is_stated(part):
            return not told.exists() or told.read_bytes() != part.digest
    return False
