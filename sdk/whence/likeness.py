"""Reads what lies in two outputs whose bytes differ, so that it can be said what differs and by how much.

A table as a table, an array as an array, JSON as values, text as lines, a tree file by file; anything else is bytes.
Whatever has no size limit is read a piece at a time (`tables`). Nothing is unpickled: what is a pickle is told apart
by its bytes alone. What is made of it all is decided elsewhere (`whence_catalog.likeness`).
"""

import difflib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from whence import tables
from whence_catalog import digest, manifest, model
from whence_catalog import likeness as rules
from whence_catalog.errors import WhenceError
from whence_catalog.likeness import Reading, Tolerance, Unread

if TYPE_CHECKING:
    from whence.client import Client

_Read: TypeAlias = Reading | Unread

# Values are read whole, and lines put beside lines, only up to here.
_MOST_VALUES_BYTES = 64 << 20
_MOST_TEXT_BYTES = 1 << 20
_MOST_LINES = 5_000
# Of a tree, so many files are read.
_MOST_FILES = 200
_SHOWN_LINES = 20
_WIDEST = 160
_CHUNK_BYTES = 1 << 20

_BY_FORMAT = {
    "pandas": "parquet",
    "polars": "parquet",
    "arrow": "parquet",
    "npy": "npy",
    "json": "json",
    "frame": "frame",
    "pickle": "pickle",
}
_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npy": "npy",
    ".npz": "npz",
    ".json": "json",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "pickle",
}
_AS = {"npy": "an array", "npz": "an array", "json": "a value", "frame": "a value"}
_TABLE = "a table"


def readings(
    client: "Client",
    original: Sequence[model.Output],
    again: Sequence[model.OutputClaim],
    tolerance: Tolerance,
) -> dict[str, _Read]:
    """What lies in those outputs of both that are not the same bytes, by role."""
    found: dict[str, _Read] = {}
    for output, claim in rules.unequal(original, again):
        before, after = output.version.content, claim.content
        try:
            if before.form is model.Form.TREE:
                found[output.role] = _trees(client, before.digest, after.digest, tolerance)
            else:
                name = claim.filename or output.filename or "content"
                form = claim.format if claim.format == output.format else None
                found[output.role] = _blobs(client, before.digest, after.digest, name, form, tolerance)
        except WhenceError as error:
            found[output.role] = Unread(f"it could not be read: {error}")
    return found


def _blobs(
    client: "Client",
    before: digest.Digest,
    after: digest.Digest,
    name: str,
    form: str | None,
    tolerance: Tolerance,
) -> _Read:
    old, new = (client.blobs.materialise_file(named, name) for named in (before, after))
    return files(old, new, form, tolerance)


def files(before: Path, after: Path, form: str | None, tolerance: Tolerance) -> _Read:
    """What lies in two files, whose format is `form` where that is known, and otherwise as their suffix says."""
    kind = _BY_FORMAT.get(form or "") or _BY_SUFFIX.get(after.suffix.lower(), "text")
    try:
        match kind:
            case "csv":
                return tables.csv_files(before, after, tolerance)
            case "tsv":
                return tables.csv_files(before, after, tolerance, "\t")
            case "parquet" | "arrow":
                return tables.arrow_files(before, after, tolerance, kind)
            case "npy":
                return tables.npy_files(before, after, tolerance)
            case "npz":
                return tables.npz_files(before, after, tolerance)
            case "json" | "frame":
                return _values(before, after, kind, tolerance)
            case "pickle":
                return Unread(f"{_bytes(before, after)}; a pickle is not opened, since that runs code")
            case _:
                return _text(before, after)
    except tables.Lacking as lacking:
        return Unread(
            f"not comparable as {_AS.get(kind, _TABLE)}: {lacking} is not here; {_bytes(before, after)}"
        )
    except tables.Unreadable as error:
        return Unread(f"not comparable as {_AS.get(kind, _TABLE)}: {error}; {_bytes(before, after)}")


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def _values(before: Path, after: Path, kind: str, tolerance: Tolerance) -> _Read:
    if max(before.stat().st_size, after.stat().st_size) > _MOST_VALUES_BYTES:
        raise tables.Unreadable(f"it is larger than {_MOST_VALUES_BYTES >> 20} MiB")
    try:
        old, new = (_decoded(path, kind) for path in (before, after))
        found = list(_differences("", old, new, tolerance))
    except (ValueError, RecursionError, WhenceError) as error:
        raise tables.Unreadable(str(error)) from error
    near = [line for line, verdict in found if verdict < 0]
    far = [line for line, verdict in found if verdict > 0]
    return Reading("value", tables.few(near), tables.few(far))


def _decoded(path: Path, kind: str) -> object:
    if kind == "json":
        return json.loads(path.read_text("utf-8"), object_pairs_hook=_once)
    return digest.unframe(path.read_bytes())


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _differences(where: str, was: object, now: object, tolerance: Tolerance) -> Iterator[tuple[str, int]]:
    """A line for each leaf that differs, and whether within the tolerance (-1) or by more (1)."""
    named = where or "the value"
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in was:
            at = f"{where}.{key}".lstrip(".")
            if key in now:
                yield from _differences(at, was[key], now[key], tolerance)
            else:
                yield f"{at} is not there any more", 1
        yield from ((f"{where}.{key}".lstrip(".") + " is new", 1) for key in now if key not in was)
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple) and type(was) is type(now):
        for place, (one, other) in enumerate(zip(was, now, strict=False)):
            yield from _differences(f"{where}[{place}]", one, other, tolerance)
        if len(was) != len(now):
            in_order = " (a list)" if isinstance(was, list) else ""
            yield f"{named}{in_order} had {len(was):,} items and has {len(now):,}", 1
    elif isinstance(was, digest.Record) and isinstance(now, digest.Record) and was.name == now.name:
        yield from _differences(where, was.value, now.value, tolerance)
    else:
        verdict, _ = tables.compare_values(was, now, tolerance)
        if verdict:
            yield f"{named} was {_shown(was)} and is {_shown(now)}", verdict


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


# ── text, bytes ──────────────────────────────────────────────────────────────────────────────────


def _text(before: Path, after: Path) -> _Read:
    if max(before.stat().st_size, after.stat().st_size) > _MOST_TEXT_BYTES:
        return Unread(_bytes(before, after))
    try:
        old, new = (path.read_bytes().decode("utf-8") for path in (before, after))
    except UnicodeDecodeError:
        return Unread(_bytes(before, after))
    if "\0" in old or "\0" in new:
        return Unread(_bytes(before, after))
    lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if max(map(len, lines)) > _MOST_LINES:
        place = next(
            (n for n, (a, b) in enumerate(zip(*lines, strict=False)) if a != b), min(map(len, lines))
        )
        return Reading("text", far=(f"its lines differ from line {place + 1:,} on",))
    diff = list(difflib.unified_diff(*lines, "before", "after", n=1))[2:]
    shown = [_line(line) for line in diff[:_SHOWN_LINES]]
    more = [f"and {len(diff) - _SHOWN_LINES:,} more lines"] if len(diff) > _SHOWN_LINES else []
    changed = sum(line[0] in "+-" for line in diff)
    return Reading("text", far=("\n".join([f"{changed:,} lines differ:", *shown, *more]),))


def _line(line: str) -> str:
    """A line of a diff, with what could not be seen at its end, and without what a terminal would obey."""
    text = line.rstrip("\n")
    if not line.endswith("\n"):
        text += " (without an end of line)"
    text = "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _bytes(before: Path, after: Path) -> str:
    """Where the bytes of two files begin to differ."""
    sizes = before.stat().st_size, after.stat().st_size
    grown = f"{sizes[0]:,} bytes" if sizes[0] == sizes[1] else f"{sizes[0]:,} bytes became {sizes[1]:,}"
    at = 0
    with before.open("rb") as old, after.open("rb") as new:
        while True:
            one, other = old.read(_CHUNK_BYTES), new.read(_CHUNK_BYTES)
            if one != other or not one:
                break
            at += len(one)
    place = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return f"{grown}, which differ from byte {at + place:,} on"


# ── trees ────────────────────────────────────────────────────────────────────────────────────────


def _trees(client: "Client", before: digest.Digest, after: digest.Digest, tolerance: Tolerance) -> _Read:
    old, new = (
        {entry.path: entry for entry in manifest.read(root, client.blobs.read_bytes)}
        for root in (before, after)
    )
    gone, fresh = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    changed = sorted(path for path in old.keys() & new.keys() if old[path] != new[path])
    near: list[str] = []
    far = [f"{path}: only the original has it" for path in gone]
    far += [f"{path}: only the rerun has it" for path in fresh]
    for path, read in itertools.chain(
        ((path, _entries(client, old[path], new[path], tolerance)) for path in changed[:_MOST_FILES]),
        ((path, Unread("other bytes")) for path in changed[_MOST_FILES:]),
    ):
        match read:
            case Unread(why):
                far.append(f"{path}: {why}")
            case Reading(kind, within, by_more):
                far += [f"{path}: {line}" for line in by_more]
                if not by_more:
                    same = (f"the {kind} holds the same values, written otherwise",)
                    near += [f"{path}: {line}" for line in within or same]
    if far:
        far.sort()
        first = min([*gone, *fresh, *(line.partition(": ")[0] for line in far)])
        count = len({*gone, *fresh, *changed})
        far.insert(0, f"{count:,} of {len(old.keys() | new.keys()):,} files differ, the first is {first}")
    return Reading("tree", tables.few(near), tables.few(far))


def _entries(client: "Client", before: manifest.Entry, after: manifest.Entry, tolerance: Tolerance) -> _Read:
    if before.digest is None or after.digest is None or before.digest == after.digest:
        return Unread("it is another kind of file")
    name = after.path.rpartition("/")[2]
    return _blobs(client, before.digest, after.digest, name, None, tolerance)
