"""Any command as a Run, in whatever language it is written: `whence exec` stands on it.

    run(client, Command(argv=("python", "train.py", "{data}", "{model}", "--rate", "{rate}"),
                        inputs={"data": "dataset:images@latest"}, outputs={"model": "out/model.bin"},
                        params={"rate": 0.1}))

Decides what a command is known by: its words, where `{name}` stands for an input, an output or a parameter; the
program that it starts; the source of the project around it, without those inputs and outputs; and what its inputs
hold. Then it is reserved, executed or reused as a step is. Leaves to others: the process (`child`), what it may
read (`sandbox`) and was seen to (`tracing`).
"""

import dataclasses
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from whence import (
    calls,
    child,
    command_key,
    counted,
    described,
    handles,
    in_place,
    origins,
    programs,
    reads,
    recorder,
    sandbox,
    scratch,
    searching,
    secrecy,
    split,
    tracing,
    words,
)
from whence_catalog import cache, digest, model, observation, replies
from whence_catalog.digest import Digest
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound

if TYPE_CHECKING:
    from whence.client import Client

Say = Callable[[str], None]
LOG, METRICS = words.LOG, words.METRICS
STREAMS = ("stdout", "stderr")
# Where an output lay, from the root of its project: what takes a file from there takes that production.
PATH = "whence.path"
Command = words.Command
_SHOWN_LINES = 15
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that was run, or whose outputs were there. `origin` made them, where it was reused."""

    run: str
    job: str
    state: model.RunState
    reason: str | None
    origin: str | None
    outputs: Mapping[str, str]
    how: child.Ended
    seconds: float
    error: str | None = None


def run(client: "Client", command: Command, say: Say) -> Ended:
    """Run a command, or restore what it made before; what it says comes out of our own streams.

    Raises:
        InvalidInput: it has no meaning: a name, a path, an output that others need.
        NotFound: there is no such program, input or reference.
        Conflict: an output would take the place of something that is kept nowhere else.
    """
    return _Running(client, command, say).run()


class _Running:
    def __init__(self, client: "Client", command: Command, say: Say) -> None:
        self._client = client
        self._command = command
        self._say = say
        self._here = Path.cwd()
        self._root = origins.root_around(self._here)
        self._place = counted.Place(self._root, self._here)
        self._absolute, self._told = self._place.absolute, self._place.told
        self._began = time.monotonic()
        self._program = programs.find(command.argv[0], self._here)
        known = secrecy.known()
        for name, value in command.params.items():
            if secrecy.find(cast("digest.Framed", value), name, known) is not None:
                raise InvalidInput(
                    f"the parameter {name} looks secret, and parameters are recorded; have the command read it from a"
                    " variable, and name that with --env"
                )
        self._places = dict(command.outputs)
        if command.metrics is not None and self._absolute(command.metrics) not in map(
            self._absolute, self._places.values()
        ):
            self._places[METRICS] = command.metrics
        self._outputs = {name: self._absolute(text) for name, text in self._places.items()}
        self._refuse_overlaps()
        self._inputs = {name: self._input(name, text) for name, text in command.inputs.items()}
        lie = {name: self._absolute(text) for name, text in command.inputs.items()}
        own = {name: path for name, (_, path) in self._inputs.items() if lie[name] == path}
        self._known = command_key.known(
            command_key.Stated(
                self._place,
                command.argv,
                own,
                self._outputs,
                [path for name, (_, path) in self._inputs.items() if name not in own],
                [self._absolute(text) for text in command.code],
                command.variables,
                command.sandbox,
                command.takes_input,
            ),
            self._program,
        )
        self._files = self._known.files
        self._waited_for: str | None = None
        self.job = command.job or self._job_name()

    def run(self) -> Ended:
        if self._command.sandbox:
            sandbox.require()
        if self._command.trace:
            tracing.require()
        opening = split.Opening(self._client, self._call())
        self._refuse_to_overwrite(opening)
        while isinstance(answer := opening.ask(), split.Wait | split.Verify):
            if isinstance(answer, split.Wait):
                self._say_waiting(answer.holder, answer.since)
                time.sleep(answer.seconds)
            elif not opening.look_elsewhere():
                raise NotFound(
                    f"{', '.join(answer.locations)} cannot be looked at from here", ErrorKind.NO_SUCH_FILE
                )
        return self._reused(answer) if isinstance(answer, split.Reuse) else self._executed(answer, opening)

    # ── what it is known by ──────────────────────────────────────────────────────────────────────

    def _refuse_overlaps(self) -> None:
        for (one, path), (other, second) in itertools.permutations(self._outputs.items(), 2):
            if path == second or path in second.parents:
                raise InvalidInput(f"the outputs {one} and {other} lie in one another: {path} and {second}")
        for name, path in self._outputs.items():
            if path == self._here or path in self._here.parents:
                raise InvalidInput(
                    f"the output {name} is {path}, which this command runs in; name a folder inside it"
                )

    def _input(self, name: str, text: str) -> tuple[handles.Handle, Path]:
        path = self._absolute(text)
        if ":" in text and not os.path.exists(path):
            handle = self._client.get(text)
            return handle, handle.path
        if not os.path.exists(path):
            raise NotFound(
                f"no file {text} for the input {name}, and it is no reference such as dataset:images@latest",
                ErrorKind.NO_SUCH_FILE,
            )
        for output, place in self._outputs.items():
            if path == place or place in path.parents or path in place.parents:
                raise InvalidInput(
                    f"{text} is the input {name} and the output {output}; what a command changes in place cannot be"
                    " made again: have it write elsewhere"
                )
        return self._recorded(name, path), path

    def _recorded(self, name: str, path: Path) -> handles.Handle:
        """The production that lies at `path`: the newest of these bytes that was left there, else a new one."""
        self._say(f"reading {self._told(path)}")
        artifact = self._artifact(name, path)
        here = [
            output
            for output in self._productions(in_place.content_at(path))
            if output.metadata.get(PATH) == self._told(path) or output.version.artifact == artifact
        ]
        # What it is to be called, where that is said, or whatever it was called by who left it there.
        called = [output for output in here if output.version.artifact == artifact]
        if called or (here and name not in self._command.artifacts):
            return handles.bound((called or here)[0], self._client, path)
        says = {PATH: self._told(path), **in_place.programs(path)}
        came_from = [handles.bound(output, self._client) for output in here[:1]] or None
        draft = handles.draft(artifact.kind, artifact.name, path, metadata=says, derived_from=came_from)
        return handles.bound(self._client.publish_draft(draft).output, self._client, path)

    def _productions(self, content: Digest) -> Iterator[model.Output]:
        hits = searching.search(
            self._client,
            content.text,
            types=[replies.HitType.VERSION],
            projects=[self._client.project],
            limit=100,
        )
        for version in (hit.version for hit in hits if hit.version is not None):
            yield from (
                output
                for output in self._client.catalog.productions(version.artifact)
                if output.version == version
            )

    def _artifact(self, name: str, path: Path) -> model.Artifact:
        named = self._command.artifacts.get(name)
        if named is None:
            kind = "metrics" if name == METRICS and self._command.metrics is not None else "file"
            return model.Artifact(self._client.project, kind, self._told(path))
        return self._client.named(named)

    def _job_name(self) -> str:
        for word in self._command.argv[:3]:
            path = self._place.file(word)
            if path is not None and path.is_relative_to(self._root):
                return ".".join(path.relative_to(self._root).with_suffix("").parts)
        return os.path.basename(self._command.argv[0])

    def _call(self) -> described.Call:
        command = self._command
        return dataclasses.replace(
            self._known.call(self._client, self.job),
            inputs={**{name: handle for name, (handle, _) in self._inputs.items()}, **command.params},
            labels=command.labels,
            mode=command.mode,
            max_age=command.max_age,
            max_wait=command.max_wait,
        )

    # ── reuse ────────────────────────────────────────────────────────────────────────────────────

    def _say_waiting(self, holder: str, since: datetime) -> None:
        if holder != self._waited_for:
            self._waited_for = holder
            self._say(f"waiting for {holder}, which computes the same since {since:%H:%M:%S}")

    def _refuse_to_overwrite(self, opening: split.Opening) -> None:
        """What another process is making of the same right now is waited for: it will be recorded."""
        while (conflict := self._in_the_way()) is not None:
            asked = calls.one(self._client.catalog.explain_calls([opening.description.call])).answer
            if isinstance(asked, cache.Wait):
                self._say_waiting(asked.holder, asked.since)
                time.sleep(_PAUSE_SECONDS)
            elif self._in_the_way() is not None:  # it may have been recorded since
                raise conflict

    def _in_the_way(self) -> Conflict | None:
        for name, path in self._outputs.items():
            if self._command.overwrite or not os.path.lexists(path):
                continue
            if not path.exists() or not self._is_kept(path):
                return Conflict(
                    f"{self._told(path)}, the output {name}, is there already, and is kept nowhere else; move it away,"
                    " keep it with `whence publish`, or say --overwrite",
                    ErrorKind.WRONG_STATE,
                )
        return None

    def _is_kept(self, path: Path) -> bool:
        """Whether the same bytes are recorded, and in the store."""
        content = in_place.content_at(path)
        if next(self._productions(content), None) is None:
            return False
        trees = frozenset({content}) if path.is_dir() else frozenset[Digest]()
        return bool(self._client.look(frozenset({content}), trees)[0])

    def _clear(self) -> None:
        for path in self._outputs.values():
            in_place.remove(path)
            path.parent.mkdir(parents=True, exist_ok=True)

    def _reused(self, answer: split.Reuse) -> Ended:
        made = {output.role: output for output in answer.productions}
        for name, path in self._outputs.items():
            in_place.put(self._client.blobs, made[name], path)
        if LOG in made:
            _replay(handles.bound(made[LOG], self._client).path)
        return Ended(
            run=answer.run,
            job=self.job,
            state=model.RunState.REUSED,
            reason=None,
            origin=answer.origin,
            outputs={name: made[name].version.ref for name in self._outputs},
            how=child.Ended(0),
            seconds=time.monotonic() - self._began,
        )

    # ── execute ──────────────────────────────────────────────────────────────────────────────────

    def _executed(self, answer: split.Execute, opening: split.Opening) -> Ended:
        client = self._client
        began = recorder.Recorder(client, cast("model.Run", answer.begun), answer.ticket)
        began.took(opening.description.call.inputs)
        for handle, path in self._inputs.values():
            if handle.path == path:
                began.lend(handle)
        with ExitStack() as scope:
            (folder := scope.enter_context(scratch.folder("whence-exec-")) / "said").mkdir()
            began.begin()
            scope.enter_context(began.recorded())
            scope.enter_context(recorder.running(began))
            self._clear()
            how = self._started(began, folder)
            return self._told_end(began, how, answer.reason, opening, folder)

    def _started(self, began: recorder.Recorder, folder: Path) -> child.Ended:
        command = self._command
        values = self._values()
        touched = (*(str(path) for _, path in self._inputs.values()), *map(str, self._outputs.values()))
        readable = (*self._files, *touched, *self._program.folders)
        told = {
            **os.environ,
            **began.env,
            # What it says is seen when it says it, as at a terminal.
            "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),
            **words.variables(values, command.inputs, self._outputs, command.params),
        }
        confine: list[Callable[[], None]] = []
        if command.sandbox:
            (own := folder.with_name("own")).mkdir()
            told["TMPDIR"] = str(own)
            confine.append(sandbox.confinement(readable, list(self._outputs.values()), own))
        trace = (
            tracing.Trace(reads.cover(self._client, self._root, self._files, readable))
            if command.trace
            else None
        )
        if trace is not None:
            confine.append(trace.begin)
        program = child.Program(
            argv=[str(self._program.path), *(words.filled(word, values) for word in command.argv[1:])],
            folder=self._here,
            variables=told,
            stdout=folder / STREAMS[0],
            stderr=folder / STREAMS[1],
            takes_input=command.takes_input,
            confine=_all_of(confine),
        )
        try:
            how = child.run(program, trace)
        finally:
            seen = observation.not_watched() if trace is None else trace.seen()
            began.saw(seen, observation.reasons(seen))
        if how.is_cut:
            began.warn("its log is cut: the disk is full")
        for path in () if trace is None else trace.denied:
            is_own = self._root / path in self._outputs.values()
            what = (
                "which it made: in a sandbox an output is only written"
                if is_own
                else "which is none of its inputs"
            )
            began.warn(f"it was not allowed to read {path}, {what}")
        return how

    def _values(self) -> dict[str, str]:
        values = {name: str(path) for name, (_, path) in self._inputs.items()}
        for name, written in self._command.inputs.items():
            if self._absolute(written) == self._inputs[name][1]:
                values[name] = written  # as it was written, so that the command sees what its author meant
        values |= self._places
        return values | {name: words.text(value) for name, value in self._command.params.items()}

    def _told_end(
        self,
        began: recorder.Recorder,
        how: child.Ended,
        reason: str,
        opening: split.Opening,
        folder: Path,
    ) -> Ended:
        missing = [name for name, path in self._outputs.items() if how.is_well and not path.exists()]
        error = None
        if missing:
            error = f"it ended well, and left no {self._places[missing[0]]}, the output {missing[0]}"
        elif not how.is_well:
            error = "\n".join([str(how), *_last_lines(folder / STREAMS[1])])
        state = (
            model.RunState.COMPLETE
            if error is None
            else model.RunState.ABORTED
            if how.is_aborted
            else model.RunState.FAILED
        )
        drafts = {} if error is not None else self._drafts()
        if any((folder / name).stat().st_size for name in STREAMS):
            drafts[LOG] = handles.draft("report", f"{self.job}.log", folder, metadata={model.ASIDE: True})
        metrics = {} if error is not None or self._command.metrics is None else self._metrics()
        with tempfile.TemporaryDirectory(prefix="whence-") as staging:
            claims = []
            for place, (role, draft) in enumerate(drafts.items()):
                own = Path(staging) / str(place)
                own.mkdir()
                claims.append(self._client.store(draft, role=role, folder=own, run=began.uid))
        if metrics:
            began.log(None, **metrics)
        made = began.end(
            state, outputs=tuple(claims), error=error, changed=opening.description.arguments.changed()
        )
        return Ended(
            run=began.id,
            job=self.job,
            state=state,
            reason=reason,
            origin=None,
            outputs={output.role: output.version.ref for output in made},
            how=how if not missing else child.Ended(1),
            seconds=time.monotonic() - self._began,
            error=error,
        )

    def _drafts(self) -> dict[str, handles.Handle]:
        drafts = {}
        for name, path in self._outputs.items():
            artifact = self._artifact(name, path)
            drafts[name] = handles.draft(
                artifact.kind,
                artifact.name,
                path,
                metadata={PATH: self._told(path), **in_place.programs(path)},
            )
        return drafts

    def _metrics(self) -> dict[str, float]:
        named = cast("str", self._command.metrics)
        path = self._absolute(named)
        try:
            said = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"the metrics {named} cannot be read: {error}") from error
        if not isinstance(said, dict) or not all(type(value) in (int, float) for value in said.values()):
            raise InvalidInput(f"the metrics {named} are not a JSON object of numbers")
        try:
            return {name: float(value) for name, value in said.items()}
        except OverflowError as error:
            raise InvalidInput(f"the metrics {named} hold a number that is too large") from error


def _all_of(calls: Sequence[Callable[[], None]]) -> Callable[[], None] | None:
    def call_all() -> None:
        for call in calls:
            call()

    return call_all if calls else None


def _last_lines(path: Path) -> Sequence[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        said = file.read().decode("utf-8", "replace")
    return said.rstrip().splitlines()[-_SHOWN_LINES:]


def _replay(log: Path) -> None:
    """Say again what the command said."""
    for name, stream in zip(STREAMS, (sys.stdout, sys.stderr), strict=True):
        with (log / name).open("rb") as file:
            stream.flush()
            shutil.copyfileobj(file, stream.buffer)
            stream.flush()
