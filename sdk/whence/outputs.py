"""What a step returns: taken apart into outputs, and put together again for whoever gets them reused.

A handle is an output. So is each member of a tuple, list, dict or dataclass that holds a handle, a path,
bytes, a table or an array. Any other value is one output, kept as JSON or frames. None is no output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from whence import handles, parameters, values
from whence_catalog import digest, model

if TYPE_CHECKING:
    from whence.client import Client

ROLE = "return"
# What an output's metadata says about how it was returned.
SHAPE = "whence.shape"
PLAIN = "whence.plain"


@dataclass(frozen=True, slots=True)
class Parts:
    """A returned value apart: `members` by role, and the `shape` that they had (None: there was just one)."""

    members: Mapping[str, object]
    shape: digest.Framed
    job: str


def take_apart(made: object, job: str, root: Path) -> Parts:
    """The outputs in what a step of `job` returned."""
    if made is None:
        return Parts({}, None, job)
    if isinstance(made, handles.Handle) or values.is_own_output(made):
        return Parts({ROLE: made}, None, job)
    members, shape = _members(made, root)
    # A dataclass has no plain form, so it comes apart whatever it holds.
    if members and (
        is_dataclass(made)
        or any(isinstance(m, handles.Handle) or values.is_own_output(m) for m in members.values())
    ):
        return Parts({f"{ROLE}.{name}": member for name, member in members.items()}, shape, job)
    return Parts({ROLE: made}, None, job)


def _members(made: object, root: Path) -> tuple[Mapping[str, object], digest.Framed]:
    if type(made) in (tuple, list):
        numbered = enumerate(cast("Sequence[object]", made))
        return {str(place): item for place, item in numbered}, [type(made).__name__]
    if type(made) is dict and all(type(key) is str for key in made):
        return cast("dict[str, object]", made), ["dict"]
    if is_dataclass(made) and not isinstance(made, type):
        named = parameters.fields_of(made, "the returned value")
        return named, ["dataclass", *parameters.Canonical(root).class_name(type(made), "the returned value")]
    return {}, None


def store(
    parts: Parts, client: "Client", folder: Path, run: UUID | None = None, project: str | None = None
) -> tuple[model.OutputClaim, ...]:
    """Put every member's bytes into the store; answers the claims that the report of `run` makes."""
    claims = []
    for place, (role, member) in enumerate(parts.members.items()):
        own = folder / str(place)
        own.mkdir()
        says: dict[str, digest.Framed] = {} if parts.shape is None else {SHAPE: parts.shape}
        if not isinstance(member, handles.Handle):
            staged = values.stage(member, own)
            name = parts.job + (role.removeprefix(ROLE) if _is_returned(role) else f".{role}")
            member = handles.draft(values.kind_of(staged), name, staged)
            says[PLAIN] = True
        claim = client.store(member, role=role, folder=own, project=project, run=run)
        claims.append(replace(claim, metadata={**claim.metadata, **says}))
    return tuple(claims)


def _is_returned(role: str) -> bool:
    return role == ROLE or role.startswith(f"{ROLE}.")


def handed_back(parts: Parts, recorded: Sequence[model.Output], client: "Client", root: Path) -> object:
    """What the caller of an executed step gets: handles bound, paths read-only, other values as they were."""
    by_role = {output.role: output for output in recorded}
    members: dict[str, object] = {}
    for role, member in parts.members.items():
        handle = handles.bound(by_role[role], client)
        if isinstance(member, handles.Handle):
            members[role] = handle
        elif isinstance(member, values.Pickled):
            members[role] = member.value
        else:
            members[role] = handle.path if by_role[role].format == "path" else member
    return _together(members, parts.shape, root)


def rebuild(recorded: Sequence[model.Output], client: "Client", root: Path) -> object:
    """What the caller of a reused step gets: equal to what the origin's caller got."""
    returned = [o for o in recorded if _is_returned(o.role)]
    members: dict[str, object] = {}
    for output in returned:
        handle = handles.bound(output, client)
        unpickle = output.format == "pickle"  # the step that returned it asked for that
        members[output.role] = handle.load(unpickle=unpickle) if PLAIN in output.metadata else handle
    return _together(members, returned[0].metadata.get(SHAPE) if returned else None, root)


def _together(members: Mapping[str, object], shape: digest.Framed, root: Path) -> object:
    if shape is None:
        return next(iter(members.values()), None)
    named = {role.removeprefix(f"{ROLE}."): member for role, member in members.items()}
    match cast("list[str]", shape):
        case ["tuple"]:
            return tuple(named.values())
        case ["list"]:
            return list(named.values())
        case ["dataclass", module, qualname]:
            made: object = object.__new__(parameters.restore_class([module, qualname], root))
            for name, member in named.items():
                object.__setattr__(made, name, member)
            return made
        case _:
            return named
