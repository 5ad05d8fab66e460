"""`@whence.step`: a function whose calls are keyed, reserved, executed or reused, and recorded.

A handle passed in (also in lists and dicts) is an input, one returned is an output, everything else is
a parameter. A call costs two catalog calls; one more after it was told to verify or to wait. It goes through
the split form (`split`): what a call is, is described in one place for all (`described`).
"""

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast, overload

from whence import (
    connecting,
    described,
    executed,
    folders,
    further,
    handles,
    modes,
    outputs,
    reads,
    recorder,
    split,
    tracked,
)
from whence_catalog import cache, digest, model, observation, traces
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Set in a room, where a step that another one calls is part of that one and nothing is recorded.
REPLAY_VARIABLE = "WHENCE_REPLAY"


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(
    *,
    cache: modes.ModeName = "reuse",
    version: str | None = None,
    code: described.Image | described.Bundle | None = None,
    max_age: timedelta | float | None = None,
    name: str | None = None,
    max_wait: timedelta | float | None = None,
    on_max_wait: described.OnMaxWait = "execute",
    verify_rate: float = 0.0,
    environment: str | Mapping[str, str] = "python",
    seed: object = None,
    variables: Sequence[str] = (),
    files: Sequence[str] = (),
    extra: Mapping[str, object] = described.NOTHING,
    ignore: Sequence[str] = (),
    trust: str | None = None,
    reads: reads.ReadsName | None = None,
    tracked: Sequence[str] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    cache: modes.ModeName = "reuse",
    version: str | None = None,
    code: described.Image | described.Bundle | None = None,
    max_age: timedelta | float | None = None,
    name: str | None = None,
    max_wait: timedelta | float | None = None,
    on_max_wait: described.OnMaxWait = "execute",
    verify_rate: float = 0.0,
    environment: str | Mapping[str, str] = "python",
    seed: object = None,
    variables: Sequence[str] = (),
    files: Sequence[str] = (),
    extra: Mapping[str, object] = described.NOTHING,
    ignore: Sequence[str] = (),
    trust: str | None = None,
    reads: reads.ReadsName | None = None,
    tracked: Sequence[str] = (),
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step. Works on `def` and on `async def`.

    Args:
        cache: `reuse` a recorded result of the same call; `refresh`: execute, and replace it; `record`
            the run and its key, without reuse; `off`: record the run without a key. WHENCE_CACHE overrules it.
        version: identify the code by this text alone, instead of by what runs.
        code: identify it by this `Image` or `Bundle`, instead.
        max_age: how old a result may be; a timedelta, or seconds.
        name: of the job; the module path and name of the function unless given.
        max_wait: how long to wait for another process that computes the same; for as long as that one
            lives, unless given.
        on_max_wait: what then: `execute` it beside the other, publishing nothing, or `fail`.
        verify_rate: the share of hits, 0 to 1, that are executed all the same, and compared.
        environment: what of the place counts: the `python` minor version and the image; `packages`: every
            installed distribution, too; or names and values of your own.
        seed: of what is random in it.
        variables: environment variables that its result depends on.
        files: that its result depends on, by their paths from the root of the project.
        extra: further values that its result depends on, by name.
        ignore: names of arguments that its result does not depend on.
        trust: why an image's bare tag, or an input that is known by less than its content, may be taken for
            what it names. It is recorded.
        reads: `note` what it touches that is no part of its key: files, network, programs, environment
            variables; `strict`: and publish nothing of a run that touched such, or where something was out
            of sight; `off`: do not look. As WHENCE_READS says, else `note`, unless given.
        tracked: names of arguments of which only what the function really asks counts: it is handed a view of
            each, a read-only Mapping or Sequence, or of a folder what reads like a path, and is reused for as long as
            every question has the same answer.

    Raises:
        InvalidInput: an option has no meaning, or it is no function that returns what it makes.
    """
    if version is not None and code is not None:
        raise InvalidInput("a step is given a version, or other code that stands for it, not both")
    modes.mode(cache, "cache")
    options = described.Call(
        job=name or "",
        code=version if version is not None else code,
        mode=cache,
        max_age=max_age,
        max_wait=max_wait,
        on_max_wait=on_max_wait,
        verify_rate=verify_rate,
        environment=environment,
        seed=seed,
        variables=tuple(variables),
        files=tuple(files),
        extra=dict(extra),
        ignore=tuple(ignore),
        trust=trust,
        reads=reads,
        tracked=tuple(tracked),
    )
    if function is not None:
        return _made(function, options)
    return lambda decorated: _made(decorated, options)


def _made(function: Callable[P, R], options: described.Call) -> Callable[P, R]:
    _refuse_other_callables(function)
    signature = inspect.signature(function)

    def called(*args: P.args, **kwargs: P.kwargs) -> described.Call:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return described.of_function(options, function, bound.arguments)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> object:
            if REPLAY_VARIABLE in os.environ:
                return await cast("Awaitable[object]", function(*args, **kwargs))
            call = _Call(called(*args, **kwargs), signature)
            with call.scope:
                asked = await _off_loop(call.ask)
                while isinstance(asked, split.Wait):
                    await asyncio.sleep(asked.seconds)
                    asked = await _off_loop(call.ask)
                if isinstance(asked, split.Reuse):
                    answer = await _off_loop(functools.partial(call.rebuild, asked))
                else:
                    with recorder.running(asked):
                        with call.watched():
                            made = await cast("Awaitable[object]", call.run(function))
                        answer = await _off_loop(functools.partial(call.complete, made))
            return answer

        described.attach(call_async, called)
        return cast("Callable[P, R]", call_async)

    @functools.wraps(function)
    def call_step(*args: P.args, **kwargs: P.kwargs) -> R:
        if REPLAY_VARIABLE in os.environ:
            return function(*args, **kwargs)
        call = _Call(called(*args, **kwargs), signature)
        with call.scope:
            while isinstance(asked := call.ask(), split.Wait):
                time.sleep(asked.seconds)
            if isinstance(asked, split.Reuse):
                answer = call.rebuild(asked)
            else:
                with recorder.running(asked):
                    with call.watched():
                        made = call.run(function)
                    answer = call.complete(made)
        return cast("R", answer)

    described.attach(call_step, called)
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


class _Call:
    """One call of a step, from its arguments to its recorded outputs."""

    def __init__(self, call: described.Call, signature: inspect.Signature) -> None:
        self.client = connecting.current()
        self.root = call.folder
        self._signature = signature
        self._job = call.job
        self._opening = split.Opening(self.client, call)
        self._watching = call.watching
        self._around = reads.current()
        self._recorder: recorder.Recorder | None = None
        self._log: tracked.Log | None = None
        # Left when the call is over; ends the Run badly, where one was begun and not ended.
        self.scope = contextlib.ExitStack()

    @reads.unwatched
    def ask(self) -> recorder.Recorder | split.Reuse | split.Wait:
        """What this call is to do: execute under a Recorder, hand out what was made before, or wait."""
        answer = self._opening.ask()
        while isinstance(answer, split.Verify) and self._opening.look_elsewhere():
            answer = self._opening.ask()
        if isinstance(answer, split.Verify):
            raise NotFound(
                f"who made {self._job} put it at {', '.join(answer.locations)}, which only that system can look at;"
                " call it there, or with cache='refresh'",
                ErrorKind.NO_SUCH_FILE,
            )
        is_reused = isinstance(answer, split.Reuse)
        if is_reused and self._around is not None and self._watching is not model.Watching.STRICT:
            self._around.miss(f"{self._job} was reused in it, and what that one read is not told here")
        return self._begin(answer) if isinstance(answer, split.Execute) else answer

    def _begin(self, answer: split.Execute) -> recorder.Recorder:
        began = recorder.Recorder(self.client, cast("model.Run", answer.begun), answer.ticket)
        self._recorder = began
        began.took(self._opening.description.call.inputs)
        for _, _, handle in self._opening.description.arguments.inputs:
            began.lend(handle)
        began.begin()
        self.scope.enter_context(began.recorded())
        return began

    def run(self, function: Callable[..., T]) -> T:
        """Call the function with its arguments, of which every draft was recorded."""
        bound = inspect.BoundArguments(self._signature, cast("Any", self._handed()))
        return function(*bound.args, **bound.kwargs)

    def _handed(self) -> dict[str, object]:
        """The arguments, with a view in place of each that is tracked."""
        given, known = self._opening.description.arguments.values, self._opening.description.tracked
        if not known:
            return given
        log = self._log = tracked.Log(known)
        return {**given, **{name: self._viewed(given[name], name, log) for name in known}}

    def _viewed(self, value: object, name: str, log: tracked.Log) -> object:
        framed = self._opening.description.tracked[name]
        if isinstance(framed, traces.Folder):
            return folders.view(cast("handles.Handle", value), framed, name, log)
        return tracked.view(value, cast("digest.Framed", framed), name, log)

    def _trace(self) -> traces.Trace | None:
        """What it really read of what is tracked; nothing can be read of that any more."""
        if self._log is None:
            return None
        seen, call = self._log.end(), self._opening.description.call
        return cache.trace_of(call.components, self._opening.call.tracked, seen) if call.key else None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around the call of the function and nothing else: what it does is watched, and told however it ends."""
        began = cast("recorder.Recorder", self._recorder)
        described = self._opening.description
        covered = reads.cover(
            self.client, self.root, described.files, described.folders, self._opening.call.variables
        )
        watch = None
        try:
            with (
                reads.watched(self._watching, covered) as watch,
                executed.compared(described.code, self.root) as comparison,
            ):
                yield
        finally:
            if watch is not None:
                if comparison.missed:
                    further.keep(os.path.realpath(self.root), self._job, comparison.missed)
                seen = dataclasses.replace(
                    watch.seen(began.lent), covered=comparison.covered, holes=comparison.holes
                )
                began.saw(seen, observation.reasons(seen))

    # ── end ──────────────────────────────────────────────────────────────────────────────────────

    @reads.unwatched
    def rebuild(self, reused: split.Reuse) -> object:
        """What the caller of the origin got."""
        return outputs.rebuild(reused.productions, self.client, self.root)

    @reads.unwatched
    def complete(self, made: object) -> object:
        """Record what the function returned; answers what its caller gets."""
        began = cast("recorder.Recorder", self._recorder)
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            plan = outputs.take_apart(tracked.whole(made), self._job, self.root)
            claims = outputs.store(plan, self.client, Path(folder))
            changed = self._opening.description.arguments.changed()
            trace = self._trace()
            recorded = began.end(
                model.RunState.COMPLETE,
                outputs=claims,
                changed=changed,
                trace=trace,
                trust=self._opening.call.trust,
            )
        return outputs.handed_back(plan, recorded, self.client, self.root)
