"""Delivers what is in an outbox: in the order it was said, each thing once in effect.

A start and a finish that are both still here are one whole Run. What the catalog refuses is set aside, and
stops nothing but what depends on it, which the catalog refuses for itself. What names a Run or a Version that is not
recorded waits for a day, since that may lie in another outbox: of another machine, or in the Blob store.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TypeAlias, cast
from uuid import UUID, uuid5

from whence.outbox import Name, Outbox, Record
from whence_catalog import catalog, model
from whence_catalog.errors import Conflict, Damaged, ErrorKind, NotFound, NotReady, Unreachable, WhenceError

WAITS = timedelta(days=1)
_AT_ONCE = 50
# Nothing is wrong with what was said: the same will do once this is mended.
_STOPPING = frozenset({ErrorKind.UNAUTHENTICATED, ErrorKind.TOO_MANY})


@dataclass(slots=True)
class Outcome:
    """What a delivery did: how many records are delivered; which are refused or wait, and why.

    `stopped` is why it ended before all were tried; `is_busy`: another process is delivering them.
    """

    delivered: int = 0
    refused: dict[Name, WhenceError] = field(default_factory=dict)
    waiting: dict[Name, WhenceError] = field(default_factory=dict)
    stopped: WhenceError | None = None
    is_busy: bool = False


def deliver(
    box: Outbox,
    to: catalog.Catalog,
    drop_copy: Callable[[Name], None] = lambda name: None,
    give_up_at: float = float("inf"),
) -> Outcome:
    """Deliver what is in `box`, as far as the catalog answers.

    Args:
        drop_copy: removes the copy of a record in the Blob store.
        give_up_at: of `time.monotonic`: after it, no more is begun.
    """
    outcome = Outcome()
    with box.lock() as is_free:
        if not is_free:
            outcome.is_busy = True
            return outcome
        round_ = _Round(box, to, drop_copy, outcome)
        try:
            for verb, letters in _batches(box.pending()):
                if time.monotonic() >= give_up_at:
                    break
                round_.send(verb, letters)
        except _Stop as stop:
            outcome.stopped = stop.why
    return outcome


class _Stop(Exception):
    """No more can be delivered now."""

    def __init__(self, why: WhenceError) -> None:
        super().__init__(str(why))
        self.why = why


# What is sent as one item: a record, or the start and the finish of a Run.
_Letter: TypeAlias = tuple[Name, ...]
_Records: TypeAlias = tuple[Record, ...]


def _letters(pending: Sequence[Name]) -> Iterator[tuple[str, _Letter]]:
    """(verb, records) in order; a whole Run stands where its finish does, since that may take what came between."""
    of_run: dict[UUID, list[Name]] = {}
    for name in pending:
        of_run.setdefault(name.run, []).append(name)
    whole = {run for run, names in of_run.items() if [n.verb for n in names] == ["reserve", "finish_runs"]}
    for name in pending:
        if name.run not in whole:
            yield name.verb, (name,)
        elif name.verb == "finish_runs":
            yield "record_runs", tuple(of_run[name.run])


def _batches(pending: Sequence[Name]) -> Iterator[tuple[str, list[_Letter]]]:
    for verb, group in groupby(_letters(pending), key=lambda letter: letter[0]):
        letters = [letter for _, letter in group]
        for start in range(0, len(letters), _AT_ONCE):
            yield verb, letters[start : start + _AT_ONCE]


class _Round:
    """One passage through the outbox."""

    def __init__(
        self, box: Outbox, to: catalog.Catalog, drop_copy: Callable[[Name], None], outcome: Outcome
    ) -> None:
        self._box = box
        self._to = to
        self._drop_copy = drop_copy
        self._outcome = outcome

    def send(self, verb: str, letters: Sequence[_Letter]) -> None:
        """Deliver a batch, and see to what became of each."""
        read = [records for letter in letters if (records := self._read(letter))]
        if verb == "reserve":
            recorded = self._recorded([records[0].name.run for records in read])
            begun = [records for records in read if records[0].name.run in recorded]
            # Whoever said them may have been killed before it came to this.
            self._end_unanswered([records[0] for records in begun])
            for records in begun:
                read.remove(records)
                self._settle(records, None)
        sent = self._sent(verb, read)
        self._end_unanswered([records[0] for records, error in sent if error is None])
        for records, error in sent:
            if isinstance(error, Conflict) and len(records) > 1:
                # Its start had come through, alone.
                ((_, error),) = self._sent("finish_runs", [records[1:]])
            self._settle(records, error)

    def _read(self, letter: _Letter) -> _Records:
        """The records of a letter; none if one cannot be read, or somebody else delivered it."""
        records = []
        for name in letter:
            try:
                records.append(self._box.read(name))
            except NotFound:
                return ()
            except Damaged as error:
                self._set_aside(name, error)
                return ()
        return tuple(records)

    def _sent(self, verb: str, letters: Sequence[_Records]) -> list[tuple[_Records, WhenceError | None]]:
        """What became of each letter; None: it is recorded."""
        if not letters:
            return []
        try:
            answers = self._say(verb, [_item(records) for records in letters])
        except WhenceError as error:
            if is_stopping(error):
                raise _Stop(error) from error
            if len(letters) == 1:
                return [(letters[0], error)]
            return [result for records in letters for result in self._sent(verb, [records])]
        return [
            (records, answer if isinstance(answer, WhenceError) else None)
            for records, answer in zip(letters, answers, strict=True)
        ]

    def _say(self, verb: str, items: Sequence[object]) -> Sequence[object]:
        match verb:
            case "reserve":
                return self._to.reserve(cast("Sequence[model.Call]", items))
            case "finish_runs":
                return self._to.finish_runs(cast("Sequence[model.Report]", items))
            case "record_runs":
                return self._to.record_runs(cast("Sequence[tuple[model.Call, model.Report]]", items))
            case "add":
                return self._to.add(cast("Sequence[model.Addition]", items))
            case _:
                return self._to.log(cast("Sequence[model.Series]", items))

    def _recorded(self, runs: Sequence[UUID]) -> frozenset[UUID]:
        try:
            return frozenset(self._to.projects_of(runs)) if runs else frozenset()
        except WhenceError as error:
            raise _Stop(error) from error

    def _settle(self, records: _Records, error: WhenceError | None) -> None:
        """Let go of what is recorded, and set aside what never will be."""
        if error is not None and is_stopping(error):
            raise _Stop(error)
        if error is None:
            # The finish before the start: a start alone is found to be recorded, a finish alone would be refused.
            for record in reversed(records):
                self._box.remove(record.name)
                self._drop_copy(record.name)
                self._outcome.delivered += 1
            return
        for record in records:
            may_pass = isinstance(error, NotFound) or error.kind is ErrorKind.BROKEN
            if may_pass and datetime.now(UTC) - record.name.kept_at < WAITS:
                self._outcome.waiting[record.name] = error
            else:
                self._set_aside(record.name, error)

    def _set_aside(self, name: Name, why: WhenceError) -> None:
        self._box.set_aside(name, why)
        self._drop_copy(name)
        self._outcome.refused[name] = why

    def _end_unanswered(self, starts: Sequence[Record]) -> None:
        """End the Runs that were asked for first, if they were begun after all: nobody carries them out."""
        firsts = {start.instead_of: start for start in starts if start.instead_of is not None}
        begun = [
            (replace(firsts[first], item=_unanswered(first, firsts[first])),)
            for first in self._recorded([*firsts])
        ]
        self._sent("finish_runs", begun)  # one that was answered with a reuse has ended, and is no error


def _unanswered(first: UUID, start: Record) -> model.Report:
    return model.Report(
        uid=uuid5(first, "whence.unanswered"),
        run=first,
        state=model.RunState.ABORTED,
        actor=cast("model.Call", start.item).actor,
        error=f"the answer to its start was lost; run {start.name.run} was carried out instead",
        claimed_at=start.name.kept_at,
    )


def _item(records: _Records) -> object:
    return records[0].item if len(records) == 1 else tuple(record.item for record in records)


def is_stopping(error: WhenceError) -> bool:
    """Whether nothing is wrong with what was said: it is to be said again, and what comes after it too.

    Over what breaks the server, only what is broken waits: it would be in the way of all else for ever.
    """
    if error.kind is ErrorKind.BROKEN:
        return False
    return isinstance(error, Unreachable | NotReady) or error.kind in _STOPPING
