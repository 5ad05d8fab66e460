"""Records one Run: what a `with` block or a step speaks to while it runs.

A Run is begun by one catalog call and ended by another. What the block publishes is recorded at once,
so that others can take it by number while the Run goes on.
"""

import contextlib
import contextvars
import os
import signal
import socket
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from whence import beater, calls, handles, parameters
from whence_catalog import cache, catalog, model
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, WhenceError

if TYPE_CHECKING:
    from whence.client import Client

RUN_VARIABLE = "WHENCE_RUN"
_FLUSH_POINTS = 1000
_FLUSH_SECONDS = 2.0

_active: "contextvars.ContextVar[Recorder | None]" = contextvars.ContextVar("whence_run", default=None)
_beaters: dict[int, beater.Beater] = {}


class Recorder:
    """A Run that is going on. Use it inside its `with` block, from any thread of the process."""

    def __init__(self, client: "Client", run: model.Run, owner: str = "", token: int | None = None) -> None:
        self.client = client
        self._run = run
        self._owner = owner
        self._token = token
        self._guard = threading.Lock()
        self._ended: model.RunState | None = None
        self._lease_lost = False
        self._inputs: list[model.InputClaim] = []
        self._lent: list[handles.Handle] = []
        self._roles: set[str] = set()
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
        return {RUN_VARIABLE: self.id, "WHENCE_URL": self.client.url}

    @property
    def lease_lost(self) -> bool:
        """Whether another process may be computing the same: what this one makes will not be cached."""
        return self._lease_lost

    def use(self, what: str | handles.Handle, *, role: str | None = None) -> handles.Handle:
        """Take an input: a reference such as `dataset:images@latest`, or a handle. Answers a handle of it.

        Args:
            role: what the Run takes it as; the artifact's name unless given.

        Raises:
            NotFound: with near names.
        """
        self._raise_if_ended()
        handle = self.client.get(what) if isinstance(what, str) else self.published(what)
        self._take(handle, role or handle.name)
        return handle

    def publish(
        self,
        what: str | handles.Handle,
        content: object = None,
        *,
        role: str | None = None,
        metrics: Mapping[str, float] | None = None,
        metadata: Mapping[str, object] | None = None,
        description: str | None = None,
        derived_from: Sequence[handles.Handle] | None = None,
    ) -> handles.Handle:
        """Record an output: `publish("model:digits", folder)`. Answers a handle of its Version.

        Args:
            what: kind and name, or a draft such as `whence.model("digits", folder)`.
            content: a path to a file or folder, bytes, a table, an array, a plain value.
            role: what the Run makes it as; the artifact's name unless given.
            derived_from: the inputs that it really came from; absent means that nobody says.
        """
        self._raise_if_ended()
        if isinstance(what, str):
            named = model.Reference.parse(what, self.client.project)
            if named.selector is not None:
                raise InvalidInput(
                    f"{what} selects a version; publishing makes one: name {named.artifact} alone",
                    ErrorKind.BAD_REFERENCE,
                )
            what = handles.draft(
                named.artifact.kind,
                named.artifact.name,
                content,
                metrics=metrics,
                metadata=metadata,
                description=description,
                derived_from=derived_from,
            )
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            claim = self.client.store(what, role=self._new_role(role or what.name), folder=Path(folder))
        addition = model.Addition(
            calls.new_uid(), self.uid, self.client.actor, inputs=self._taken(), outputs=(claim,)
        )
        (output,) = calls.one(self.client.catalog.add([addition]))
        return handles.bound(output, self.client)

    def published(self, handle: handles.Handle) -> handles.Handle:
        """The handle, recorded as an output of this Run first if it is a draft."""
        return self.publish(handle) if handle.is_draft else handle

    def log(self, step: int | None = None, **series: float) -> None:
        """Append points to metric series: `run.log(step=10, loss=0.3)`. Flushed every two seconds.

        Args:
            step: where on the series the points lie; one more than the last unless given.

        Raises:
            InvalidInput: a value is not a number. NaN and infinities are numbers.
        """
        self._raise_if_ended()
        numbers = {name: _number(name, value) for name, value in series.items()}
        with self._guard:
            for name, value in numbers.items():
                points = self._points.setdefault(name, [])
                points.append((step if step is not None else self._next_step(name), value))
                self._metrics[name] = value
            many = sum(len(points) for points in self._points.values())
            due = many >= _FLUSH_POINTS or time.monotonic() - self._flushed_at >= _FLUSH_SECONDS
        if due:
            self.flush()

    def flush(self) -> None:
        """Make durable what was logged so far."""
        with self._guard:
            points = {name: tuple(rows) for name, rows in self._points.items() if rows}
            for name, rows in points.items():
                self._points[name] = []
                self._next_steps[name] = rows[-1][0] + 1
            self._flushed_at = time.monotonic()
        if points:
            series = model.Series(calls.new_uid(), self.uid, self.client.actor, points)
            calls.one(self.client.catalog.log([series]))

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

    def lose_lease(self) -> None:
        """Told by the beater: the lease on the key is lost."""
        self._lease_lost = True

    def reserve_roles(self, roles: Sequence[str]) -> None:
        """These input roles are taken."""
        self._roles |= {f"in {role}" for role in roles}

    def _take(self, handle: handles.Handle, role: str) -> None:
        with self._guard:
            if f"in {role}" in self._roles:
                raise InvalidInput(f"the run already takes an input as {role!r}; give this one role=…")
            self._roles.add(f"in {role}")
            self._inputs.append(model.InputClaim(role, handle.source))
            self._lent.append(handle)

    def _new_role(self, role: str) -> str:
        with self._guard:
            if f"out {role}" in self._roles:
                raise InvalidInput(f"the run already made an output as {role!r}; give this one role=…")
            self._roles.add(f"out {role}")
            return role

    def _taken(self) -> tuple[model.InputClaim, ...]:
        with self._guard:
            taken, self._inputs = tuple(self._inputs), []
            return taken

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
        uncacheable: tuple[str, ...] = (),
    ) -> catalog.Finished:
        """Say how the Run ended."""
        self._raise_if_ended()
        self.flush()
        changed = tuple(self._changed_inputs())
        report = model.Report(
            uid=calls.new_uid(),
            run=self.uid,
            state=state,
            actor=self.client.actor,
            inputs=self._taken(),
            outputs=outputs,
            metrics=dict(self._metrics),
            warnings=(*self._warnings, *changed),
            error=error,
            token=self._token,
            owner=self._owner,
            uncacheable=(*uncacheable, *changed),
            claimed_at=datetime.now(UTC),
        )
        finished = calls.one(self.client.catalog.finish_runs([report]))
        self._ended = state
        return finished

    def _changed_inputs(self) -> Iterator[str]:
        for handle in self._lent:
            try:
                handle.raise_if_changed()
            except WhenceError as error:
                yield str(error)

    def detach(self) -> None:
        """An attached process is done: what it took and logged is recorded; the Run goes on."""
        self.flush()
        taken = self._taken()
        if taken:
            addition = model.Addition(calls.new_uid(), self.uid, self.client.actor, inputs=taken)
            calls.one(self.client.catalog.add([addition]))

    def begin(self) -> None:
        """Beat for it."""
        _beater(self.client.catalog).add(self.uid, self.lose_lease)

    def cease(self) -> None:
        """Stop beating for it."""
        _beater(self.client.catalog).remove(self.uid)


class Block:
    """The `with` form: begun on entry, ended on exit; failed or aborted if the block raises."""

    def __init__(self, client: "Client", call: model.Call | None, attached: UUID | None = None) -> None:
        self._client = client
        self._call = call
        self._attached = attached
        self._recorder: Recorder | None = None
        self._scopes = contextlib.ExitStack()

    def __enter__(self) -> Recorder:
        if self._attached is not None:
            record = self._client.catalog.run(str(self._attached))
            self._recorder = Recorder(self._client, record.run)
        else:
            answer = calls.one(self._client.catalog.reserve([cast("model.Call", self._call)]))
            run = cast("cache.Execute", answer).run
            self._recorder = Recorder(self._client, cast("model.Run", run))
            self._recorder.begin()
        self._scopes.enter_context(running(self._recorder))
        return self._recorder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        recorder = cast("Recorder", self._recorder)
        self._scopes.close()
        if self._attached is not None:
            recorder.detach()
            return
        try:
            if error is None:
                recorder.end(model.RunState.COMPLETE)
            else:
                end_badly(recorder, error)
        finally:
            recorder.cease()


def begin_block(
    client: "Client",
    job: str,
    params: Mapping[str, object],
    labels: Mapping[str, str],
    retry_of: UUID | None,
) -> Block:
    """A block that records a Run of `job`.

    Raises:
        InvalidInput: a parameter has no canonical form.
    """
    canonical = parameters.Canonical(Path.cwd())
    call = model.Call(
        run=calls.new_uid(),
        project=client.project,
        job=job,
        actor=client.actor,
        params={name: canonical.of(value, name) for name, value in params.items()},
        parent=current_uid(),
        retry_of=retry_of,
        labels=dict(labels),
        capture=model.Capture(because="it was recorded as a block of code, not as a step"),
        claimed_at=datetime.now(UTC),
    )
    return Block(client, call)


def attach(client: "Client") -> Block:
    """A block that adds to the Run that WHENCE_RUN names.

    Raises:
        InvalidInput: there is none.
    """
    named = os.environ.get(RUN_VARIABLE)
    if not named:
        raise InvalidInput(f"{RUN_VARIABLE} names no run; start this process with env=run.env of the owner")
    return Block(client, None, attached=UUID(named))


def end_badly(recorder: Recorder, error: BaseException) -> None:
    """Record that a Run raised. What it raised goes on; a second failure must not hide it."""
    aborted = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
    state = model.RunState.ABORTED if aborted else model.RunState.FAILED
    shown = "".join(traceback.format_exception_only(error)).strip()
    where = traceback.extract_tb(error.__traceback__)[-1:]
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
        shown = "preempted: SIGTERM"
    text = shown + "".join(
        f"\n  at {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in where
    )
    try:
        recorder.end(state, error=text.encode("utf-8", "backslashreplace").decode())
    except WhenceError as second:
        error.add_note(f"whence could not record that run {recorder.id} is {state}: {second}")


@contextlib.contextmanager
def running(recorder: Recorder) -> Iterator[None]:
    """Make a Recorder the current one of this context; SIGTERM ends it as it should."""
    token = _active.set(recorder)
    restore = _catch_termination()
    try:
        yield
    finally:
        if restore:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _active.reset(token)


def _catch_termination() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False  # the program has its own way to end
    signal.signal(signal.SIGTERM, _terminate)
    return True


def _terminate(number: int, _: types.FrameType | None) -> None:
    raise SystemExit(128 + number)


def current() -> Recorder | None:
    """The Run that this code is part of."""
    return _active.get()


def current_uid() -> UUID | None:
    """The id of the Run that this code is part of."""
    recorder = _active.get()
    return None if recorder is None else recorder.uid


def owner_of(run: UUID) -> str:
    """Who would hold a reservation for `run`, in words that a waiter can act on."""
    return f"{socket.gethostname()} pid {os.getpid()} run {run}"


def _beater(of: catalog.Catalog) -> beater.Beater:
    if id(of) not in _beaters:
        _beaters[id(of)] = beater.Beater(of)
    return _beaters[id(of)]


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"metric {name!r} is {value!r}, not a number") from error
