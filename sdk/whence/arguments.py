"""Takes the arguments of a step's call apart: inputs by role, parameters, and files named by a path.

A handle, also in lists, tuples and dicts, is an input; elsewhere it is an error, since nobody would see it.
A path of something that exists names a file or a folder whose bytes count. Everything else is a parameter.
What has no identity is refused, by where it is.
"""

import collections
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import cast

from whence import handles, parameters, secrecy, tracked
from whence_catalog import blobs, cache, digest, model
from whence_catalog.errors import ErrorKind, InvalidInput, WhenceError

_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
_SEQUENCES = (list, tuple, collections.deque)
_MAPPINGS = (dict, types.MappingProxyType)
_ESCAPES = str.maketrans({"%": "%25", ".": "%2E", "[": "%5B"})

Record = Callable[[handles.Handle], handles.Handle]


@dataclass(slots=True)
class Arguments:
    """A call's arguments, apart; `values` are those that the function gets, with every draft recorded.

    `told` are parameters that hold what looks secret, as they may be recorded.
    """

    values: dict[str, object] = field(default_factory=dict)
    inputs: list[tuple[str, int, handles.Handle]] = field(default_factory=list)
    params: dict[str, digest.Framed] = field(default_factory=dict)
    told: dict[str, digest.Framed] = field(default_factory=dict)
    previews: dict[str, str] = field(default_factory=dict)
    files: dict[str, "NamedFile"] = field(default_factory=dict)
    declared: dict[str, "NamedFile"] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def claims(self) -> tuple[model.InputClaim, ...]:
        """The inputs, as a catalog is told of them."""
        return tuple(model.InputClaim(role, handle.source, ordinal) for role, ordinal, handle in self.inputs)

    def components(self, ignored: frozenset[str] = frozenset()) -> Iterator[model.Component]:
        """Their parts of a key, but for those of `hidden`.

        An argument in `ignored` has its parts there, without what it holds.
        """
        for name, value in self.params.items():
            if name in self.told and name not in ignored:
                continue
            yield cache.component(
                "params", value, f"params/{name}", self.previews[name], ignored=name in ignored
            )
        for role in dict.fromkeys(role for role, _, _ in self.inputs):
            members = [handle for known, _, handle in self.inputs if known == role]
            ordered: list[digest.Framed] = [
                [h.version.content.strength.value, h.version.digest.raw] for h in members
            ]
            shown = ", ".join(f"{h.ref} {h.version.digest.short}" for h in members)
            yield cache.component(
                "inputs", ordered, f"inputs/{role}", shown, ignored=argument_of(role) in ignored
            )
        for where, file in sorted(self.files.items()):
            shown = f"{file.path.name} {file.digest.short}"
            yield cache.component(
                "files", file.digest.raw, f"files/{where}", shown, ignored=argument_of(where) in ignored
            )
        for named, file in sorted(self.declared.items()):
            shown = f"{named} {file.digest.short}"
            yield cache.component("files", file.digest.raw, f"files/./{named}", preview=shown)

    @property
    def hidden(self) -> Mapping[str, bytes]:
        """What may enter a key only under a secret: the bytes of the parameters that hold what looks secret."""
        return {name: digest.frame(self.params[name]) for name in self.told}

    def changed(self) -> tuple[str, ...]:
        """What to say of the files that are not as they were when the call began."""
        return tuple(
            f"{where} ({file.path.name}) was changed while the step ran; nothing is reused from this run"
            for where, file in (*self.files.items(), *self.declared.items())
            if file.has_changed
        )


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file or folder that an argument names by its path, as it was when the call began."""

    path: Path
    digest: digest.Digest
    seen: handles.Signature

    @classmethod
    def at(cls, path: Path) -> "NamedFile":
        """What is there now.

        Raises:
            WhenceError: it cannot be read.
        """
        seen = handles.signature(path)
        return cls(path, _digest(path), seen)

    @property
    def has_changed(self) -> bool:
        """Whether its bytes are others now."""
        if handles.signature(self.path) == self.seen:
            return False
        try:
            return _digest(self.path) != self.digest
        except WhenceError:
            return True


def _digest(path: Path) -> digest.Digest:
    store = blobs.BlobStore
    return store.hash_tree(path).digest if path.is_dir() else store.hash_file(path).digest


def take_apart(
    given: Mapping[str, object], root: Path, record: Record, declared: Sequence[str] = ()
) -> Arguments:
    """The arguments apart, for the project at `root`; `record` makes a Version of a draft among them.

    Args:
        declared: files and folders whose bytes count besides, by their paths from `root`.

    Raises:
        InvalidInput: a handle is where it would be no input.
    """
    for name, value in given.items():
        _refuse_hidden_handles(name, value)
    found = Arguments()
    canonical = parameters.Canonical(root)
    for name, value in given.items():
        try:
            found.values[name], marked = _take(found, name, value, record)
        except RecursionError:
            found.values[name] = marked = value  # refused below, by name
        if isinstance(found.values[name], handles.Handle):
            continue
        found.previews[name] = parameters.preview(value)
        try:
            found.params[name] = canonical.of(marked, name)
        except InvalidInput as error:
            found.refused.append(str(error))
            continue
        told = secrecy.without(found.params[name], name, secrecy.known())
        if told is not found.params[name]:
            found.told[name], found.previews[name] = told, "holds what looks secret"
    for where, path in canonical.files.items():
        try:
            found.files[where] = NamedFile.at(path)
        except (WhenceError, OSError) as error:
            found.refused.append(f"{where} names what cannot be identified: {error}")
    for named in dict.fromkeys(declared):
        try:
            found.declared[Path(named).as_posix()] = NamedFile.at(root / named)
        except (WhenceError, OSError) as error:
            found.refused.append(f"the file {named} cannot be identified: {error}")
    return found


def _take(found: Arguments, role: str, value: object, record: Record) -> tuple[object, object]:
    """(`value` with every handle in it recorded, `value` with their roles in their places).

    Two places of one mapping never share a role; members of a list do, and rise in `ordinal`.
    """
    if isinstance(value, tracked.View):
        value = tracked.whole(value)
    if isinstance(value, handles.Handle):
        handle = record(value) if value.is_draft else value
        ordinal = sum(1 for known, _, _ in found.inputs if known == role)
        found.inputs.append((role, ordinal, handle))
        return handle, digest.Record("whence.input", role)
    if type(value) in (list, tuple):
        kind = cast("Callable[[list[object]], object]", type(value))
        items = cast("list[object]", value)
        pairs = [_take(found, role, item, record) for item in items]
        taken = [item for item, _ in pairs]
        return (value if _same(taken, items) else kind(taken)), kind([marked for _, marked in pairs])
    if type(value) is dict:
        roles = {key: _role(role, key) for key in value}
        inputs = len(found.inputs)
        named = {key: _take(found, roles[key], item, record) for key, item in value.items()}
        if len(found.inputs) > inputs and len(set(roles.values())) < len(roles):
            # Keys of classes whose `repr` does not tell them apart.
            raise InvalidInput(
                f"two keys of {role} are written the same; use text as keys", ErrorKind.UNSUPPORTED_VALUE
            )
        given = {key: item for key, (item, _) in named.items()}
        return (
            value if _same(given.values(), value.values()) else given,
            {key: marked for key, (_, marked) in named.items()},
        )
    return value, value


def argument_of(role: str) -> str:
    """The name of the argument that a role, or the place of a path, is in."""
    return re.split(r"[.\[]", role, maxsplit=1)[0]


def _role(role: str, key: object) -> str:
    """The role of a mapping's member: `role.key`, or `role[key]` for a key that is not text."""
    if type(key) is str:
        return f"{role}.{key.translate(_ESCAPES)}"
    try:
        return f"{role}[{key!r}]"
    except Exception:  # refused as a parameter, by what it is
        return f"{role}[{id(key)}]"


def _refuse_hidden_handles(name: str, argument: object) -> None:
    """Nothing, unless a handle is held by a set, a dataclass, a key, or a subclass of list, tuple or dict."""
    todo: list[tuple[object, str, bool]] = [(argument, name, True)]
    seen: dict[tuple[int, bool], object] = {}  # kept, since an address is used again
    while todo:
        value, where, may_be_handle = todo.pop()
        if isinstance(value, handles.Handle):
            if may_be_handle:
                continue
            raise InvalidInput(
                f"{where} is a handle, and would be no input there; hand it in directly, or in a list, tuple"
                " or dict",
                ErrorKind.UNSUPPORTED_VALUE,
            )
        if (id(value), may_be_handle) in seen:
            continue
        seen[id(value), may_be_handle] = value
        may = may_be_handle and type(value) in (list, tuple, dict)
        todo += [(item, at, may) for item, at in _members(value, where)]
        if isinstance(value, _MAPPINGS):
            todo += [(key, f"a key of {where}", False) for key in value if type(key) not in _SCALARS]


def _members(value: object, where: str) -> Iterator[tuple[object, str]]:
    """What a value holds, but for scalars, and where that is."""
    if isinstance(value, _MAPPINGS):
        for key, item in value.items():
            if type(item) not in _SCALARS:
                yield item, f"{where}[{parameters.preview(key)}]"
    elif isinstance(value, _SEQUENCES):
        for place, item in enumerate(value):
            if type(item) not in _SCALARS:
                yield item, f"{where}[{place}]"
    elif isinstance(value, set | frozenset):
        yield from ((item, f"a member of {where}") for item in value if type(item) not in _SCALARS)
    if parameters.is_model(type(value)):
        yield from ((item, f"{where}.{name}") for name, item in parameters.held_by_model(value).items())
    elif is_dataclass(value) and not isinstance(value, type):
        held = {item.name: getattr(value, item.name, None) for item in fields(value)}
        for name, item in {**held, **getattr(value, "__dict__", {})}.items():
            yield item, f"{where}.{name}"


def _same(one: Iterable[object], other: Iterable[object]) -> bool:
    """Whether nothing was replaced: then the function gets its caller's own list, which it may change."""
    return all(a is b for a, b in zip(one, other, strict=True))
