"""The split form: a call that is opened, and later completed or failed, by one process or by two.

    match whence.open(whence.Call(job="train", inputs={"data": data, "rate": 0.5}, code="v3")):
        case whence.Reuse(outputs=made):      # recorded, as a Run in state `reused`
            ...
        case whence.Execute(ticket=ticket):   # begun: do it, here or elsewhere
            whence.complete(ticket, {"model": whence.located("model", "net", "s3://…", digest="sha256:…")})

`@whence.step` stands on it, and so does every adapter of an orchestrator. See `docs/orchestrators.md`.
"""

import contextlib
import dataclasses
import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from whence import calls, connecting, described, handles, outputs, places, recorder, tickets
from whence_catalog import cache, catalog, model, traces
from whence_catalog.errors import Conflict, ErrorKind, Unreachable, WhenceError

if TYPE_CHECKING:
    from whence.client import Client

_log = logging.getLogger("whence")
# A waiter says whom it waits for at once, and again when that takes long.
_SAID_AGAIN_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reuse:
    """There is a result: take its `outputs`, by role. `run` stands for not running; `origin` made them."""

    run: str
    origin: str
    outputs: Mapping[str, handles.Handle]
    productions: tuple[model.Output, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Verify:
    """There may be a result, if what is at these `locations` is still there, which only the caller can see.

    Nothing was recorded. Look, and ask again: `open(answer.call, seen={location: is_there, …})`.
    """

    locations: tuple[str, ...]
    call: "Opening" = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """`holder` computes it, `since` then; it is believed to live `until` then. Nothing was recorded.

    Ask again after some `seconds`: `open(answer.call)`.
    """

    holder: str
    since: datetime
    until: datetime
    seconds: float
    call: "Opening" = field(repr=False)


@dataclass(frozen=True, slots=True)
class Execute:
    """Do it: the Run of the `ticket` has begun. `reason` is why; `details` say more of that, where there is more."""

    ticket: tickets.Ticket
    reason: str
    details: tuple[str, ...] = ()
    begun: model.Run | None = field(default=None, repr=False)
    call: "Opening | None" = field(default=None, repr=False)

    @property
    def run(self) -> str:
        """The id of the Run."""
        return self.ticket.run

    @property
    def token(self) -> int | None:
        """The fence of the lease that the Run holds on its key; None: it holds none, and enters no cache."""
        return self.ticket.token


Answer: TypeAlias = Reuse | Verify | Wait | Execute
# What names an opened call that executes: the answer to it, its ticket, or that as plain values.
Opened: TypeAlias = Execute | tickets.Ticket | Mapping[str, object]


def _ticket(opened: Opened) -> tickets.Ticket:
    """The ticket of an opened call.

    Raises:
        InvalidInput: it is none.
    """
    return opened.ticket if isinstance(opened, Execute) else tickets.Ticket.of(opened)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How an opened call ended.

    Args:
        opened: the answer that it was opened with, or its ticket.
        outputs: what was made, by role: handles, drafts of them (`whence.located` for what is handed on by
            reference), files and folders by their paths, or plain values.
        metrics, warnings: of the Run.
        trust: why outputs that are known by less than their content may be reused all the same.
        error: why it failed; None: it did not.
        is_aborted: whether it was ended from outside, rather than by an error of its own.
    """

    opened: Opened
    outputs: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    trust: str | None = None
    error: str | BaseException | None = None
    is_aborted: bool = False

    @property
    def state(self) -> model.RunState:
        """How the Run ended."""
        if self.error is None:
            return model.RunState.COMPLETE
        return model.RunState.ABORTED if self.is_aborted else model.RunState.FAILED


@dataclass(frozen=True, slots=True)
class Completed:
    """A Run that has ended: its `outputs` by role, and what that did to the cache (`entered`, `refused: …`)."""

    run: str
    outputs: Mapping[str, handles.Handle]
    outcome: str


class Held:
    """The lease of an opened call, which is held."""

    def __init__(self) -> None:
        self._is_lost = threading.Event()

    @property
    def lease_lost(self) -> bool:
        """Whether another process may be computing the same: what is made here will not be reused."""
        return self._is_lost.is_set()

    def lose(self) -> None:
        """Told by the beater."""
        self._is_lost.set()


class Opening:
    """A call that is being opened: what was described of it, and how long it has waited."""

    def __init__(self, client: "Client", call: described.Call) -> None:
        self.client = client
        self.call = call
        self._description: described.Described | None = None
        self._asked_since = time.monotonic()
        self._said_at: float | None = None
        self._whole: model.Call | None = None
        # Where the outputs lie that only the caller can look at.
        self._places: tuple[cache.Place, ...] = ()

    @property
    def description(self) -> described.Described:
        """What the catalog is told of the call.

        Raises:
            InvalidInput: the call has no meaning.
        """
        if self._description is None:
            self._description = described.describe(self.client, self.call)
        return self._description

    def ask(self) -> Answer:
        """What the call is to do.

        Raises:
            InvalidInput: the call has no meaning.
            Conflict: it waited for as long as it may, and is to fail then.
        """
        (answer,) = _asked([self])
        if isinstance(answer, WhenceError):
            raise answer
        return answer

    def look(self, answer: cache.Verify) -> Verify | None:
        """Look at what is in the store; the answer, where there is something that the caller has to look at."""
        if answer.unknown:
            present, missing, altered = self.client.look(answer.unknown, answer.trees)
            call = self.description.call
            self._tell(
                present=call.present | present, missing=call.missing | missing, altered=call.altered | altered
            )
        self._places = answer.places
        if not self._places:
            return None
        return Verify(tuple(sorted({place.location for place in self._places})), self)

    def look_elsewhere(self) -> bool:
        """Look at the places of the last answer, as far as this process can; whether that told of all of them."""
        seen = places.look(self._places)
        self._sighted(seen)
        told = {(sighting.digest, sighting.location) for sighting in seen}
        return all((place.digest, place.location) in told for place in self._places)

    def told(self, seen: Mapping[str, bool]) -> None:
        """Told by the caller of what is there, by its location; a location that it does not name stays unknown."""
        says = {True: model.Standing.PRESENT, False: model.Standing.MISSING}
        self._sighted(
            tuple(
                model.Sighting(place.digest, place.location, says[is_there])
                for place in self._places
                if (is_there := seen.get(place.location)) in says
            )
        )

    def _sighted(self, sightings: tuple[model.Sighting, ...]) -> None:
        self._tell(sightings=(*self.description.call.sightings, *sightings))

    def _tell(self, **said: object) -> None:
        whole = self.description
        self._description = dataclasses.replace(whole, call=dataclasses.replace(whole.call, **said))  # type: ignore[arg-type]

    def retrace(self, known: Sequence[traces.Trace]) -> None:
        """Ask by what an earlier call really read, where the tracked inputs still say that; else by all of them."""
        whole = self._whole = self._whole or self.description.call
        call = described.by_what_was_read(whole, self.description.tracked, known)
        self._tell(key=call.key, components=call.components)

    def wait(self, answer: cache.Wait) -> Wait | None:
        """For how long; None, if it waited for as long as it may.

        Raises:
            Conflict: it is to fail then.
        """
        now = time.monotonic()
        waited = now - self._asked_since
        limit = described.lasting(self.call.max_wait, "max_wait")
        if limit is not None and waited >= limit.total_seconds():
            self._give_up(answer, waited)
            return None
        if self._said_at is None or now - self._said_at >= _SAID_AGAIN_SECONDS:
            self._said_at = now
            _log.info(
                "%s waits for %s, which has computed the same since %s and is believed to live until %s",
                self.call.job,
                answer.holder,
                f"{answer.since:%H:%M:%S}",
                f"{answer.until:%H:%M:%S} (UTC)",
            )
        # What was seen of the outputs is of before the wait.
        self._tell(present=frozenset(), missing=frozenset(), altered=frozenset(), sightings=())
        pause = min(0.05 + waited / 10, _LONGEST_PAUSE_SECONDS)
        if limit is not None:
            pause = min(pause, limit.total_seconds() - waited)
        return Wait(answer.holder, answer.since, answer.until, pause, self)

    def _give_up(self, answer: cache.Wait, waited: float) -> None:
        why = f"waited {waited:.0f} s for {answer.holder}"
        if self.call.on_max_wait == "fail":
            raise Conflict(
                f"{self.call.job} {why}, which has computed the same since {answer.since:%H:%M:%S} (UTC) and is still"
                " at it; wait for that one, or give this one a longer max_wait",
                ErrorKind.STILL_COMPUTED,
            )
        # It may be computed twice now; nothing is published from here without the lease.
        self._tell(mode=model.Mode.RECORD, uncacheable=(why,), reason=cache.Reason.WAITED.value)

    def begun(self, answer: cache.Execute) -> Execute:
        """The answer to whoever opened it."""
        run, asked = cast("model.Run", answer.run), self.description.call
        ticket = tickets.Ticket(
            str(run.uid), asked.owner, answer.token, answer.reason.value, asked.job, asked.project
        )
        return Execute(ticket, answer.reason.value, answer.details, run, self)

    def reused(self, answer: cache.Reuse) -> Reuse:
        """The answer to whoever opened it."""
        made = {output.role: handles.bound(output, self.client) for output in answer.outputs}
        run = cast("model.Run", answer.run)
        return Reuse(str(run.uid), str(answer.entry.run), made, answer.outputs)


def _asked(openings: Sequence[Opening]) -> list[catalog.Result[Answer]]:
    """What each call is to do: one catalog call for all, and one more for those that were to look at their outputs."""
    results: dict[int, catalog.Result[Answer]] = {}
    todo: list[int] = []
    for place, opening in enumerate(openings):
        try:
            _ = opening.description
            todo.append(place)
        except WhenceError as error:
            results[place] = error
    _retrace([openings[place] for place in todo])
    while todo:
        client = openings[todo[0]].client
        answers = client.writer.reserve_all([openings[place].description.call for place in todo])
        again: list[int] = []
        for place, answer in zip(todo, answers, strict=True):
            try:
                taken = _taken(openings[place], answer)
            except WhenceError as error:
                taken = error
            if taken is None:
                again.append(place)
            else:
                results[place] = taken
        todo = again
    return [results[place] for place in range(len(openings))]


def _retrace(openings: Sequence[Opening]) -> None:
    """Let those with tracked inputs ask by what was really read of them: one catalog call for all, if there are any."""
    tracking = {
        opening: call.base
        for opening in openings
        if (call := opening.description.call).base is not None and call.mode is model.Mode.REUSE
    }
    client = openings[0].client if tracking else None
    if client is None or client.writer.is_silent:
        return
    try:
        found = client.catalog.traces(client.project, list(tracking.values()))
    except Unreachable:
        return  # whoever reserves says so
    for opening, known in zip(tracking, found, strict=True):
        opening.retrace(known)


def _taken(opening: Opening, answer: catalog.Result[cache.Answer]) -> catalog.Result[Answer] | None:
    """What the catalog's answer is to whoever opened the call; None: it is to be asked again."""
    match answer:
        case WhenceError():
            return answer
        case cache.Verify():
            return opening.look(answer)
        case cache.Wait():
            return opening.wait(answer)
        case cache.Reuse():
            return opening.reused(answer)
        case cache.Execute():
            return opening.begun(answer)


# ── the protocol ─────────────────────────────────────────────────────────────────────────────────


def open(call: described.Call | Opening, seen: Mapping[str, bool] | None = None) -> Answer:
    """Say what is about to be done; answers what to do. See the module.

    Args:
        call: or, after `Verify` and `Wait`, the `call` of the answer.
        seen: after `Verify`: for each location, whether it is as it was left there.

    Raises:
        InvalidInput: the call has no meaning.
        Conflict: it waited for as long as it may, and is to fail then.
    """
    opening = call if isinstance(call, Opening) else Opening(connecting.current(), call)
    if seen is not None:
        opening.told(seen)
    return opening.ask()


def open_all(opened: Sequence[described.Call | Opening]) -> list[Answer | WhenceError]:
    """As `open`, for each, in one catalog call for all; an error of one alone is its answer."""
    client = connecting.current()
    return _asked([call if isinstance(call, Opening) else Opening(client, call) for call in opened])


def complete(
    opened: Opened,
    outputs: Mapping[str, object] | None = None,
    *,
    metrics: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
    trust: str | None = None,
) -> Completed:
    """Say that an opened call is done, and what it made; see `Completion`. Any process may, once.

    Raises:
        Conflict: its Run has ended already.
        NotFound: no such Run is recorded.
    """
    return _only(
        complete_all(
            [
                Completion(
                    opened=opened,
                    outputs=outputs or {},
                    metrics=metrics or {},
                    warnings=warnings,
                    trust=trust,
                )
            ]
        )
    )


def fail(opened: Opened, error: str | BaseException, *, is_aborted: bool = False) -> Completed:
    """Say that an opened call failed, or that it was ended from outside (`is_aborted`). Its key is free again.

    Raises:
        Conflict: its Run has ended already.
        NotFound: no such Run is recorded.
    """
    return _only(complete_all([Completion(opened=opened, error=error, is_aborted=is_aborted)]))


def _only(results: Sequence[Completed | WhenceError]) -> Completed:
    (result,) = results
    if isinstance(result, WhenceError):
        raise result
    return result


def complete_all(completions: Sequence[Completion]) -> list[Completed | WhenceError]:
    """End opened calls, each as its completion says, in one catalog call; an error of one alone is its answer."""
    client = connecting.current()
    results: dict[int, Completed | WhenceError] = {}
    reports: dict[int, model.Report] = {}
    for place, completion in enumerate(completions):
        try:
            reports[place] = _report(client, completion)
        except WhenceError as error:
            results[place] = error
    finished = client.writer.finish_all(list(reports.values())) if reports else []
    for place, answer in zip(reports, finished, strict=True):
        if isinstance(answer, WhenceError):
            results[place] = answer
        else:
            made = {output.role: handles.bound(output, client) for output in answer.outputs}
            results[place] = Completed(str(reports[place].run), made, str(answer.publication))
    return [results[place] for place in range(len(completions))]


def _report(client: "Client", completion: Completion) -> model.Report:
    """The report of a completion, with its bytes in the store."""
    ticket = _ticket(completion.opened)
    if ticket.reason == cache.Reason.UNREACHABLE:
        client.writer.expect(ticket.uid)  # it was begun while nobody answered, perhaps on another machine
    changed: tuple[str, ...] = ()
    if isinstance(completion.opened, Execute) and completion.opened.call is not None:
        changed = completion.opened.call.description.arguments.changed()
    parts = outputs.Parts(completion.outputs, None, ticket.job)
    with tempfile.TemporaryDirectory(prefix="whence-") as folder:
        claims = outputs.store(parts, client, Path(folder), ticket.uid, ticket.project)
    error = completion.error
    return tickets.report(
        ticket,
        client.actor,
        completion.state,
        outputs=claims,
        metrics={name: calls.number(name, value) for name, value in completion.metrics.items()},
        warnings=(*completion.warnings, *changed),
        error=recorder.shown(error) if isinstance(error, BaseException) else error,
        uncacheable=changed,
        trust=completion.trust,
    )


def beat(opened: Sequence[Opened]) -> frozenset[str]:
    """Say that these are still at work, which extends their leases; answers the Runs that have lost theirs.

    Due three times in a lease, for whoever does not let `held` see to it.
    """
    client = connecting.current()
    runs = [_ticket(each).uid for each in opened]
    return frozenset(str(run) for run in client.catalog.beat(runs, client.beater.lease))


@contextlib.contextmanager
def held(opened: Opened) -> Iterator[Held]:
    """Around the work of an opened call: this process's beater says that it is still at it."""
    client, run, lease = connecting.current(), _ticket(opened).uid, Held()
    client.beater.add(run, lease.lose)
    try:
        yield lease
    finally:
        client.beater.remove(run)
