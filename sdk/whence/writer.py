"""What this process says to the catalog: at once where it answers, else kept in the outbox and delivered later.

A catalog that does not answer never fails a step that has what it needs: the step executes, what it made goes
by its digest, without a number, and a thread delivers it all once the catalog answers. Until then nobody
waits for an answer a second time. What was kept for a Run comes before what else is said of it, or of
what was made from it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar, cast
from uuid import UUID

from whence import calls, delivery, reads
from whence.outbox import Name, Outbox
from whence_catalog import cache, later, lifecycle, model
from whence_catalog.errors import Denied, NotFound, NotReady, Unreachable, WhenceError

if TYPE_CHECKING:
    from whence_catalog import catalog, replies
else:
    (replies,) = later.modules("whence_catalog", "replies")

I = TypeVar("I")  # noqa: E741 - an item
T = TypeVar("T")

_log = logging.getLogger("whence")
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
# How long a caller helps to deliver what comes before its own, and how long an ending process does.
_HELP_SECONDS = 2.0
_LAST_TRY_SECONDS = 5.0
_SPILL_SECONDS = 20.0


class Copies(Protocol):
    """Copies of records that outlive this machine."""

    def put(self, box: Outbox) -> int:
        """Have a copy of all that `box` is to deliver; answers how many are new."""

    def collect(self, box: Outbox) -> int:
        """Take every copy into `box`; answers how many there were."""

    def drop(self, name: Name) -> None:
        """Have none of that record, which was delivered."""


class Writer:
    """The writing verbs of a catalog, one item at a time, through an outbox. Safe from threads and forks."""

    def __init__(self, to: catalog.Catalog, box: Outbox, copies: Copies | None = None) -> None:
        self.box = box
        self._to = to
        self._to_server = getattr(to, "is_server", False) is True
        self._copies = copies
        self._since = datetime.now(UTC)
        self._expected: set[UUID] = set()
        self._is_closed = False
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        """Begin without a thread, as a forked child must: it has none."""
        self._guard = threading.Lock()
        self._delivering = threading.Lock()
        self.box.forget()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._is_ending = False
        self._is_silent = False
        self._why: WhenceError | None = None
        self._thread: threading.Thread | None = None

    # ── saying ───────────────────────────────────────────────────────────────────────────────────

    @reads.unwatched
    def reserve(self, call: model.Call) -> cache.Answer:
        """What the call is to do, and its beginning; where nobody answers, it executes, and holds no lease."""
        (answer,) = self.reserve_all([call])
        if isinstance(answer, WhenceError):
            raise answer
        return answer

    def reserve_all(self, asked: Sequence[model.Call]) -> list[catalog.Result[cache.Answer]]:
        """`reserve`, for each; whoever answers is asked once for all of them."""
        answered = cast(
            "list[tuple[catalog.Result[cache.Answer], ...]]",
            self._answered_all(asked, self._to.reserve, is_begun=False),
        )
        return [
            answers[0] if answers else self._begun_alone(call)
            for call, answers in zip(asked, answered, strict=True)
        ]

    def _begun_alone(self, call: model.Call) -> cache.Execute:
        begun = _without_lease(call)
        self._keep("reserve", begun, None if begun.run == call.run else call.run)
        return cache.Execute(cache.Reason.UNREACHABLE, run=lifecycle.start(begun, datetime.now(UTC)))

    @reads.unwatched
    def finish(self, report: model.Report) -> tuple[model.Output, ...]:
        """End a Run; answers its outputs."""
        return calls.one(self.finish_all([report])).outputs

    def finish_all(self, reports: Sequence[model.Report]) -> list[catalog.Result[replies.Finished]]:
        """End Runs; each answer is what the catalog says, or, where it is kept, what is known here."""
        answered = self._answered_all(reports, self._to.finish_runs)
        return [
            answers[0] if answers else self._finished_alone(report)
            for report, answers in zip(reports, answered, strict=True)
        ]

    def _finished_alone(self, report: model.Report) -> replies.Finished:
        self._keep("finish_runs", report)
        now = datetime.now(UTC)
        run = model.Run(report.run, "", "", report.state, report.actor, now, now)
        nothing = model.Publication(model.Outcome.NONE, "it is not told to the catalog yet")
        return replies.Finished(run, _made(report.run, report.outputs), nothing)

    @reads.unwatched
    def record(self, call: model.Call, report: model.Report) -> tuple[model.Output, ...]:
        """Record a whole Run; answers its outputs."""
        for finished in self._answered((call, report), self._to.record_runs):
            return finished.outputs
        self._keep("record_runs", (call, report))
        return _made(report.run, report.outputs)

    @reads.unwatched
    def add(self, addition: model.Addition) -> tuple[model.Output, ...]:
        """Add to a Run; answers what was added to its outputs."""
        for outputs in self._answered(addition, self._to.add):
            return outputs
        self._keep("add", addition)
        return _made(addition.run, addition.outputs)

    @reads.unwatched
    def log(self, series: model.Series) -> None:
        """Append points to a Run's series."""
        for _ in self._answered(series, self._to.log):
            return
        self._keep("log", series)

    def holds(self, run: str) -> bool:
        """Whether something that is to be delivered is of that Run."""
        return any(str(name.run) == run for name in self.box.pending())

    def expect(self, run: UUID) -> None:
        """Told of a Run that may lie in another process's outbox: what names it is kept until it is recorded."""
        self._expected.add(run)

    @property
    def is_silent(self) -> bool:
        """Whether the catalog did not answer when it was last asked."""
        return self._is_silent and not self.box.is_empty

    @reads.unwatched
    def settle(self) -> None:
        """Deliver what was kept, before something is asked, unless the catalog is known not to answer."""
        if not self._is_silent:
            self.deliver()

    @reads.unwatched
    def deliver(self) -> bool:
        """Deliver what was kept, as far as that goes in a moment; answers whether there was anything."""
        if self.box.is_empty:
            return False
        self._help()
        return True

    def _answered(
        self, item: I, send: Callable[[Sequence[I]], Sequence[catalog.Result[T]]], *, is_begun: bool = True
    ) -> tuple[T, ...]:
        """What the catalog answers; nothing, where the item is to be kept.

        What begins (`is_begun` is false) raises what a person is to mend before anything is computed.
        """
        (answers,) = self._answered_all([item], send, is_begun=is_begun)
        return tuple(calls.one([answer]) for answer in answers)

    def _answered_all(
        self,
        items: Sequence[I],
        send: Callable[[Sequence[I]], Sequence[catalog.Result[T]]],
        *,
        is_begun: bool = True,
    ) -> list[tuple[catalog.Result[T], ...]]:
        """For each item as `_answered`, in one call for all of them; an error of one alone is its answer."""
        answered: list[tuple[catalog.Result[T], ...]] = [() for _ in items]
        named = [_named(item) for item in items]
        clear = [place for place, runs in enumerate(named) if self._is_clear(runs)]
        if not clear:
            return answered
        results: Sequence[catalog.Result[T]]
        try:
            results = send([items[place] for place in clear])
        except (Unreachable, NotReady, Denied) as error:
            if not self._is_kept_for(error, is_begun):
                raise
            self._fall_silent(error)
            return answered
        for place, result in zip(clear, results, strict=True):
            if isinstance(result, NotFound) and not named[place].isdisjoint(self._expected):
                continue
            if isinstance(result, Unreachable | NotReady | Denied) and self._is_kept_for(result, is_begun):
                self._fall_silent(result)
                continue
            answered[place] = (result,)
        return answered

    def _is_kept_for(self, error: WhenceError, is_begun: bool) -> bool:
        """Whether what met this error is kept, and said again later."""
        if isinstance(error, Unreachable):
            return not self._is_closed
        # Hours of work are not thrown away for a token that expired, or a disk of the server that is full.
        return self._to_server and is_begun and delivery.is_stopping(error)

    def _is_clear(self, runs: frozenset[UUID]) -> bool:
        """Whether the catalog may be told at once of something that names these Runs."""
        if self.box.is_empty:
            return True
        if self._is_silent:
            return False
        if all(name.run not in runs for name in self.box.pending()):
            return True
        self._help()
        return all(name.run not in runs for name in self.box.pending())

    def _keep(self, verb: str, item: object, instead_of: UUID | None = None) -> None:
        try:
            self.box.keep(verb, item, instead_of)
        except WhenceError as error:
            why = self._why or Unreachable(f"the catalog {self.box.url} does not answer")
            raise Unreachable(
                f"{why}. Nor can this be kept for it ({error}): set WHENCE_OUTBOX to a folder that can be written",
                why.kind,
            ) from error
        self.begin()

    def _fall_silent(self, error: WhenceError) -> None:
        global _is_told
        self._is_silent, self._why = True, error
        if not _is_told:
            _is_told = True
            _log.warning(
                "%s. This process goes on; what it does is kept in %s until it is delivered (`whence outbox ls`)",
                str(error).rstrip("."),
                self.box.folder,
            )

    # ── delivering ───────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Deliver from a thread, until nothing is left."""
        with self._guard, contextlib.suppress(RuntimeError):  # too late: the interpreter is ending
            if self._thread is None and not self._is_ending:
                self._ended.clear()
                thread = threading.Thread(target=self._deliver_all, name="whence outbox", daemon=True)
                thread.start()
                self._thread = thread

    def flush(self, again: bool = False) -> tuple[int, delivery.Outcome]:
        """Collect what lies in the Blob store, and deliver all; `again`: what was refused, too.

        Answers how many were collected, and what became of what was tried.
        """
        while True:
            with self._delivering:
                collected = self._collect(again)
                outcome = delivery.deliver(self.box, self._to, self._drop())
            if not outcome.is_busy:
                return collected, outcome
            time.sleep(0.05)  # another process delivers; what it leaves is ours

    def _collect(self, again: bool) -> int:
        """Have in the outbox what is to be tried; how many copies came from the Blob store."""
        with self.box.lock() as is_free:  # else what another process delivers meanwhile would come back
            if not is_free:
                return 0
            self.box.tidy()
            if again:
                self.box.take_up_refused()
            return 0 if self._copies is None else self._copies.collect(self.box)

    def _drop(self) -> Callable[[Name], None]:
        return (lambda name: None) if self._copies is None else self._copies.drop

    def close(self) -> None:
        """Try once more, for a moment, and copy what is left to where it outlives this machine. Idempotent."""
        self._is_closed = True
        self.end()

    def end(self) -> None:
        """As `close`; what is said after this is still kept."""
        with self._guard:
            if self._is_ending:
                return
            self._is_ending = True
            thread = self._thread
        # What others kept is theirs, or the next one's, to see to.
        if all(name.kept_at < self._since for name in self.box.pending()):
            return
        self._wake.set()
        if thread is None:
            self._deliver_last()
        else:
            self._ended.wait(_LAST_TRY_SECONDS + (0 if self._copies is None else _SPILL_SECONDS))

    @reads.unwatched
    def _deliver_all(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while True:
                self._wake.wait(pause * random.uniform(0.75, 1.25))
                if self._is_ending:
                    return self._deliver_last()
                with self._delivering:
                    delivered = self._deliver(float("inf"))
                with self._guard:
                    if self.box.is_empty:
                        self._thread = None
                        return None
                pause = _FIRST_PAUSE_SECONDS if delivered else min(2 * pause, _LONGEST_PAUSE_SECONDS)
        finally:
            self._ended.set()

    def _deliver_last(self) -> None:
        with self._delivering:
            self._deliver(time.monotonic() + _LAST_TRY_SECONDS)
        if self._copies is not None and not self.box.is_empty:
            try:
                self._copies.put(self.box)
            except Exception as error:  # it is still in the folder
                _log.warning(
                    "what is in %s could not be copied to the Blob store: %s", self.box.folder, error
                )

    def _help(self) -> None:
        if self._delivering.acquire(timeout=_HELP_SECONDS):
            try:
                self._deliver(time.monotonic() + _HELP_SECONDS)
            finally:
                self._delivering.release()

    def _deliver(self, give_up_at: float) -> int:
        """How many were delivered, this time."""
        try:
            outcome = delivery.deliver(self.box, self._to, self._drop(), give_up_at)
        except Exception as error:  # of the disk, say; whatever it is, the next time may do
            _log.warning("what is in %s could not be delivered: %s", self.box.folder, error)
            return 0
        if not outcome.is_busy:
            self._is_silent = isinstance(outcome.stopped, Unreachable)
        for name, why in outcome.refused.items():
            _log.warning("the catalog refused what run %s said: %s (`whence outbox ls`)", name.run, why)
        return outcome.delivered


def _without_lease(call: model.Call) -> model.Call:
    """The call as it is carried out when nobody answers: no look-up, no publish.

    A call that might have been answered with a reuse goes on as another Run, lest the one of that id be
    reused there and executed here.
    """
    unreachable = cache.Reason.UNREACHABLE.value
    if not cache.wants_key(call):
        return replace(call, reason=call.reason or unreachable)
    why = "the catalog did not answer when it began"
    return replace(
        call,
        run=calls.new_uid(),
        mode=model.Mode.RECORD,
        uncacheable=(*call.uncacheable, why),
        reason=unreachable,
    )


def _made(run: UUID, claims: Sequence[model.OutputClaim]) -> tuple[model.Output, ...]:
    """Outputs as they are known here: by their digests, without numbers."""
    now = datetime.now(UTC)
    return tuple(
        model.Output(
            role=claim.role,
            version=model.Version(claim.artifact, 0, claim.content, now),
            run=run,
            filename=claim.filename,
            format=claim.format,
            location=claim.location,
            metadata=claim.metadata,
            metrics=claim.metrics,
            description=claim.description,
            derived_from=claim.derived_from,
        )
        for claim in claims
    )


def _named(item: object) -> frozenset[UUID]:
    """The Runs that something said is about, or takes from."""
    match item:
        case model.Call():
            return frozenset({item.run, *_producers(item.inputs)})
        case model.Report() | model.Addition():
            made = (source for claim in item.outputs for source in claim.derived_from or ())
            return frozenset({item.run, *_producers(item.inputs), *(s.producer for s in made if s.producer)})
        case model.Series():
            return frozenset({item.run})
        case (call, report):
            return _named(call) | _named(report)
        case _:
            return frozenset()


def _producers(claims: Sequence[model.InputClaim]) -> Iterator[UUID]:
    return (claim.source.producer for claim in claims if claim.source.producer is not None)


_is_told = False
_all: weakref.WeakSet[Writer] = weakref.WeakSet()


def _after_fork() -> None:
    for each in _all:
        each._forget()


@atexit.register
def _at_exit() -> None:
    for each in list(_all):
        each.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
