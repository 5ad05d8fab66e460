"""What `whence outbox` shows: the records that wait, those that were refused, and what a delivery did."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from rich.console import Console
from rich.markup import escape

from whence import client
from whence.cli import printing
from whence.outbox import Entry, Name, Outbox
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, WhenceError

_out = Console(emoji=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A record at a glance. `state`: `waiting` to be delivered, or `refused`; `why` it is, where that is known."""

    uid: UUID
    verb: str
    run: UUID
    kept_at: datetime
    state: str
    is_copied: bool
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in an outbox, oldest first."""

    catalog: str
    folder: str
    records: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush did: how many copies it collected, what it delivered, and what is left."""

    collected: int
    delivered: int
    left: tuple[Row, ...]


def listing(opened: client.Client) -> Listing:
    """What is in the outbox of a catalog."""
    box = opened.writer.box
    return Listing(box.url, str(box.folder), tuple(_row(entry) for entry in box.entries()))


def flush(opened: client.Client, again: bool) -> Flushed:
    """Deliver what waits, here and in the Blob store; `again`: what was refused, too.

    Raises:
        Unreachable, NotReady: not all could be tried.
    """
    flushed, outcome = opened.writer.flush(again)
    if outcome.stopped is not None:
        raise outcome.stopped
    why = outcome.waiting | outcome.refused
    rows = tuple(_row(entry, why.get(entry.name)) for entry in opened.writer.box.entries())
    return Flushed(flushed, outcome.delivered, rows)


def _row(entry: Entry, why: WhenceError | None = None) -> Row:
    name, why = entry.name, entry.refused or why
    state = "waiting" if entry.refused is None else "refused"
    shown = None if why is None else str(why)
    return Row(name.uid, name.verb, name.run, name.kept_at, state, name.is_spilled, shown)


def pages(box: Outbox, what: str) -> list[object]:
    """The records in full of that id, or of that Run; a prefix of eight or more characters will do.

    Raises:
        NotFound: there is none.
        InvalidInput: it is too short.
    """
    if len(what) < 8:
        raise InvalidInput(
            f"{what!r} is too short: give eight or more characters of a record's or a run's id"
        )
    names = [entry.name for entry in box.entries() if _is_named(entry.name, what)]
    if not names:
        raise NotFound(f"no record {what} is in the outbox {box.folder}", ErrorKind.NO_SUCH_FILE)
    return [_page(box, name) for name in names]


def _is_named(name: Name, what: str) -> bool:
    return str(name.uid).startswith(what) or str(name.run).startswith(what)


def _page(box: Outbox, name: Name) -> object:
    try:
        lines = [json.loads(line) for line in box.text(name)]
    except (WhenceError, ValueError) as error:
        return {"run": str(name.run), "verb": name.verb, "damaged": str(error)}
    what, call = lines[:2]
    return {**cast("dict[str, object]", what), "call": call, **(lines[2] if len(lines) > 2 else {})}


def show_pages(found: Sequence[object]) -> None:
    """Print records in full."""
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def show_listing(listed: Listing) -> None:
    """Print what is in an outbox."""
    _out.print(f"outbox of {escape(listed.catalog)} in {escape(listed.folder)}")
    _show_rows(listed.records)


def show_flushed(done: Flushed) -> None:
    """Print what a flush did."""
    collected = f", {done.collected} of them collected from the Blob store" if done.collected else ""
    _out.print(f"delivered {done.delivered}{collected}; {len(done.left) or 'nothing'} left")
    _show_rows(done.left)


def _show_rows(rows: Sequence[Row]) -> None:
    if not rows:
        return
    for row in rows:
        state = row.state + (", copied" if row.is_copied else "")
        _out.print(f"{printing.time(row.kept_at)}  {row.run}  {row.verb:<11}  {state}")
        if row.why:
            _out.print(f"    {escape(row.why)}", style="dim")
