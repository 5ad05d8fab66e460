"""Records one Run: what a `with` block (`block`) or a step speaks to while it runs.

A Run is begun by one catalog call and ended by another. What the block publishes is recorded at once,
so that others can take it by number while the Run goes on.
"""

import contextlib
import contextvars
import itertools
import os
import signal
import socket
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast
from uuid import UUID

from whence import calls, handles, loops, reads, tickets, tracked
from whence_catalog import cache, later, model, traces
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound, WhenceError

if TYPE_CHECKING:
    from whence import places
    from whence.client import Client
else:
    (places,) = later.modules("whence", "places")

RUN_VARIABLE = "WHENCE_RUN"
# The Run did not fail: somebody or something ended it.
_ABORTING = (KeyboardInterrupt, SystemExit, GeneratorExit)
_FLUSH_POINTS = 1000
_FLUSH_SECONDS = 2.0

_active: "contextvars.ContextVar[Recorder | None]" = contextvars.ContextVar("whence_run", default=None)
# Those that the main thread is inside of, in the order they were entered.
_in_main_thread: "list[Recorder]" = []


class Recorder:
    """A Run that is going on. Use it inside its `with` block, from any thread of the process."""

    def __init__(self, client: "Client", run: model.Run, ticket: tickets.Ticket | None = None) -> None:
        self.client = client
        self._run = run
        self._ticket = ticket or tickets.Ticket(str(run.uid), "", None, "", run.job, run.project)
        self._guard = threading.Lock()
        # Held while points are on their way, so that the Run does not end before they are said.
        self._flushing = threading.Lock()
        self._pid = os.getpid()
        self._ended: model.RunState | None = None
        self._lease_lost = False
        self._inputs: list[model.InputClaim] = []
        self._lent: list[handles.Handle] = []
        self._taken_as: dict[str, model.Source] = {}
        self._made_as: set[str] = set()
        self._spoilt: list[str] = []
        self._kept_back: list[str] = []
        self._observed: model.Observed | None = None
        self._warnings: list[str] = []
        self._metrics: dict[str, float] = {}
        self._points: dict[str, list[tuple[int, float]]] = {}
        self._flushed_at = time.monotonic()
        self._next_steps: dict[str, int] = {}

    # ── what user code says ──────────────────────────────────────────────────────────────────────

    @property
    def id(self) -> str:
        """The Run's id."""
        return str(self._run.uid)

    @property
    def uid(self) -> UUID:
        """The Run's id, as a UUID."""
        return self._run.uid

    @property
    def env(self) -> dict[str, str]:
        """The environment in which another process can `attach()` to this Run."""
        return {RUN_VARIABLE: self.id, **self.client.env}

    @property
    def parent(self) -> UUID | None:
        """The Run that this one is part of."""
        return self._run.parent

    @property
    def is_own(self) -> bool:
        """Whether this process began it; a forked child that goes on in its code must not end it."""
        return self._pid == os.getpid()

    @property
    def lease_lost(self) -> bool:
        """Whether another process may be computing the same: what this one makes will not be cached."""
        return self._lease_lost

    @reads.unwatched
    def use(self, what: str | handles.Handle, *, role: str | None = None) -> handles.Handle:
        """Take an input: a reference such as `dataset:images@latest`, or a handle. Answers a handle of it.

        Args:
            role: what the Run takes it as; the artifact's name unless given.

        Raises:
            NotFound: with near names.
            InvalidInput: the Run takes something else in that role.
        """
        self._raise_if_ended()
        what = cast("str | handles.Handle", tracked.whole(what))
        if isinstance(what, str):
            handle = self.client.get(what)
        elif what.is_draft:
            handle = self.hand_on(what)
        else:
            handle = what if what.is_of(self.client) else self.client.known(what)
            self.client.expect(handle)
        if self._ticket.token is not None:
            self._spoilt.append(
                f"it took {handle.ref} while it ran, which is no part of its key; hand it in as an argument"
            )
        with self._guard:
            self._take(handle.source, role or self._free_role(handle.name, handle.source))
            self._lent.append(handle)
        return handle

    @reads.unwatched
    def hand_on(self, draft: handles.Handle) -> handles.Handle:
        """Record a draft that is on its way to a step, in a role of its own."""
        with self._guard:
            names = itertools.chain([draft.name], (f"{draft.name} {n}" for n in itertools.count(2)))
            role = next(name for name in names if name not in self._made_as)
        return self.publish(draft, role=role)

    @reads.unwatched
    def publish(
        self,
        what: str | handles.Handle,
        content: object = None,
        *,
        role: str | None = None,
        **says: Unpack[handles.Says],
    ) -> handles.Handle:
        """Record an output: `publish("model:digits", folder)`. Answers a handle of its Version.

        Args:
            what: kind and name, or a draft such as `whence.model("digits", folder)`.
            content: a path to a file or folder, bytes, a table, an array, a plain value.
            role: what the Run makes it as; the artifact's name unless given.
            says: `metrics`, `metadata`, `description`, `derived_from`; see `handles.Says`.
        """
        self._raise_if_ended()
        project = None
        if isinstance(what, str) == (content is None):
            raise InvalidInput("publish takes a name and content, or a handle and nothing else")
        if isinstance(what, str):
            named = self.client.named(what)
            project = named.project
            what = handles.draft(named.kind, named.name, content, **says)
        with (
            self._making(role or what.name) as named_role,
            tempfile.TemporaryDirectory(prefix="whence-") as folder,
        ):
            claim = self.client.store(what, role=named_role, folder=Path(folder), project=project)
            (output,) = self._add((claim,))
        return handles.bound(output, self.client)

    def log(self, step: int | None = None, **series: float) -> None:
        """Append points to metric series: `run.log(step=10, loss=0.3)`.

        They are made durable together: at the first `log` two seconds after the last time, after a
        thousand, and when the Run ends. `flush` does it now.

        Args:
            step: where on the series the points lie; one more than the last unless given.

        Raises:
            InvalidInput: a value is not a number. NaN and infinities are numbers.
        """
        if step is not None and type(step) is not int:
            raise InvalidInput(f"step is {step!r}; it is a whole number")
        numbers = {name: calls.number(name, value) for name, value in series.items()}
        with self._guard:
            self._raise_if_ended()
            for name, value in numbers.items():
                points = self._points.setdefault(name, [])
                points.append((step if step is not None else self._next_step(name), value))
                self._metrics[name] = value
            many = sum(len(points) for points in self._points.values())
            due = many >= _FLUSH_POINTS or time.monotonic() - self._flushed_at >= _FLUSH_SECONDS
        if due:
            self.flush()

    @reads.unwatched
    def flush(self) -> None:
        """Make durable what was logged so far."""
        with self._flushing:
            self._flush()

    def _flush(self) -> None:
        with self._guard:
            points = {name: tuple(rows) for name, rows in self._points.items() if rows}
            for name, rows in points.items():
                self._points[name] = []
                self._next_steps[name] = rows[-1][0] + 1
            self._flushed_at = time.monotonic()
        if points:
            series = model.Series(calls.new_uid(), self.uid, self.client.actor, points)
            try:
                self.client.writer.log(series)
            except WhenceError:
                with self._guard:  # the next flush says it
                    for name, rows in points.items():
                        self._points[name][:0] = rows
                raise

    def warn(self, text: str) -> None:
        """Keep a remark with the Run."""
        self._warnings.append(text)

    # ── what a block or a step says ──────────────────────────────────────────────────────────────

    def _next_step(self, name: str) -> int:
        points = self._points[name]
        return points[-1][0] + 1 if points else self._next_steps.get(name, 0)

    def lend(self, handle: handles.Handle) -> None:
        """Watch a handle that the step was given: it must not be changed while it runs."""
        self._lent.append(handle)

    @property
    def lent(self) -> Iterator[str]:
        """Where the bytes of its inputs lie, of those that were looked at."""
        return (str(path) for handle in self._lent for path in handle.lent)

    def lose_lease(self) -> None:
        """Told by the beater: the lease on the key is lost."""
        self._lease_lost = True

    def took(self, claims: Sequence[model.InputClaim]) -> None:
        """Told by a step: its arguments are inputs already."""
        for claim in claims:
            self._taken_as.setdefault(
                f"{claim.role}#{claim.ordinal}" if claim.ordinal else claim.role, claim.source
            )

    def saw(self, observed: model.Observed, uncacheable: Sequence[str] = ()) -> None:
        """Told by who watched it: what it touched, and for which reasons what it makes must not be reused."""
        self._observed = observed
        self._spoilt.extend(uncacheable)

    def hand_out_nothing(self, why: str) -> None:
        """Told by who began it: it holds its key while it runs, and nobody is to reuse it; nothing is wrong with that."""
        self._kept_back.append(why)

    def _take(self, source: model.Source, role: str) -> None:
        """Note an input; the guard is held."""
        known = self._taken_as.setdefault(role, source)
        if known != source:
            raise InvalidInput(
                f"the run already takes {known.artifact} {known.digest.short} as {role!r}; give this one role=…"
            )
        claim = model.InputClaim(role, source)
        if claim not in self._inputs:
            self._inputs.append(claim)

    def _free_role(self, name: str, source: model.Source) -> str:
        """`name`, or the first like it that no other source is taken as; the guard is held."""
        names = itertools.chain([name], (f"{name} {n}" for n in itertools.count(2)))
        return next(role for role in names if self._taken_as.get(role, source) == source)

    def _take_what_these_come_from(self, outputs: Sequence[model.OutputClaim]) -> None:
        """What an output comes from is an input, whoever forgot to say so: lineage must not end here."""
        with self._guard:
            for source in (source for claim in outputs for source in claim.derived_from or ()):
                if source not in self._taken_as.values():
                    self._take(source, self._free_role(source.artifact.name, source))

    @contextlib.contextmanager
    def _making(self, role: str) -> Iterator[str]:
        """Holds a role for an output, and gives it back if there comes none of it."""
        with self._guard:
            if role in self._made_as:
                raise InvalidInput(f"the run already made an output as {role!r}; give this one role=…")
            self._made_as.add(role)
        try:
            yield role
        except BaseException:
            self._made_as.discard(role)
            raise

    def _add(self, outputs: tuple[model.OutputClaim, ...]) -> tuple[model.Output, ...]:
        """Record what was taken so far, and these outputs, while the Run goes on."""
        self._take_what_these_come_from(outputs)
        with self._guard:
            taken, self._inputs = tuple(self._inputs), []
        if not taken and not outputs:
            return ()
        addition = model.Addition(calls.new_uid(), self.uid, self.client.actor, taken, outputs)
        try:
            return self.client.writer.add(addition)
        except WhenceError:
            with self._guard:  # the next call says them
                self._inputs[:0] = taken
            raise

    def _raise_if_ended(self) -> None:
        if self._ended is not None:
            raise Conflict(
                f"run {self.id} is already {self._ended}; start a new run to record more",
                ErrorKind.WRONG_STATE,
            )

    def end(
        self,
        state: model.RunState,
        *,
        outputs: tuple[model.OutputClaim, ...] = (),
        error: str | None = None,
        changed: tuple[str, ...] = (),
        trace: traces.Trace | None = None,
        trust: str | None = None,
    ) -> tuple[model.Output, ...]:
        """Say how the Run ended; answers its outputs.

        `changed` names what it was given and did not stay as it was; `trace` is what it really read, where that counts;
        `trust` is why an output that is known by less than its content may stand for it.
        """
        self._take_what_these_come_from(outputs)
        changed = (*changed, *self._changed_inputs())
        self._close(state)
        report = tickets.report(
            self._ticket,
            self.client.actor,
            state,
            inputs=tuple(self._inputs),
            outputs=outputs,
            metrics=self._metrics,
            warnings=(*self._warnings, *changed, *self._spoilt),
            error=error,
            uncacheable=(*changed, *self._spoilt, *self._kept_back),
            observed=self._observed,
            trace=trace,
            trust=trust,
        )
        try:
            return self.client.writer.finish(report)
        except BaseException:
            self._ended = None
            raise

    def _close(self, state: model.RunState) -> None:
        """Let nothing more be logged, once all that was is durable."""
        while True:
            self.flush()
            with self._guard:
                self._raise_if_ended()
                if not any(self._points.values()):
                    self._ended = state
                    return

    def _changed_inputs(self) -> Iterator[str]:
        for handle in self._lent:
            try:
                handle.raise_if_changed()
            except WhenceError as error:
                yield str(error)
        lent = [handle for handle in self._lent if handle.output.location is not None]
        if not lent:
            return
        seen = places.look(
            [cache.Place(h.version.digest, str(h.output.location), h.version.content.strength) for h in lent]
        )
        gone = {
            (sighting.digest, sighting.location)
            for sighting in seen
            if sighting.standing is not model.Standing.PRESENT
        }
        yield from (
            f"input {handle} is no longer what lies at {handle.output.location}"
            for handle in lent
            if (handle.version.digest, handle.output.location) in gone
        )

    def detach(self) -> None:
        """An attached process is done: what it took and logged is recorded; the Run goes on."""
        self.flush()
        self._add(())

    def begin(self) -> None:
        """Beat for it."""
        self.client.beater.add(self.uid, self.lose_lease)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Ends the Run badly if what is inside raises, and stops beating for it."""
        try:
            yield
        except BaseException as error:
            self.end_badly(error)
            raise
        finally:
            self.client.beater.remove(self.uid)

    def end_badly(self, error: BaseException) -> None:
        """Record that the Run raised. What it raised goes on; a second failure must not hide it."""
        if self._ended is not None or not self.is_own:
            return
        was_ended = isinstance(error, _ABORTING) or loops.is_cancellation(error)
        state = model.RunState.ABORTED if was_ended else model.RunState.FAILED
        try:
            try:
                self.end(state, error=shown(error))
            except (InvalidInput, NotFound) as refused:
                # Not for an input that is refused must the end of the Run be lost.
                self._inputs = []
                self.warn(f"its last inputs were not recorded: {refused}")
                self.end(state, error=shown(error))
        except WhenceError as second:
            error.add_note(f"whence could not record that run {self.id} is {state}: {second}")


def shown(error: BaseException) -> str:
    """What a Run that raised `error` says of it."""
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
        return "preempted: SIGTERM"
    text = "".join(traceback.format_exception_only(error)).strip()
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        text += f"\n  at {Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return text.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def running(recorder: Recorder) -> Iterator[None]:
    """Make a Recorder the current one of this context; SIGTERM ends it as it should."""
    token = _active.set(recorder)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        _in_main_thread.append(recorder)
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # else the program has its own way to end
            signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if in_main_thread:
            _in_main_thread.remove(recorder)
            is_last = not any(around.is_own for around in _in_main_thread)
            if is_last and signal.getsignal(signal.SIGTERM) is _terminate:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _active.reset(token)


def _terminate(number: int, _: types.FrameType | None) -> None:
    raise SystemExit(128 + number)


def _after_fork() -> None:
    """A forked child ends at SIGTERM as it would without us: no Run of its own is there to be ended. A pool's
    worker that waits for work, and has a handler, can miss the signal that is to end it.
    """
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def current() -> Recorder | None:
    """The Run that this code is part of.

    A thread that was started without a context (most are) belongs to what the main thread is inside of;
    to nothing, where that is several Runs at once.
    """
    own = _active.get()
    if own is not None or threading.current_thread() is threading.main_thread():
        return own
    around = list(_in_main_thread)
    nested = all(inner.parent == outer.uid for outer, inner in itertools.pairwise(around))
    return around[-1] if around and nested else None


def current_uid() -> UUID | None:
    """The id of the Run that this code is part of."""
    recorder = current()
    return None if recorder is None else recorder.uid


def owner_of(run: UUID) -> str:
    """Who would hold a reservation for `run`, in words that a waiter can act on."""
    return f"{socket.gethostname()} pid {os.getpid()} run {run}"
