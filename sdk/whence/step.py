"""`@whence.step`: a function whose calls are keyed, reserved, executed or reused, and recorded.

A handle passed in (also in lists and dicts) is an input, one returned is an output, everything else is
a parameter. A call costs two catalog calls; one more after it was told to verify or to wait.
"""

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, ParamSpec, TypeAlias, TypeVar, cast, overload

from whence import (
    arguments,
    calls,
    capture,
    environment,
    fingerprint,
    handles,
    outputs,
    parameters,
    reads,
    recorder,
)
from whence import client as clients
from whence_catalog import cache, digest, model
from whence_catalog.errors import ErrorKind, InvalidInput

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
ModeName: TypeAlias = Literal["reuse", "refresh", "record", "off"]

MODE_VARIABLE = "WHENCE_CACHE"
SALT_VARIABLE = "WHENCE_SALT"
# Set in a room, where a step that another one calls is part of that one and nothing is recorded.
REPLAY_VARIABLE = "WHENCE_REPLAY"
_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", ".whence")


@dataclass(frozen=True, slots=True)
class Options:
    """How a step wants to be treated."""

    cache: model.Mode
    version: str | None
    max_age: timedelta | None
    name: str | None
    max_wait: timedelta | None


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(
    *,
    cache: ModeName = "reuse",
    version: str | None = None,
    max_age: timedelta | float | None = None,
    name: str | None = None,
    max_wait: timedelta | float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    cache: ModeName = "reuse",
    version: str | None = None,
    max_age: timedelta | float | None = None,
    name: str | None = None,
    max_wait: timedelta | float | None = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step. Works on `def` and on `async def`.

    Args:
        cache: `reuse` a recorded result of the same call; `refresh`: execute, and replace it; `record`
            the run and its key, without reuse; `off`: record the run without a key. WHENCE_CACHE overrides it.
        version: identify the code by this text alone, instead of by what runs.
        max_age: how old a result may be; a timedelta, or seconds.
        name: of the job; the module path and name of the function unless given.
        max_wait: how long to wait for another process that computes the same, before computing it too;
            for as long as that one lives, unless given.

    Raises:
        InvalidInput: an option has no meaning, or it is no function that returns what it makes.
    """
    options = Options(
        _mode(cache, "cache"), version, _lasting(max_age, "max_age"), name, _lasting(max_wait, "max_wait")
    )
    if function is not None:
        return _made(function, options)
    return lambda decorated: _made(decorated, options)


def _mode(text: str, where: str) -> model.Mode:
    try:
        return model.Mode(text)
    except ValueError as error:
        raise InvalidInput(f"{where} is {text!r}; it is one of {', '.join(model.Mode)}") from error


def _lasting(value: object, where: str) -> timedelta | None:
    if isinstance(value, int | float) and value >= 0:
        return timedelta(seconds=value)
    if value is None or (isinstance(value, timedelta) and value >= timedelta(0)):
        return value
    raise InvalidInput(f"{where} is {value!r}; it is a timedelta, or a number of seconds, and not negative")


def _made(function: Callable[P, R], options: Options) -> Callable[P, R]:
    _refuse_other_callables(function)
    signature = inspect.signature(function)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> object:
            if REPLAY_VARIABLE in os.environ:
                return await cast("Awaitable[object]", function(*args, **kwargs))
            call = _Call(function, options, signature.bind(*args, **kwargs))
            with call.scope:
                asked = await _off_loop(call.ask)
                while isinstance(asked, _Pause):
                    await asyncio.sleep(asked.seconds)
                    asked = await _off_loop(call.ask)
                if isinstance(asked, _Reused):
                    answer = await _off_loop(functools.partial(call.rebuild, asked))
                else:
                    with recorder.running(asked):
                        with call.watched():
                            made = await cast(
                                "Awaitable[object]", function(*call.bound.args, **call.bound.kwargs)
                            )
                        answer = await _off_loop(functools.partial(call.complete, made))
            return answer

        return cast("Callable[P, R]", call_async)

    @functools.wraps(function)
    def call_step(*args: P.args, **kwargs: P.kwargs) -> R:
        if REPLAY_VARIABLE in os.environ:
            return function(*args, **kwargs)
        call = _Call(function, options, signature.bind(*args, **kwargs))
        with call.scope:
            while isinstance(asked := call.ask(), _Pause):
                time.sleep(asked.seconds)
            if isinstance(asked, _Reused):
                answer = call.rebuild(asked)
            else:
                with recorder.running(asked):
                    with call.watched():
                        made = function(*call.bound.args, **call.bound.kwargs)
                    answer = call.complete(made)
        return cast("R", answer)

    return call_step


def _refuse_other_callables(function: object) -> None:
    yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if yields or not inspect.isroutine(function):
        raise InvalidInput(
            f"{function!r} cannot be a step: a step is a function that returns what it makes, once",
            ErrorKind.UNSUPPORTED_VALUE,
        )


async def _off_loop(work: Callable[[], T]) -> T:
    """`work` in a thread, since the catalog's calls block and the event loop must not.

    It is never left half way: whoever is cancelled waits for the end of it.
    """
    going = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(going)
    except asyncio.CancelledError:
        while not going.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([going])
        raise


@dataclass(frozen=True, slots=True)
class _Reused:
    """The outputs of the Run whose result is handed out again."""

    outputs: tuple[model.Output, ...]


@dataclass(frozen=True, slots=True)
class _Pause:
    """Somebody else computes it: ask again after a while."""

    seconds: float


class _Call:
    """One call of a step, from its arguments to its recorded outputs."""

    def __init__(
        self, function: Callable[..., object], options: Options, bound: inspect.BoundArguments
    ) -> None:
        bound.apply_defaults()
        self.function = function
        self.options = options
        self.bound = bound
        self.client = clients.current()
        self.root = project_root(function)
        self._arguments = arguments.Arguments()
        self._call: model.Call | None = None
        self._recorder: recorder.Recorder | None = None
        # Left when the call is over; ends the Run badly, where one was begun and not ended.
        self.scope = contextlib.ExitStack()
        self._asked_since = time.monotonic()

    # ── begin ────────────────────────────────────────────────────────────────────────────────────

    def ask(self) -> recorder.Recorder | _Reused | _Pause:
        """What this call is to do: execute under a Recorder, hand out what was made before, or wait."""
        if self._call is None:
            self._call = self._described()
        while True:
            answer = self.client.writer.reserve(self._call)
            match answer:
                case cache.Verify():
                    self._verify(self._call, answer)
                case cache.Wait():
                    return self._wait(self._call, answer)
                case cache.Reuse():
                    return _Reused(answer.outputs)
                case cache.Execute():
                    return self._begin(self._call, answer)

    def _verify(self, call: model.Call, answer: cache.Verify) -> None:
        present, missing, altered = self.client.look(answer.unknown, answer.trees)
        self._call = dataclasses.replace(
            call,
            present=call.present | present,
            missing=call.missing | missing,
            altered=call.altered | altered,
        )

    def _wait(self, call: model.Call, answer: cache.Wait) -> _Pause:
        waited = time.monotonic() - self._asked_since
        limit = self.options.max_wait
        if limit is not None and waited >= limit.total_seconds():
            # It may be computed twice now; nothing is published from here without the lease.
            why = f"waited {waited:.0f} s for {answer.holder}"
            self._call = dataclasses.replace(call, mode=model.Mode.RECORD, uncacheable=(why,))
            return _Pause(0)
        # What was seen of the outputs is of before the wait.
        self._call = dataclasses.replace(call, present=frozenset(), missing=frozenset(), altered=frozenset())
        pause = min(0.05 + waited / 10, 1.0)
        return _Pause(pause if limit is None else min(pause, limit.total_seconds() - waited))

    def _begin(self, call: model.Call, answer: cache.Execute) -> recorder.Recorder:
        began = recorder.Recorder(self.client, cast("model.Run", answer.run), call.owner, answer.token)
        self._recorder = began
        began.took(call.inputs)
        for _, _, handle in self._arguments.inputs:
            began.lend(handle)
        began.begin()
        self.scope.enter_context(began.recorded())
        return began

    def _described(self) -> model.Call:
        mode = _mode(os.environ.get(MODE_VARIABLE) or self.options.cache.value, MODE_VARIABLE)
        taken = arguments.take_apart(self.bound, self.root, self._record_draft)
        code = fingerprint.code_identity(self.function, self.root, list(self.bound.arguments.values()))
        self.bound.arguments.update(taken.values)
        self._arguments = taken
        components: tuple[model.Component, ...] = ()
        uncacheable = tuple(taken.refused)
        if mode is not model.Mode.OFF:
            uncacheable += code.uncacheable if self.options.version is None else ()
            components = () if uncacheable else (*self._components(code), *taken.components())
        for _, _, handle in taken.inputs:
            self.client.expect(handle)
        run = calls.new_uid()
        return model.Call(
            run=run,
            project=self.client.project,
            job=self._job(),
            actor=self.client.actor,
            mode=mode,
            params={name: parameters.keep(value, self.client.blobs) for name, value in taken.params.items()},
            inputs=taken.claims,
            key=cache.key(components) if components else None,
            components=components,
            uncacheable=uncacheable,
            parent=recorder.current_uid(),
            capture=self._captured(code, taken),
            claimed_at=datetime.now(UTC),
            owner=recorder.owner_of(run),
            max_age=self.options.max_age,
            # A stat of a local file costs less than believing what was true a while ago.
            presence_age=timedelta(0) if self.client.blobs.is_local else timedelta(hours=1),
        )

    def _captured(self, code: fingerprint.CodeIdentity, taken: arguments.Arguments) -> model.Capture:
        captured = capture.capture(self.client, self.function, self.root, code)
        obstacles = [
            *taken.refused,
            *(
                f"{where} is the path of {file.path.name}, whose bytes were not kept; hand it in as an artifact"
                for where, file in taken.files.items()
            ),
        ]
        if not obstacles or not captured.rerunnable:
            return captured
        return dataclasses.replace(captured, rerunnable=False, because="; ".join(obstacles))

    def _record_draft(self, draft: handles.Handle) -> handles.Handle:
        """A draft among the arguments is recorded first, since an input is a Version."""
        outer = recorder.current()
        return self.client.publish_draft(draft) if outer is None else outer.hand_on(draft)

    def _components(self, code: fingerprint.CodeIdentity) -> Iterator[model.Component]:
        job, runs_in = self._job(), dict(environment.key_environment(environment.capture(self.root)))
        signature = inspect.signature(self.function)
        shape: list[digest.Framed] = [
            [p.name, p.kind.name, p.default is not inspect.Parameter.empty]
            for p in signature.parameters.values()
        ]
        yield cache.component("scope", self.client.project, preview=self.client.project)
        yield cache.component("job", job, preview=job)
        yield cache.component("signature", shape, preview=str(signature))
        yield cache.component("environment", runs_in, preview=parameters.preview(runs_in))
        if self.options.version is None:
            shown = "\n".join(f"{symbol} {raw.hex()[:16]}" for symbol, raw in sorted(code.rows.items()))
            yield cache.component("code", dict(code.rows), preview=shown)
        else:
            stated = {"version": digest.raw_digest_of("whence.version/1", self.options.version)}
            yield cache.component("code", stated, preview=f"version {self.options.version}")
        if salt := os.environ.get(SALT_VARIABLE):
            yield cache.component("salt", salt, preview=parameters.preview(salt))

    def _job(self) -> str:
        return self.options.name or fingerprint.job_name(self.function, self.root)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around the call of the function and nothing else: what it does is watched, and told however it ends."""
        began = cast("recorder.Recorder", self._recorder)
        with reads.watched(model.Watching.OFF, self.root) as watch:
            try:
                yield
            finally:
                began.saw(watch.seen(), watch.uncacheable())

    # ── end ──────────────────────────────────────────────────────────────────────────────────────

    def rebuild(self, reused: _Reused) -> object:
        """What the caller of the origin got."""
        return outputs.rebuild(reused.outputs, self.client, self.root)

    def complete(self, made: object) -> object:
        """Record what the function returned; answers what its caller gets."""
        began = cast("recorder.Recorder", self._recorder)
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            plan = outputs.take_apart(made, self._job(), self.root)
            claims = outputs.store(plan, self.client, Path(folder))
            recorded = began.end(model.RunState.COMPLETE, outputs=claims, changed=self._arguments.changed())
        return outputs.handed_back(plan, recorded, self.client, self.root)


def project_root(function: Callable[..., object]) -> Path:
    """The folder of the project that a function belongs to: the nearest one upwards that looks like one."""
    file = inspect.unwrap(function).__code__.co_filename
    folder = Path(file).resolve().parent if os.path.exists(file) else Path.cwd()
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in _MARKERS):
            return candidate
    return folder
