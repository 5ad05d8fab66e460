"""The split form: a call that is opened, and later completed or failed, by one process or by two.

    match whence.open(whence.Call(job="train", inputs={"data": data, "rate": 0.5}, code="v3")):
        case whence.Reuse(outputs=made):      # recorded, as a Run in state `reused`
            ...
        case whence.Execute(ticket=ticket):   # begun: do it, here or elsewhere
            whence.complete(ticket, {"model": whence.located("model", "net", "s3://…", digest="sha256:…")})

`@whence.step` stands on it, and so does every adapter of an orchestrator. See `docs/orchestrators.md`.
"""

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias, cast

from whence import described, handles, tickets
from whence_catalog import cache, catalog, digest, model
from whence_catalog.errors import Conflict, ErrorKind, WhenceError

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

    @property
    def run(self) -> str:
        """The id of the Run."""
        return self.ticket.run

    @property
    def token(self) -> int | None:
        """The fence of the lease that the Run holds on its key; None: it holds none, and enters no cache."""
        return self.ticket.token


Answer: TypeAlias = Reuse | Verify | Wait | Execute


class Opening:
    """A call that is being opened: what was described of it, and how long it has waited."""

    def __init__(self, client: "Client", call: described.Call) -> None:
        self.client = client
        self.call = call
        self._description: described.Described | None = None
        self._asked_since = time.monotonic()
        self._said_at: float | None = None

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

    def saw(
        self,
        present: frozenset[digest.Digest] = frozenset(),
        missing: frozenset[digest.Digest] = frozenset(),
        altered: frozenset[digest.Digest] = frozenset(),
    ) -> None:
        """Told of what is there of the outputs that the catalog asked about."""
        call = self.description.call
        self._tell(
            present=call.present | present, missing=call.missing | missing, altered=call.altered | altered
        )

    def _tell(self, **said: object) -> None:
        whole = self.description
        self._description = dataclasses.replace(whole, call=dataclasses.replace(whole.call, **said))  # type: ignore[arg-type]

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
        self._tell(present=frozenset(), missing=frozenset(), altered=frozenset())
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
        return Execute(ticket, answer.reason.value, answer.details, run)

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


def _taken(opening: Opening, answer: catalog.Result[cache.Answer]) -> catalog.Result[Answer] | None:
    """What the catalog's answer is to whoever opened the call; None: it is to be asked again."""
    match answer:
        case WhenceError():
            return answer
        case cache.Verify():
            opening.saw(*opening.client.look(answer.unknown, answer.trees))
            return None
        case cache.Wait():
            return opening.wait(answer)
        case cache.Reuse():
            return opening.reused(answer)
        case cache.Execute():
            return opening.begun(answer)
