"""`@whence.step`: a function whose calls are keyed, reserved, executed or reused, and recorded.

A handle passed in (also in lists and dicts) is an input, one returned is an output, everything else is
a parameter. A call costs two catalog calls; one more after it was told to verify or to wait.
"""

import asyncio
import dataclasses
import functools
import inspect
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, ParamSpec, TypeAlias, TypeVar, cast, overload

from whence import calls, capture, environment, fingerprint, handles, outputs, parameters, recorder
from whence import client as clients
from whence_catalog import cache, digest, model
from whence_catalog.errors import InvalidInput

P = ParamSpec("P")
R = TypeVar("R")
ModeName: TypeAlias = Literal["reuse", "refresh", "record", "off"]

MODE_VARIABLE = "WHENCE_CACHE"
SALT_VARIABLE = "WHENCE_SALT"
# Set in a room, where a step that another one calls is part of that one and nothing is recorded.
REPLAY_VARIABLE = "WHENCE_REPLAY"
_LARGEST_PARAMETER_BYTES = 64 * 1024
_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", ".whence")


@dataclass(frozen=True, slots=True)
class Options:
    """How a step wants to be treated."""

    cache: model.Mode
    version: str | None
    max_age: timedelta | None
    name: str | None
    max_wait: timedelta | None


@dataclass(slots=True)
class Arguments:
    """A call's arguments, apart: inputs by role, parameters in canonical form, and what has no such form."""

    inputs: list[tuple[str, int, handles.Handle]] = field(default_factory=list)
    params: dict[str, digest.Framed] = field(default_factory=dict)
    previews: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


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
        InvalidInput: an option has no meaning.
    """
    options = Options(_mode(cache, "cache"), version, _lasting(max_age), name, _lasting(max_wait))
    if function is not None:
        return _made(function, options)
    return lambda decorated: _made(decorated, options)


def _mode(text: str, where: str) -> model.Mode:
    try:
        return model.Mode(text)
    except ValueError as error:
        raise InvalidInput(f"{where} is {text!r}; it is one of {', '.join(model.Mode)}") from error


def _lasting(value: timedelta | float | None) -> timedelta | None:
    return timedelta(seconds=value) if isinstance(value, int | float) else value


def _made(function: Callable[P, R], options: Options) -> Callable[P, R]:
    signature = inspect.signature(function)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> object:
            if REPLAY_VARIABLE in os.environ:
                return await cast("Awaitable[object]", function(*args, **kwargs))
            # The catalog's calls block; the event loop must not.
            call = _Call(function, options, signature.bind(*args, **kwargs))
            reused = await asyncio.to_thread(call.open)
            if reused is not None:
                return reused.value
            with call.ending(), recorder.running(call.recorder):
                coroutine = cast("Awaitable[object]", function(*call.bound.args, **call.bound.kwargs))
                made = await coroutine
                return await asyncio.to_thread(call.complete, made)

        return cast("Callable[P, R]", call_async)

    @functools.wraps(function)
    def call_step(*args: P.args, **kwargs: P.kwargs) -> R:
        if REPLAY_VARIABLE in os.environ:
            return function(*args, **kwargs)
        call = _Call(function, options, signature.bind(*args, **kwargs))
        reused = call.open()
        if reused is not None:
            return cast("R", reused.value)
        with call.ending(), recorder.running(call.recorder):
            return cast("R", call.complete(function(*call.bound.args, **call.bound.kwargs)))

    return call_step


@dataclass(frozen=True, slots=True)
class _Reused:
    """What a reused call answers; it may be None."""

    value: object


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
        self.started_under = recorder.current()
        self.recorder: recorder.Recorder
        self._files: dict[str, Path] = {}
        self._file_digests: dict[str, digest.Digest] = {}

    # ── begin ────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> _Reused | None:
        """Ask what this call is to do, and begin it; None: execute."""
        call = self._call()
        asked_since = time.monotonic()
        while True:
            answer = calls.one(self.client.catalog.reserve([call]))
            match answer:
                case cache.Verify():
                    present, missing, altered = self.client.look(answer.unknown, answer.trees)
                    call = dataclasses.replace(
                        call,
                        present=call.present | present,
                        missing=call.missing | missing,
                        altered=call.altered | altered,
                    )
                case cache.Wait():
                    call = self._wait(call, answer, asked_since)
                case cache.Reuse():
                    return _Reused(outputs.rebuild(answer.outputs, self.client, self.root))
                case cache.Execute():
                    self.recorder = recorder.Recorder(
                        self.client, cast("model.Run", answer.run), call.owner, answer.token
                    )
                    self._lend()
                    self.recorder.begin()
                    return None

    def _wait(self, call: model.Call, answer: cache.Wait, since: float) -> model.Call:
        waited = time.monotonic() - since
        if self.options.max_wait is not None and waited >= self.options.max_wait.total_seconds():
            # It may be computed twice now; nothing is published from here without the lease.
            why = f"waited {waited:.0f} s for {answer.holder}"
            return dataclasses.replace(call, mode=model.Mode.RECORD, uncacheable=(why,))
        time.sleep(min(0.05 + waited / 10, 1.0))
        return dataclasses.replace(call, present=frozenset(), missing=frozenset(), altered=frozenset())

    def _call(self) -> model.Call:
        mode = _mode(os.environ.get(MODE_VARIABLE) or self.options.cache.value, MODE_VARIABLE)
        job = self._job()
        arguments = self._arguments()
        code = self._code()
        captured = capture.capture(self.client, self.function, self.root, code)
        components: list[model.Component] = []
        uncacheable = tuple(arguments.refused)
        if mode is not model.Mode.OFF:
            uncacheable += code.uncacheable if self.options.version is None else ()
            components = self._components(job, arguments, code)
        if arguments.refused and captured.rerunnable:
            captured = dataclasses.replace(captured, rerunnable=False, because="; ".join(arguments.refused))
        run = calls.new_uid()
        return model.Call(
            run=run,
            project=self.client.project,
            job=job,
            actor=self.client.actor,
            mode=mode,
            params={name: self._kept(value) for name, value in arguments.params.items()},
            inputs=tuple(
                model.InputClaim(role, handle.source, ordinal) for role, ordinal, handle in arguments.inputs
            ),
            key=cache.key(components) if components and not uncacheable else None,
            components=tuple(components) if not uncacheable else (),
            uncacheable=uncacheable,
            parent=recorder.current_uid(),
            capture=captured,
            claimed_at=datetime.now(UTC),
            owner=recorder.owner_of(run),
            max_age=self.options.max_age,
            # A stat of a local file costs less than believing what was true a while ago.
            presence_age=timedelta(0) if self.client.blobs.is_local else timedelta(hours=1),
        )

    def _code(self) -> fingerprint.CodeIdentity:
        return fingerprint.code_identity(self.function, self.root)

    def _arguments(self) -> Arguments:
        """Take the arguments apart; drafts among them are recorded first, since an input is a Version."""
        found = Arguments()
        canonical = parameters.Canonical(self.root, found.files)
        for name, value in self.bound.arguments.items():
            self.bound.arguments[name], marked = self._take(found, name, value)
            if isinstance(value, handles.Handle):
                continue
            found.previews[name] = parameters.preview(value)
            try:
                found.params[name] = canonical.of(marked, name)
            except InvalidInput as error:
                found.refused.append(str(error))
        self._files = found.files
        return found

    def _take(self, found: Arguments, role: str, value: object) -> tuple[object, object]:
        """(`value` with every handle in it recorded, `value` with their roles in their places)."""
        if isinstance(value, handles.Handle):
            handle = self._recorded(value)
            ordinal = sum(1 for known, _, _ in found.inputs if known == role)
            found.inputs.append((role, ordinal, handle))
            return handle, digest.Record("whence.input", role)
        if type(value) in (list, tuple):
            kind = cast("Callable[[list[object]], object]", type(value))
            pairs = [self._take(found, role, item) for item in cast("list[object]", value)]
            return kind([taken for taken, _ in pairs]), kind([marked for _, marked in pairs])
        if type(value) is dict:
            named = {key: self._take(found, f"{role}.{key}", item) for key, item in value.items()}
            return {k: taken for k, (taken, _) in named.items()}, {k: m for k, (_, m) in named.items()}
        return value, value

    def _recorded(self, handle: handles.Handle) -> handles.Handle:
        if not handle.is_draft:
            return handle
        if self.started_under is not None:
            return self.started_under.publish(handle)
        return self.client.publish_drafts([handle])[0]

    def _components(
        self, job: str, arguments: Arguments, code: fingerprint.CodeIdentity
    ) -> list[model.Component]:
        runs_in = environment.key_environment(environment.capture(self.root))
        shape: list[digest.Framed] = [
            [p.name, p.kind.name, p.default is not inspect.Parameter.empty]
            for p in inspect.signature(self.function).parameters.values()
        ]
        parts = [
            cache.component("scope", self.client.project, preview=self.client.project),
            cache.component("job", job, preview=job),
            cache.component("signature", shape, preview=str(inspect.signature(self.function))),
            cache.component("environment", dict(runs_in), preview=parameters.preview(dict(runs_in))),
            self._code_component(code),
        ]
        for name, value in arguments.params.items():
            parts.append(cache.component("params", value, f"params/{name}", preview=arguments.previews[name]))
        for role in dict.fromkeys(role for role, _, _ in arguments.inputs):
            members = [handle for known, _, handle in arguments.inputs if known == role]
            ordered: list[digest.Framed] = [
                [h.version.content.strength.value, h.version.digest.raw] for h in members
            ]
            shown = ", ".join(f"{h.ref} {h.version.digest.short}" for h in members)
            parts.append(cache.component("inputs", ordered, f"inputs/{role}", preview=shown))
        for where, path in sorted(arguments.files.items()):
            named = self._hashed(where, path)
            parts.append(
                cache.component("files", named.raw, f"files/{where}", preview=f"{path.name} {named.short}")
            )
        salt = os.environ.get(SALT_VARIABLE)
        if salt:
            parts.append(cache.component("salt", salt, preview=parameters.preview(salt)))
        return parts

    def _code_component(self, code: fingerprint.CodeIdentity) -> model.Component:
        if self.options.version is not None:
            stated = {"version": digest.raw_digest_of("whence.version/1", self.options.version)}
            return cache.component("code", stated, preview=f"version {self.options.version}")
        shown = "\n".join(f"{symbol} {raw.hex()[:16]}" for symbol, raw in sorted(code.rows.items()))
        return cache.component("code", dict(code.rows), preview=shown)

    def _hashed(self, where: str, path: Path) -> digest.Digest:
        store = self.client.blobs
        named = store.hash_tree(path).digest if path.is_dir() else store.hash_file(path).digest
        self._file_digests[where] = named
        return named

    def _kept(self, value: digest.Framed) -> digest.Framed:
        """A parameter as the Run keeps it: in place, or as a Blob where it is large."""
        framed = digest.frame(value)
        if len(framed) <= _LARGEST_PARAMETER_BYTES:
            return value
        kept: dict[str, digest.Framed] = {
            "whence.blob": self.client.blobs.put_bytes(framed).text,
            "size_bytes": len(framed),
        }
        return kept

    def _lend(self) -> None:
        for value in _handles(list(self.bound.arguments.values())):
            self.recorder.lend(value)

    # ── end ──────────────────────────────────────────────────────────────────────────────────────

    def ending(self) -> "_Ending":
        """Records a failure of what is inside, and stops the beating."""
        return _Ending(self.recorder)

    def complete(self, made: object) -> object:
        """Record what the function returned; answers what its caller gets."""
        changed = tuple(
            f"{where} ({path.name}) was changed while the step ran"
            for where, path in self._files.items()
            if where in self._file_digests and self._file_digests[where] != self._hashed(where, path)
        )
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            plan = outputs.take_apart(made, self._job(), self.root)
            claims = outputs.store(plan, self.client, Path(folder))
            for text in changed:
                self.recorder.warn(text)
            finished = self.recorder.end(model.RunState.COMPLETE, outputs=claims, uncacheable=changed)
        return outputs.handed_back(plan, finished.outputs, self.client, self.root)

    def _job(self) -> str:
        return self.options.name or fingerprint.job_name(self.function, self.root)


class _Ending:
    """Ends the Run badly if what is inside raises."""

    def __init__(self, of: recorder.Recorder) -> None:
        self._recorder = of

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                recorder.end_badly(self._recorder, error)
        finally:
            self._recorder.cease()


# ── arguments ────────────────────────────────────────────────────────────────────────────────────


def _handles(value: object) -> Iterator[handles.Handle]:
    if isinstance(value, handles.Handle):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _handles(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _handles(item)


def project_root(function: Callable[..., object]) -> Path:
    """The folder of the project that a function belongs to: the nearest one upwards that looks like one."""
    file = inspect.unwrap(function).__code__.co_filename
    folder = Path(file).resolve().parent if os.path.exists(file) else Path.cwd()
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in _MARKERS):
            return candidate
    return folder
