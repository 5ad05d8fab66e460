"""Describes a call in the catalog's words: the start of a Run, with every component of its key.

There is one way for all: what a step describes and what an orchestrator describes get their keys here. Nothing
is left out of a key in silence: what has no identity leaves the call without a key, and the Run says why.
Leaves to others: what a value is (`parameters`), what code is (`fingerprint`), who may compute it (`split`).
"""

import dataclasses
import hmac
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeAlias
from uuid import UUID

from whence import (
    arguments,
    calls,
    capture,
    environment,
    fingerprint,
    folders,
    further,
    handles,
    modes,
    origins,
    parameters,
    reads,
    recorder,
)
from whence_catalog import cache, digest, manifest, model, traces
from whence_catalog.errors import InvalidInput, WhenceError

if TYPE_CHECKING:
    from whence.client import Client

SALT_VARIABLE = "WHENCE_SALT"
P = ParamSpec("P")
_SHA256 = re.compile(r"(?:.*@)?sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Image:
    """Code, or an environment, that is a container image: `registry/name@sha256:…`, which only ever means one.

    A bare tag (`registry/name:3`) may mean another image tomorrow, so with one nothing is reused unless the call
    says `trust=`.
    """

    reference: str

    @property
    def digest(self) -> str | None:
        """`sha256:…`, where the reference is pinned to it."""
        found = _SHA256.fullmatch(self.reference)
        return f"sha256:{found[1]}" if found else None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Code that is a whole tree of source, known by the digest of its Manifest."""

    digest: str


OnMaxWait: TypeAlias = Literal["execute", "fail"]
NOTHING: Mapping[str, object] = MappingProxyType({})

ReadsName: TypeAlias = reads.ReadsName
Code: TypeAlias = Callable[..., object] | str | Image | Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is about to be done, as whoever is about to do it says.

    Args:
        job: the name of the unit of work.
        inputs: what its result depends on, by name: handles, drafts of them (`whence.located` for what lies
            elsewhere), lists, tuples and dicts of those, and plain values. Never what differs from one time to
            the next: a date of the schedule, an attempt, a folder for the outputs.
        code: that runs: a function of this process, a text that stands for a version of it, an `Image`, a
            `Bundle`. None: not known; then the Run is recorded, and never reused.
        function: that runs, where `code` does not say it; its source is kept with the Run.
        system: who orchestrates, such as `airflow`.
        native: names that it has for this call, such as the ids of its runs and attempts. They are labels of
            the Run, and no part of the key.
        labels: further ones.
        parent: the Run that this one is part of; the one that this code is inside of unless given.
        retry_of: the Run that this one tries again.
        mode: `reuse` a recorded result of the same call; `refresh`: execute, and replace it; `record` the run
            and its key, without reuse; `off`: record the run without a key. WHENCE_CACHE overrules it.
        max_age: how old a result may be.
        verify_rate: the share of hits, 0 to 1, that are executed all the same, and compared with what is known.
        max_wait: how long to wait for another process that computes the same; for as long as that one lives,
            unless given.
        on_max_wait: what then: `execute` it beside the other, publishing nothing, or `fail`.
        environment: what of the place counts: the `python` minor version and the image; `packages`: every
            installed distribution, too; or names and values of the caller's own.
        seed: of what is random in it.
        variables: environment variables that its result depends on. They enter the key under a secret.
        files: that its result depends on, by their paths from the root of the project.
        extra: further values that its result depends on, by name.
        hidden: such values that must not be recorded. They enter the key under a secret.
        ignore: names of inputs that its result does not depend on. That they are ignored is part of the key.
        trust: why an image's bare tag, or an input that is known by less than its content, may be taken for what
            it names. It is recorded with the Run.
        tracked: names of inputs of which only what the function really asks counts; see `whence.step`.
        reads: how closely to watch what it touches, where a function runs in this process; see `whence.step`.
        root: the folder of the project; that of the function, or the working folder, unless given.
        captured: what making it again needs, where no function runs and the caller knows it.
        obstacles: why it has no key, whatever else is known of it; no mode overrules them.
    """

    job: str
    inputs: Mapping[str, object] = field(default_factory=dict)
    code: Code | None = None
    function: Callable[..., object] | None = None
    system: str | None = None
    native: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    parent: UUID | None = None
    retry_of: UUID | None = None
    mode: modes.ModeName = "reuse"
    max_age: timedelta | float | None = None
    verify_rate: float = 0.0
    max_wait: timedelta | float | None = None
    on_max_wait: OnMaxWait = "execute"
    environment: str | Mapping[str, str] = "python"
    seed: object = None
    variables: Sequence[str] = ()
    files: Sequence[str] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    hidden: Mapping[str, bytes] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    trust: str | None = None
    tracked: Sequence[str] = ()
    reads: ReadsName | None = None
    root: Path | None = None
    captured: model.Capture | None = None
    obstacles: Sequence[str] = ()

    def __post_init__(self) -> None:
        modes.mode(self.mode, "mode")
        lasting(self.max_age, "max_age")
        lasting(self.max_wait, "max_wait")
        if self.reads is not None:
            reads.named(self.reads, "reads")
        if self.on_max_wait not in ("execute", "fail"):
            raise InvalidInput(f"on_max_wait is {self.on_max_wait!r}; it is execute or fail")
        if not (isinstance(self.verify_rate, int | float) and 0 <= self.verify_rate <= 1):
            raise InvalidInput(f"verify_rate is {self.verify_rate!r}; it is a share of the hits, from 0 to 1")
        for named in self.files:
            if Path(named).is_absolute() or ".." in Path(named).parts:
                raise InvalidInput(
                    f"files names {named!r}; a file is named by its path from the root of the project"
                )

    @property
    def runs(self) -> Callable[..., object] | None:
        """The function that runs, where it is one of this process."""
        return self.function or (self.code if callable(self.code) else None)

    @property
    def watching(self) -> model.Watching:
        """How closely to watch what it touches: as WHENCE_READS has it, where the call does not say."""
        return reads.default() if self.reads is None else reads.named(self.reads, "reads")

    @property
    def folder(self) -> Path:
        """The folder of the project."""
        if self.root is not None:
            return self.root
        return Path.cwd() if self.runs is None else project_root(self.runs)


@dataclass(frozen=True, slots=True)
class Described:
    """A call as the catalog is told of it, and the arguments that go into the function.

    `files` and `folders` are the paths of those whose bytes count in its key.
    """

    call: model.Call
    arguments: arguments.Arguments
    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    # That its key stands for; None where it stands for a version, an image, or nothing.
    code: fingerprint.CodeIdentity | None = None
    # What is tracked, as it is asked about.
    tracked: Mapping[str, traces.Tracked] = field(default_factory=dict)


def of_function(options: Call, function: Callable[..., object], given: Mapping[str, object]) -> Call:
    """The call of a function with these arguments.

    Raises:
        InvalidInput: the function has no name of its own, and `options` names no job.
    """
    root = project_root(function)
    return dataclasses.replace(
        options,
        job=options.job or fingerprint.job_name(function, root),
        code=function if options.code is None else options.code,
        function=function,
        inputs=given,
        root=root,
    )


def attach(step: Callable[P, object], described: Callable[P, Call]) -> None:
    """Have `step` say what its calls are; see `call_of`."""
    step.__whence_call__ = described  # type: ignore[attr-defined]


def call_of(step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Call:
    """What a step would be called with: nothing is looked up, recorded or executed.

    Raises:
        InvalidInput: it is no step.
    """
    said: Callable[P, Call] | None = getattr(step, "__whence_call__", None)
    if said is None:
        raise InvalidInput(f"{step!r} is no step; make it one with @whence.step")
    return said(*args, **kwargs)


def lasting(value: object, where: str) -> timedelta | None:
    """A duration that was given as a timedelta, or in seconds.

    Raises:
        InvalidInput: it is neither, or negative.
    """
    if isinstance(value, int | float) and value >= 0:
        return timedelta(seconds=value)
    if value is None or (isinstance(value, timedelta) and value >= timedelta(0)):
        return value
    raise InvalidInput(f"{where} is {value!r}; it is a timedelta, or a number of seconds, and not negative")


def describe(client: "Client", call: Call, record: arguments.Record | None = None) -> Described:
    """`call` as the catalog of `client` is asked about it.

    Args:
        record: makes a Version of a draft among the inputs; it is published unless given.

    Raises:
        InvalidInput: the call has no meaning. What merely has no identity is named in `uncacheable`.
    """
    return _Description(client, call, record or _publish(client)).described()


def code_of(
    client: "Client", call: Call
) -> tuple[tuple[model.Component, ...], tuple[str, ...], model.Capture]:
    """The parts of a key that say neither whose it is nor what is handed to it, as they are now and in this environment;
    why it has none, if it has none; and how that would be run: in one like this.
    """
    described = _Description(client, call, lambda draft: draft)
    components = (
        *(described._signature(), described._environment(), *described._code(), *described._around()),
        # What it names by a path is not handed to it: there it lies now.
        *(part for part in described.taken.components(described._ignored()) if part.kind == "files"),
    )
    return components, (*described.obstacles, *described.taken.refused), described._captured()


def by_what_was_read(
    whole: model.Call, tracked: Mapping[str, traces.Tracked], known: Sequence[traces.Trace]
) -> model.Call:
    """`whole` as it asks by what an earlier call really read, where what is tracked still says that; else by all of it."""
    ask = traces.asking(tracked)
    match = next((trace for trace in known if traces.match(trace, ask)), None)
    if match is None:
        return whole
    return dataclasses.replace(whole, key=match.key, components=cache.traced(whole.components, match))


def _publish(client: "Client") -> arguments.Record:
    """An input is a Version, so that a draft among the inputs is recorded first."""

    def record(draft: handles.Handle) -> handles.Handle:
        outer = recorder.current()
        return client.publish_draft(draft) if outer is None else outer.hand_on(draft)

    return record


class _Description:
    """One call that is being described. `obstacles` are why it has no key; `trusted` what is taken on trust."""

    def __init__(self, client: "Client", call: Call, record: arguments.Record) -> None:
        self.client = client
        self.call = call
        self.root = call.folder
        self.obstacles: list[str] = list(call.obstacles)
        self.trusted: list[str] = []
        self.taken = arguments.take_apart(call.inputs, self.root, record, call.files)
        self.code: fingerprint.CodeIdentity | None = None
        if call.runs is not None:
            roots = further.of(os.path.realpath(self.root), call.job)
            self.code = fingerprint.code_identity(call.runs, self.root, list(call.inputs.values()), roots)

    def described(self) -> Described:
        call, client, taken = self.call, self.client, self.taken
        model.checked_job(call.job)
        mode = modes.chosen(os.environ.get(modes.VARIABLE, ""), call.job, modes.mode(call.mode, "mode"))
        if call.code is None and mode in cache.PUBLISHING:
            self.obstacles.append("its code is not known")
            mode = model.Mode.RECORD
        self.obstacles += taken.refused
        tracked = self._tracked()
        components: tuple[model.Component, ...] = ()
        if mode is not model.Mode.OFF:
            # All of them, or none: a key that left one out would be another call's.
            components = self._tracking(tuple(self._components()), tracked)
        for _, _, handle in taken.inputs:
            client.expect(handle)
        run = calls.new_uid()
        key = cache.key(components) if components and not self.obstacles else None
        return Described(
            model.Call(
                run=run,
                project=client.project,
                job=call.job,
                actor=client.actor,
                mode=mode,
                params={
                    name: parameters.keep(taken.told.get(name, value), client.blobs)
                    for name, value in taken.params.items()
                },
                inputs=taken.claims,
                key=key,
                components=components if key else (),
                uncacheable=tuple(self.obstacles) if mode is not model.Mode.OFF else tuple(taken.refused),
                parent=call.parent or recorder.current_uid(),
                retry_of=call.retry_of,
                labels=self._labels(),
                capture=self._captured(),
                claimed_at=datetime.now(UTC),
                trusted=tuple(self.trusted),
                owner=recorder.owner_of(run),
                max_age=lasting(call.max_age, "max_age"),
                verify_rate=float(call.verify_rate),
                base=cache.key(cache.base(components, call.tracked)) if tracked and key else None,
                # A stat of a local file costs less than believing what was true a while ago.
                presence_age=timedelta(0) if client.blobs.is_local else timedelta(hours=1),
            ),
            taken,
            frozenset(() if self.code is None else self.code.files.values()),
            frozenset(os.path.abspath(file.path) for file in taken.files.values()),
            self.code if key and callable(call.code) else None,
            tracked,
        )

    def _labels(self) -> dict[str, str]:
        labels = dict(self.call.labels)
        if self.trusted and self.call.trust is not None:
            labels["trust"] = self.call.trust
        if self.call.system is not None:
            labels["system"] = self.call.system
        prefix = f"{self.call.system}." if self.call.system else ""
        return labels | {f"{prefix}{name}": value for name, value in self.call.native.items()}

    def _captured(self) -> model.Capture:
        call = self.call
        if call.captured is not None:
            return call.captured
        if call.runs is None or self.code is None:
            return model.Capture(
                bundle=self._bundle(),
                because="who opened it did not say which function runs, so that none can be called",
            )
        captured = capture.capture(self.client, call.runs, self.root, self.code, list(call.inputs.values()))
        obstacles = [
            *self.taken.refused,
            *(f"the argument {name} looks secret, so its value was not kept" for name in self.taken.told),
            *(
                f"{where} is the path of {file.path.name}, whose bytes were not kept; hand it in as an artifact"
                for where, file in self.taken.files.items()
            ),
        ]
        if not obstacles or not captured.rerunnable:
            return captured
        return dataclasses.replace(captured, rerunnable=False, because="; ".join(obstacles))

    def _bundle(self) -> digest.Digest | None:
        """The Bundle that the code is, where it is in our store: a Run names no source that nobody has."""
        if not isinstance(self.call.code, Bundle):
            return None
        named = digest.Digest(self.call.code.digest)
        return None if self.client.blobs.missing([named]) else named

    # ── components ───────────────────────────────────────────────────────────────────────────────

    def _components(self) -> Iterator[model.Component]:
        call, project = self.call, self.client.project
        yield cache.component("scope", project, preview=project)
        yield cache.component("job", call.job, preview=call.job)
        yield self._signature()
        yield self._environment()
        yield from self._code()
        yield from self.taken.components(ignored := self._ignored())
        for name, data in self.taken.hidden.items():
            if name not in ignored:
                yield from self._hidden("params", f"params/{name}", f"the argument {name}", data)
        yield from self._around()
        for role, _, handle in self.taken.inputs:
            strength = handle.version.content.strength
            if strength is not model.Strength.CONTENT:
                self._take_on_trust(f"input {role} is known by its {strength} identity only")

    def _around(self) -> Iterator[model.Component]:
        """What counts that is neither its code nor handed to it."""
        call = self.call
        for name in dict.fromkeys(call.variables):
            yield from self._variable(name)
        for name, value in call.extra.items():
            yield from self._value("extra", value, f"extra/{name}")
        for name, data in call.hidden.items():
            yield from self._hidden("extra", f"extra/{name}", name, data)
        if call.watching is model.Watching.STRICT:
            # What was published by a call that nobody looked at closely must not be handed out to this one.
            yield cache.component("extra", call.watching.value, "reads", preview=call.watching.value)
        if call.seed is not None:
            yield from self._value("seed", call.seed, "seed")
        if salt := os.environ.get(SALT_VARIABLE):
            yield cache.component("salt", salt, preview=parameters.preview(salt))

    def _take_on_trust(self, what: str) -> None:
        if self.call.trust is None:
            self.obstacles.append(f"{what}; say trust= to reuse all the same")
        else:
            # Why is the caller's own word, which may have to go one day: a label.
            self.trusted.append(f"{what}; taken on trust")

    def _signature(self) -> model.Component:
        if self.call.runs is None:
            shape: list[digest.Framed] = [[name, "KEYWORD_ONLY", False] for name in sorted(self.call.inputs)]
            return cache.component("signature", shape, preview=f"({', '.join(sorted(self.call.inputs))})")
        signature = inspect.signature(self.call.runs)
        shape = [
            [p.name, p.kind.name, p.default is not inspect.Parameter.empty]
            for p in signature.parameters.values()
        ]
        return cache.component("signature", shape, preview=str(signature))

    def _environment(self) -> model.Component:
        said = self.call.environment
        if isinstance(said, Mapping):
            value = {name: str(text) for name, text in said.items()}
        else:
            value = environment.key_environment(environment.capture(self.root), said)
        if (image := value.get("image")) is not None:
            pinned = Image(image).digest
            value["image"] = pinned or image
            if pinned is None:
                self._take_on_trust(
                    f"the image {image} is no digest, but a name that may come to mean another"
                )
        return cache.component("environment", dict(value), preview=parameters.preview(value))

    def _code(self) -> Iterator[model.Component]:
        match self.call.code:
            case str() as version:
                yield _stated(
                    "version", digest.raw_digest_of("whence.version/1", version), f"version {version}"
                )
            case Image() as image:
                pinned = image.digest
                if pinned is None:
                    self._take_on_trust(
                        f"the code is the image {image.reference}, which may come to be another"
                    )
                raw = (
                    digest.Digest(pinned).raw
                    if pinned
                    else digest.raw_digest_of("whence.version/1", image.reference)
                )
                yield _stated("image", raw, f"image {image.reference}")
            case Bundle(named):
                yield _stated("bundle", digest.Digest(named).raw, f"bundle {named}")
            case None:
                pass  # then there is no key
            case _:
                assert self.code is not None
                self.obstacles += self.code.uncacheable
                shown = "\n".join(
                    f"{symbol} {raw.hex()[:16]}" for symbol, raw in sorted(self.code.rows.items())
                )
                yield cache.component("code", dict(self.code.rows), preview=shown)

    def _tracked(self) -> dict[str, traces.Tracked]:
        """What is asked about of the inputs that are tracked; what has no identity cannot be, and is told elsewhere."""
        found: dict[str, traces.Tracked] = {}
        for name in self.call.tracked:
            if name in self.call.ignore or name not in self.call.inputs:
                known = ", ".join(name for name in self.call.inputs if name not in self.call.ignore) or "none"
                raise InvalidInput(
                    f"tracked names {name!r}, which is no input of {self.call.job} that counts; there are {known}"
                )
            value = self.taken.values[name]
            if isinstance(value, handles.Handle):
                found[name] = self._folder(name, value)
            elif name in self.taken.params:
                found[name] = self.taken.params[name]
        return found

    def _folder(self, name: str, handle: handles.Handle) -> traces.Folder:
        content = handle.version.content
        is_ours = content.strength is model.Strength.CONTENT and handle.output.location is None
        if content.form is not model.Form.TREE or not is_ours:
            raise InvalidInput(
                f"{name} is an artifact, and no folder in our store; what is tracked is one, or a value such as a dict"
                " or a list"
            )
        return folders.standing(content.digest, manifest.read(content.digest, self.client.blobs.read_bytes))

    def _tracking(
        self, components: tuple[model.Component, ...], tracked: Mapping[str, traces.Tracked]
    ) -> tuple[model.Component, ...]:
        """The components where what is tracked counts as asked for whole: in its order, which no parameter has."""
        if not tracked or self.taken.refused:
            return components
        trees = {role: handle for role, _, handle in self.taken.inputs if role in tracked}
        trees = {name: handle for name, handle in trees.items() if name not in self.taken.params}
        # What such a folder holds is no part of the base: it is asked about.
        components = tuple(
            part for part in components if part.name not in {f"inputs/{name}" for name in trees}
        )
        whole = cache.trace_of(components, list(tracked), traces.asked_for_whole(tracked, tracked))
        shown = {f"reads/{name}": self.taken.previews[name] for name in tracked if name not in trees}
        shown |= {f"reads/{name}": f"{tree.ref} {tree.version.digest.short}" for name, tree in trees.items()}
        return tuple(
            dataclasses.replace(part, preview=shown[part.name]) if part.name in shown else part
            for part in cache.traced(components, whole)
        )

    def _ignored(self) -> frozenset[str]:
        if unknown := sorted(set(self.call.ignore) - set(self.call.inputs)):
            known = ", ".join(self.call.inputs) or "none"
            raise InvalidInput(
                f"ignore names {unknown[0]!r}, which is no input of {self.call.job}; there are {known}"
            )
        return frozenset(self.call.ignore)

    def _variable(self, name: str) -> Iterator[model.Component]:
        """A variable's part: its value, which may be a secret, is neither recorded nor to be guessed."""
        value = os.environ.get(name)
        if value is None:
            yield cache.component("envvar", None, f"envvar/{name}", preview="unset")
            return
        yield from self._hidden("envvar", f"envvar/{name}", f"the variable {name}", os.fsencode(value))

    def _hidden(self, kind: str, name: str, told: str, value: bytes) -> Iterator[model.Component]:
        """A part that may be a secret: only who has the catalog's own can tell whether two are the same."""
        try:
            key = self.client.key
        except WhenceError as error:
            self.obstacles.append(f"{told} enters the key under the catalog's secret: {error}")
            return
        if not key:
            self.obstacles.append(f"{told} enters the key under the catalog's secret, which is kept from us")
            return
        hidden = hmac.digest(key, value, "sha256")
        yield cache.component(kind, hidden, name, preview=f"set (hmac {hidden.hex()[:8]})")

    def _value(self, kind: str, value: object, name: str) -> Iterator[model.Component]:
        try:
            framed = parameters.Canonical(self.root).of(value, name)
        except InvalidInput as error:
            self.obstacles.append(str(error))
            return
        yield cache.component(kind, framed, name, preview=parameters.preview(value))


def is_stated(code: model.Component) -> bool:
    """Whether that component states what the code is, in place of what runs."""
    return (code.preview or "").startswith(("version ", "image ", "bundle "))


def _stated(policy: str, raw: bytes, preview: str) -> model.Component:
    """A code component that states what the code is, in place of what runs."""
    return cache.component("code", {policy: raw}, preview=preview)


def project_root(function: Callable[..., object]) -> Path:
    """The folder of the project that a function belongs to."""
    return origins.root_of(inspect.unwrap(function).__code__.co_filename)
