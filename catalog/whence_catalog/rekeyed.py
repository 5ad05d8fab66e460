"""The key that a recorded Run would have, when something that it depends on is no longer as it was.

Leaves to others: what that something is, and whether the new key has an entry (`planning`).
"""

from collections.abc import Iterable, Mapping, Sequence

from whence_catalog import cache, digest, model
from whence_catalog.plans import NewCode, Taken

_INPUTS = "inputs/"
_SHOWN_CHARACTERS = 100


def components(
    recorded: Sequence[model.Component],
    takes: Sequence[Taken],
    changed: Iterable[str],
    params: Mapping[str, digest.Framed],
    code: NewCode | None,
) -> tuple[model.Component, ...] | None:
    """The components that a key has when these inputs, parameters and code stand in the place of the recorded.

    None where what stands there says nothing of how another would: a tracked argument is in it as it was read. And
    where the code has no key.

    Args:
        takes: all that it takes; of the roles in `changed`, which are as `inputs/role`, the parts are made anew.
    """
    changed = tuple(changed)
    if code is not None and code.uncacheable:
        return None
    if any(part.kind == "reads" for part in recorded):
        return None if changed or params or code else tuple(recorded)
    ignored = {part.name: part.ignored for part in recorded}
    new: dict[str, model.Component] = {}
    for name in changed:
        if name.startswith(_INPUTS):
            new[name] = _inputs(name, takes, ignored.get(name, False))
    for parameter, value in params.items():
        name = f"params/{parameter}"
        new[name] = cache.component("params", value, name, _shown(value), ignored.get(name, False))
    if not new.keys() <= ignored.keys():
        # It has no such part: whatever that is, it is in the key in another way.
        return None
    new |= {part.name: part for part in (code.components if code is not None else ())}
    gone = frozenset(code.without) if code is not None else frozenset[str]()
    kept = tuple(new.pop(part.name, part) for part in recorded if part.name not in gone)
    return kept + tuple(new.values())


def _inputs(name: str, takes: Sequence[Taken], is_ignored: bool) -> model.Component:
    role = name.removeprefix(_INPUTS)
    members = sorted((take for take in takes if take.role == role), key=lambda take: take.ordinal)
    there = [(take.artifact, take.content) for take in members if take.content is not None]
    ordered: list[digest.Framed] = [[content.strength.value, content.digest.raw] for _, content in there]
    shown = ", ".join(f"{artifact} {content.digest.short}" for artifact, content in there)
    return cache.component("inputs", ordered, name, shown, is_ignored)


def _shown(value: digest.Framed) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
