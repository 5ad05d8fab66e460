"""Why a Run, a key or a call that was not made yet is what it is, with what changed in the source as a diff.

The catalog compares keys, and knows code by its symbols; the source lies in the Blob store, where only a client
can read it. Leaves to others: how a call is described (`described`), and what of code counts (`fingerprint`).
"""

import dataclasses
import difflib
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec
from uuid import UUID

from whence import calls, described, handles
from whence_catalog import cache, digest, manifest, model, traces
from whence_catalog.errors import WhenceError

if TYPE_CHECKING:
    from whence.client import Client

P = ParamSpec("P")
_KEY = "wk1:"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file of source beside what it was, as a unified diff; `symbols` are those of the key that stand in it."""

    path: str
    symbols: tuple[str, ...]
    diff: str


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What changed in the code of a key: the symbols, and the files that hold them.

    `others` are files that changed too, and hold none of them. `notes` say what of it could not be shown.
    """

    symbols: tuple[str, ...]
    files: tuple[FileChange, ...]
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """Why something has its key; `source` is what changed in its code, None where that is the same."""

    explanation: cache.Explanation
    source: SourceChange | None


def explain(client: "Client", what: str, against: str | None = None) -> Why:
    """Why a Run, by its id, or a key (`wk1:…`, or the first digits of it) is what it is.

    Args:
        against: a Run to put beside it, instead of the nearest earlier one of its job.

    Raises:
        NotFound, InvalidInput: as `Catalog.run` and `Catalog.cache_key`.
    """
    by_key = what.startswith(_KEY)
    catalog = client.catalog
    found = catalog.explain_key(what, None, against) if by_key else catalog.explain(what, against)
    return Why(found, _source(client, found, None if found.run is None else _bundle(client, found.run)))


def explain_call(client: "Client", step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Why:
    """What a step would be answered if it was called so now, and why. Nothing is recorded, and nothing executed.

    Raises:
        InvalidInput: it is no step, or cannot be called so.
    """
    asked = described.call_of(step, *args, **kwargs)
    call = _traced(client, described.describe(client, asked, _unrecorded(client)))
    found = calls.one(client.catalog.explain_calls([call]))
    return Why(found, _source(client, found, call.capture.bundle))


def _traced(client: "Client", description: described.Described) -> model.Call:
    """The call as a step asks it: by the trace that matches, where one does.

    Else by the whole of what is tracked, explained by what the last trace asked, with the present answers.
    """
    whole = description.call
    if whole.base is None or whole.mode is not model.Mode.REUSE:
        return whole
    (known,) = client.catalog.traces(client.project, [whole.base])
    if not known:
        return whole
    call = described.by_what_was_read(whole, description.tracked, known)
    now = traces.asked_again(known[0], traces.asking(description.tracked))
    if call is not whole:
        now = next(trace for trace in known if trace.key == call.key)
    parts = cache.shown(cache.traced(whole.components, now), now)
    return dataclasses.replace(call, components=parts)


def _unrecorded(client: "Client") -> Callable[[handles.Handle], handles.Handle]:
    """A draft among the arguments has the identity that it would have, and stays a draft to everybody else."""

    def record(draft: handles.Handle) -> handles.Handle:
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            claim = client.store(draft, role="output", folder=Path(folder))
        version = model.Version(claim.artifact, 0, claim.content, datetime.now(UTC))
        return handles.bound(model.Output("output", version, uuid.UUID(int=0)), client)

    return record


# ── source ───────────────────────────────────────────────────────────────────────────────────────


def _bundle(client: "Client", run: UUID) -> digest.Digest | None:
    found = client.catalog.run(str(run)).run
    if found.origin is not None:
        found = client.catalog.run(str(found.origin)).run
    return found.capture.bundle


def _source(client: "Client", found: cache.Explanation, after: digest.Digest | None) -> SourceChange | None:
    code = next((verdict for verdict in found.changes if verdict.name == "code"), None)
    if code is None or found.against is None:
        return None
    symbols = _differing(_symbols(code.before), _symbols(code.after))
    notes: list[str] = []
    old = _files(client, _bundle(client, found.against), f"run {found.against}", notes)
    new = _files(client, after, "this call" if found.run is None else f"run {found.run}", notes)
    if old is None or new is None:
        return SourceChange(symbols, (), (), tuple(notes))
    changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    held = {path: tuple(name for name in symbols if _holds(path, name)) for path in changed}
    files = []
    for path in changed:
        if not held[path]:
            continue
        diff = _diff(client, path, old.get(path), new.get(path), notes)
        if diff is not None:
            files.append(FileChange(path, held[path], diff))
    placed = {name for names in held.values() for name in names}
    if strays := [name for name in symbols if name not in placed]:
        notes.append(f"no file of the project that changed holds {', '.join(strays)}")
    return SourceChange(symbols, tuple(files), tuple(p for p in changed if not held[p]), tuple(notes))


def between(client: "Client", before: digest.Digest, after: digest.Digest) -> SourceChange:
    """What changed in the source from one Bundle to another: every file that is not the same."""
    notes: list[str] = []
    old = _files(client, before, "the one", notes)
    new = _files(client, after, "the other", notes)
    if old is None or new is None:
        return SourceChange((), (), (), tuple(notes))
    files = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            diff = _diff(client, path, old.get(path), new.get(path), notes)
            if diff is not None:
                files.append(FileChange(path, (), diff))
    return SourceChange((), tuple(files), (), tuple(notes))


def _symbols(preview: str | None) -> dict[str, str]:
    """Symbol → digest, as a component of code shows them."""
    lines = (line.rpartition(" ") for line in (preview or "").splitlines())
    return {name: named for name, _, named in lines}


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    names = dict.fromkeys([*before, *after])
    return tuple(name for name in names if before.get(name) != after.get(name))


def _files(
    client: "Client", bundle: digest.Digest | None, whose: str, notes: list[str]
) -> dict[str, digest.Digest] | None:
    """The files of a Bundle by their path; None where there are none any more."""
    if bundle is None:
        notes.append(f"the source of {whose} was not kept")
        return None
    try:
        entries = list(manifest.read(bundle, client.blobs.read_bytes))
    except WhenceError as error:
        notes.append(f"the source of {whose} is gone: {error}")
        return None
    return {entry.path: entry.digest for entry in entries if entry.digest is not None}


def _holds(path: str, symbol: str) -> bool:
    """Whether a symbol, `module:name`, is one of that file's."""
    module = symbol.partition(":")[0].replace(".", "/")
    stem = path.removesuffix(".py").removesuffix("/__init__")
    return module in (stem, path) or stem.endswith(f"/{module}")


def _diff(
    client: "Client", path: str, old: digest.Digest | None, new: digest.Digest | None, notes: list[str]
) -> str | None:
    try:
        before, after = (
            [] if named is None else client.blobs.read_bytes(named).decode().splitlines(keepends=True)
            for named in (old, new)
        )
    except (WhenceError, UnicodeDecodeError) as error:
        notes.append(f"{path} cannot be shown: {error}")
        return None
    return "".join(difflib.unified_diff(before, after, f"before/{path}", f"after/{path}"))
