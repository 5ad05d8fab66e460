"""Carries a plan out: what is to be executed is made again, each Run as soon as all that it takes is there.

An apply is itself a Run, whose id the plan has; what it makes are its children. So the catalog is its journal: after
whatever end, the same plan goes on where it stood, here or on another machine. Each Run is asked for under the key that
it has once its inputs are known, so that nothing is computed that somebody has computed, or is computing.

Leaves to others: what is in a plan (`whence_catalog.planning`), how one Run is made again (`replay`), and where: an
`Executor` is handed tasks, which are small and can be sent.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol, assert_never, cast
from uuid import UUID

from whence import calls, connecting, environment, environments, handles, places, recorder, replay
from whence.client import Client
from whence_catalog import cache, digest, model, planning, plans
from whence_catalog.blobs import BlobStore
from whence_catalog.errors import Conflict, ErrorKind, NotFound, WhenceError

JOB = "whence.apply"
_AT_ONCE = 1000
_LONGEST_PAUSE_SECONDS = 1.0
# How often the word to stop is looked for.
_LOOK_SECONDS = 0.2


class End(StrEnum):
    """How one Run of a plan ended."""

    EXECUTED = "executed"
    REUSED = "reused"
    FAILED = "failed"
    # It could not be run, or something that it takes was not made.
    BLOCKED = "blocked"
    # It was not begun, since all was to stop.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Task:
    """One Run of a plan, with all that it takes known: small, and can be pickled.

    `apply` is the Run that it will be a part of; `url`, `project` and `blobs` say where it is recorded.
    """

    apply: UUID
    url: str
    project: str
    blobs: str
    step: plans.PlannedRun
    takes: tuple[plans.Taken, ...]
    params: Mapping[str, digest.Framed] = field(default_factory=dict)
    capture: model.Capture | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of the planned Run `step`: `run` is the one that was recorded for it, if one was."""

    step: UUID
    job: str
    end: End
    run: UUID | None = None
    outputs: tuple[model.Output, ...] = ()
    seconds: float = 0.0
    why: str | None = None


class Executor(Protocol):
    """Carries out tasks, several at a time, here or elsewhere."""

    def submit(self, task: Task) -> "Future[Done]":
        """Begin a task, at once or when there is room; a task ends with how it ended, and raises nothing.

        To cancel what is answered takes back a task that was not begun; one that was goes on to its end.
        """
        ...


class Maker(Protocol):
    """Makes a recorded Run again, and records that: `replay.execute`, or what a test has in its place."""

    def __call__(
        self,
        client: Client,
        record: model.RunRecord,
        inputs: Mapping[replay.Place, model.Output],
        params: Mapping[str, digest.Framed],
        *,
        capture: model.Capture | None,
        keyed: replay.Keyed | None,
        parent: UUID,
        progress: Callable[[str], None],
    ) -> replay.Executed:
        """Make it with these in the place of what it had, publish it under the key, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class InRoom:
    """Makes Runs again in rooms of their own."""

    options: environments.Options = environments.AS_RECORDED

    def __call__(
        self,
        client: Client,
        record: model.RunRecord,
        inputs: Mapping[replay.Place, model.Output],
        params: Mapping[str, digest.Framed],
        *,
        capture: model.Capture | None,
        keyed: replay.Keyed | None,
        parent: UUID,
        progress: Callable[[str], None],
    ) -> replay.Executed:
        """As `Maker`."""
        code = capture or record.run.capture
        if keyed is not None and not self._is_where_the_key_says(client, code):
            progress("it runs elsewhere than its key would say, so that nothing of it will be reused")
            keyed = None
        return replay.execute(
            client,
            record,
            inputs,
            params,
            capture=capture,
            keyed=keyed,
            options=self.options,
            parent=parent,
            progress=progress,
        )

    def _is_where_the_key_says(self, client: Client, code: model.Capture) -> bool:
        """Whether the room is what the component `environment` of its key stands for: Python, and the image."""
        if code.environment is None:
            return False
        here = environment.capture()
        recorded = environment.decode(client.blobs.read_bytes(code.environment))
        is_same_python = self.options.env == "recorded" or recorded.minor == here.minor
        return is_same_python and recorded.image == here.image


# ── one Run ──────────────────────────────────────────────────────────────────────────────────────


def perform(client: Client, task: Task, make: Maker, progress: Callable[[str], None]) -> Done:
    """Carry a task out: what its key stands for is taken where it is known, and made where it is not."""
    began = time.monotonic()
    step = task.step
    try:
        done = _perform(client, task, make, progress)
    except WhenceError as error:
        return Done(step.run, step.job, End.FAILED, seconds=time.monotonic() - began, why=str(error).strip())
    return dataclasses.replace(done, seconds=time.monotonic() - began)


def perform_there(
    task: Task, make: Maker | None = None, progress: Callable[[str], None] = lambda text: None
) -> Done:
    """As `perform`, in whatever process: for an `Executor` whose tasks are carried out elsewhere."""
    client = connecting.open_client(task.url, project=task.project, blobs_url=task.blobs)
    try:
        return perform(client, task, make or InRoom(), progress)
    finally:
        client.close()


def _perform(client: Client, task: Task, make: Maker, progress: Callable[[str], None]) -> Done:
    step = task.step
    record = client.catalog.run(str(step.recipe))
    had = {(used.role, used.ordinal): used for used in record.inputs}
    moved = [
        f"inputs/{taken.role}"
        for taken in task.takes
        if _content(taken) != had[taken.role, taken.ordinal].version.content
    ]
    if step.stands and not moved:
        return _done(step, End.REUSED, record.run, record.outputs)
    components = planning.recomputed(step.components, task.takes, dict.fromkeys(moved), {}, None)
    keyed = replay.Keyed(cache.key(components), components) if components else None
    if keyed is not None:
        reused = _looked_up(client, _call(client, task, record, keyed), progress)
        if reused is not None:
            return _done(step, End.REUSED, reused.run, reused.outputs)
    obstacles = step.step.obstacles if isinstance(step.step, plans.Conditional) else ()
    if obstacles:
        return Done(step.run, step.job, End.BLOCKED, why="; ".join(obstacles))
    made = make(
        client,
        record,
        _instead(client, task, had),
        task.params,
        capture=task.capture,
        keyed=keyed,
        parent=task.apply,
        progress=progress,
    )
    return _done(step, End.REUSED if made.reused else End.EXECUTED, made.run, made.outputs)


def _done(step: plans.PlannedRun, end: End, run: model.Run | None, outputs: tuple[model.Output, ...]) -> Done:
    return Done(step.run, step.job, end, None if run is None else run.uid, outputs)


def _content(taken: plans.Taken) -> model.Content:
    assert taken.content is not None, "what a task takes is there"
    return taken.content


def _source(taken: plans.Taken) -> model.Source:
    return model.Source(taken.artifact, _content(taken).digest, taken.producer)


def _instead(
    client: Client, task: Task, had: Mapping[replay.Place, model.Input]
) -> dict[replay.Place, model.Output]:
    """The productions that take the place of those that it had."""
    moved = [
        taken
        for taken in task.takes
        if (taken.artifact, _content(taken).digest, taken.producer)
        != (
            (was := had[taken.role, taken.ordinal]).version.artifact,
            was.version.digest,
            was.producer,
        )
        and taken.producer is not None
    ]
    found = client.catalog.named_productions([_source(taken) for taken in moved]) if moved else ()
    instead: dict[replay.Place, model.Output] = {}
    for taken, output in zip(moved, found, strict=True):
        if isinstance(output, WhenceError):
            raise output
        instead[taken.role, taken.ordinal] = output
    return instead


def _call(client: Client, task: Task, record: model.RunRecord, keyed: replay.Keyed) -> model.Call:
    uid = calls.new_uid()
    return model.Call(
        run=uid,
        project=record.run.project,
        job=record.run.job,
        actor=client.actor,
        mode=model.Mode.REUSE,
        params={**record.run.params, **task.params},
        inputs=tuple(model.InputClaim(taken.role, _source(taken), taken.ordinal) for taken in task.takes),
        key=keyed.key,
        components=keyed.components,
        parent=task.apply,
        rerun_of=record.run.uid,
        capture=task.capture or record.run.capture,
        owner=recorder.owner_of(uid),
        claimed_at=datetime.now(UTC),
        presence_age=timedelta(0) if client.blobs.is_local else timedelta(hours=1),
    )


def _looked_up(client: Client, call: model.Call, progress: Callable[[str], None]) -> cache.Reuse | None:
    """What is known under the key of the call, recorded as a reuse; None where it is to be made.

    Asked before a room is made, which may take long; whoever computes the same is waited for.
    """
    pause = 0.05
    while True:
        answer = calls.one(client.catalog.explain_calls([call])).answer
        match answer:
            case None | cache.Execute():
                return None
            case cache.Wait(holder=holder):
                progress(f"waiting for {holder}, which computes the same")
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                call = dataclasses.replace(
                    call, present=frozenset(), missing=frozenset(), altered=frozenset()
                )
            case cache.Verify(unknown=unknown, trees=trees, places=elsewhere):
                present, missing, altered = client.look(unknown, trees)
                seen = places.look(elsewhere)
                if len(seen) < len(elsewhere):
                    return None  # only the system that keeps it can say whether it is there
                call = dataclasses.replace(
                    call,
                    present=call.present | present,
                    missing=call.missing | missing,
                    altered=call.altered | altered,
                    sightings=(*call.sightings, *seen),
                )
            case cache.Reuse():
                taken = client.writer.reserve(call)
                if isinstance(taken, cache.Reuse):
                    return taken
                if isinstance(taken, cache.Execute):
                    _let_go(client, call, taken)
                    return None
            case _:
                assert_never(answer)


def _let_go(client: Client, call: model.Call, begun: cache.Execute) -> None:
    """End a Run that began since a result went away between two questions: it is made in a room, as another."""
    client.writer.finish(
        model.Report(
            calls.new_uid(),
            call.run,
            model.RunState.ABORTED,
            client.actor,
            error="what it was to reuse went away",
            token=begun.token,
            owner=call.owner,
        )
    )


class Here:
    """Carries out tasks in this process, so many at a time; each makes its Run in a process of its own."""

    def __init__(
        self,
        client: Client,
        jobs: int,
        make: Maker | None = None,
        said: Callable[[plans.PlannedRun, str], None] = lambda step, text: None,
    ) -> None:
        self._client = client
        self._make = make or InRoom()
        self._said = said
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="whence-apply")

    def submit(self, task: Task) -> "Future[Done]":
        """As `Executor`."""
        return self._pool.submit(
            perform, self._client, task, self._make, lambda text: self._said(task.step, text)
        )

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown(cancel_futures=True)


# ── the whole ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Applied:
    """What carrying a plan out came to: `run` is the Run that it was; each of `done` was to be, or may have been, run.

    `was_stopped` says whether it was told to stop; then the same plan goes on later.
    """

    run: UUID
    plan: UUID
    done: tuple[Done, ...]
    seconds: float
    was_stopped: bool = False

    @property
    def counts(self) -> Mapping[str, int]:
        """How many Runs ended how."""
        found = dict.fromkeys((end.value for end in End), 0)
        for each in self.done:
            found[each.end.value] += 1
        return found

    @property
    def is_whole(self) -> bool:
        """Whether all of it was done."""
        return all(each.end in (End.EXECUTED, End.REUSED) for each in self.done)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened while a plan is carried out. `done` of `of` Runs have ended by now."""

    what: str
    step: UUID
    job: str
    done: int
    of: int
    run: UUID | None = None
    seconds: float | None = None
    text: str | None = None


Heard = Callable[[Event], None]


def apply(
    client: Client,
    plan: plans.RerunPlan,
    executor: Executor,
    heard: Heard = lambda event: None,
    stop: threading.Event | None = None,
) -> Applied:
    """Carry a plan out, or go on with it; answers when all of it has ended.

    A Run that fails stops what takes something from it, and nothing else.

    Args:
        stop: once set, nothing more is begun; what runs ends.

    Raises:
        Conflict: something that the plan rests on has changed.
    """
    attempt, own = _attempt(client, plan)
    refuse_if_changed(client, plan, frozenset(own))
    begun = _begun(client, plan, attempt)
    with begun.recorded(), recorder.running(begun):
        done = _Course(client, plan, begun.uid, executor, heard, stop or threading.Event(), own).run()
        lost = [each for each in done.done if each.end in (End.FAILED, End.BLOCKED)]
        if done.was_stopped:
            begun.end(model.RunState.ABORTED, error="it was told to stop")
        elif lost:
            named = ", ".join(f"{each.job} ({each.step})" for each in lost[:5])
            begun.end(model.RunState.FAILED, error=f"{len(lost)} runs were not made: {named}")
        else:
            begun.end(model.RunState.COMPLETE)
    return done


def refuse_if_changed(client: Client, plan: plans.RerunPlan, own: frozenset[UUID]) -> None:
    """Nothing, if all that the plan rests on is as it was; entries of the Runs `own` do not count.

    Raises:
        Conflict: it is not; says what.
    """
    now = client.catalog.plan(dataclasses.replace(plan.request, as_of=plan.position))
    changed = plans.differences(plan, now, own)
    if changed:
        shown = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise Conflict(
            f"the plan no longer stands: {shown}. Plan again, or apply it with --anew",
            ErrorKind.WRONG_STATE,
        )


def _attempt(client: Client, plan: plans.RerunPlan) -> tuple[int, dict[UUID, model.Run]]:
    """Which attempt this is, and the Runs that those before, and this one, have begun."""
    known: list[UUID] = []
    found = client.catalog.named_runs([_uid(plan, 0)])
    while found:
        (run,) = found.values()
        known.append(run.uid)
        if not run.is_final:
            break
        found = client.catalog.named_runs([_uid(plan, len(known))])
    going_on = bool(found)
    return len(known) - going_on, {run.uid: run for run in children(client, known)}


def _uid(plan: plans.RerunPlan, attempt: int) -> UUID:
    """The id of the Run that an attempt is: that of the plan, and then others, the same for whoever asks."""
    if not attempt:
        return plan.uid
    raw = digest.raw_digest_of("whence.apply/1", plan.uid.bytes, attempt)
    tail = int.from_bytes(raw[:7])
    return UUID(int=plan.uid.int >> 56 << 56 | tail)


def children(client: Client, parents: Sequence[UUID]) -> Iterator[model.Run]:
    """The Runs that these began."""
    for parent in parents:
        after: str | None = None
        while True:
            (page,) = client.catalog.children_of([parent], _AT_ONCE, after)
            if isinstance(page, WhenceError):
                raise page
            yield from page.items
            after = page.end
            if after is None:
                break


def _begun(client: Client, plan: plans.RerunPlan, attempt: int) -> recorder.Recorder:
    """The Run that this is, begun or gone on with."""
    uid = _uid(plan, attempt)
    known = client.catalog.named_runs([uid]).get(uid)
    if known is None:
        counts = {name: count for name, count in plan.counts.items() if count}
        call = model.Call(
            run=uid,
            project=client.project,
            job=JOB,
            actor=client.actor,
            params={"plan": str(plan.uid), "steps": cast("Mapping[str, digest.Framed]", counts)},
            parent=recorder.current_uid(),
            retry_of=None if not attempt else _uid(plan, attempt - 1),
            capture=model.Capture(because="it carried out a plan"),
            owner=recorder.owner_of(uid),
            claimed_at=datetime.now(UTC),
        )
        known = cast("model.Run", cast("cache.Execute", client.writer.reserve(call)).run)
    begun = recorder.Recorder(client, known)
    begun.begin()
    return begun


class _Course:
    """One carrying out: what waits, what runs, and what came of it."""

    def __init__(
        self,
        client: Client,
        plan: plans.RerunPlan,
        uid: UUID,
        executor: Executor,
        heard: Heard,
        stop: threading.Event,
        own: Mapping[UUID, model.Run],
    ) -> None:
        self._client = client
        self._plan = plan
        self._uid = uid
        self._executor = executor
        self._heard = heard
        self._outputs: dict[UUID, Mapping[str, plans.Made]] = {}
        self._done: dict[UUID, Done] = {}
        self._running: dict[Future[Done], plans.PlannedRun] = {}
        self._waiting: dict[UUID, plans.PlannedRun] = {}
        self._after: dict[UUID, list[UUID]] = {}
        self._left: dict[UUID, int] = {}
        self._ready: list[plans.PlannedRun] = []
        self._stop = stop
        self._many = len(plan.pending) + plan.counts["blocked"]
        self._published: dict[str, model.Output] = {}
        self._recorded: dict[UUID, list[UUID]] = {}
        for run in own.values():
            if run.rerun_of is not None and run.state in (model.RunState.COMPLETE, model.RunState.REUSED):
                self._recorded.setdefault(run.rerun_of, []).append(run.uid)

    def run(self) -> Applied:
        began = time.monotonic()
        self._arrange()
        while self._running or (self._ready and not self._stop.is_set()):
            self._begin()
            self._await()
        left = [*self._ready, *self._waiting.values()]
        for step in left:
            self._end(Done(step.run, step.job, End.STOPPED))
        ordered = tuple(self._done[step.run] for step in self._plan.steps if step.run in self._done)
        was_stopped = any(done.end is End.STOPPED for done in ordered)
        return Applied(self._uid, self._plan.uid, ordered, time.monotonic() - began, was_stopped)

    def _arrange(self) -> None:
        for step in self._plan.steps:
            match step.step:
                case plans.Reuse(outputs=outputs):
                    self._outputs[step.run] = {made.role: made for made in outputs}
                case plans.Blocked(why):
                    self._done[step.run] = Done(step.run, step.job, End.BLOCKED, why="; ".join(why))
                case plans.Execute() | plans.Conditional():
                    self._waiting[step.run] = step
                case _:
                    assert_never(step.step)
        for step in list(self._waiting.values()):
            before = {taken.step for taken in step.takes if taken.content is None and taken.step is not None}
            if isinstance(step.step, plans.Conditional):
                before |= set(step.step.on)
            before &= self._waiting.keys()
            self._left[step.run] = len(before)
            for source in before:
                self._after.setdefault(source, []).append(step.run)
        self._ready = [step for run, step in self._waiting.items() if not self._left[run]]
        for step in self._ready:
            del self._waiting[step.run]
        if self._ready:
            self._publish()

    def _publish(self) -> None:
        """Record what lies at a path, unless that content is recorded already."""
        for replacement in self._plan.request.inputs.values():
            if replacement.path is None or replacement.path in self._published:
                continue
            named = model.Reference(replacement.artifact, replacement.content.digest.text)
            (found,) = self._client.catalog.resolve([named])
            if isinstance(found, NotFound):
                found = self._from_path(replacement)
            if isinstance(found, WhenceError):
                raise found
            self._published[replacement.path] = found

    def _from_path(self, replacement: plans.Replacement) -> model.Output:
        path = Path(cast("str", replacement.path))
        now = identified(path)
        if now.digest != replacement.content.digest:
            raise Conflict(
                f"{path} is no longer what it was when it was planned; plan again", ErrorKind.INPUT_CHANGED
            )
        artifact = replacement.artifact
        draft = handles.draft(artifact.kind, artifact.name, path)
        return self._client.publish_draft(draft, artifact.project).output

    def _begin(self) -> None:
        """Begin what can be; what was made before is taken."""
        while self._ready and not self._stop.is_set():
            step = self._ready.pop(0)
            takes = self._takes(step)
            if isinstance(takes, str):
                self._end(Done(step.run, step.job, End.BLOCKED, why=takes))
                continue
            known = self._known(step, takes)
            if known is not None:
                self._end(known)
                continue
            self._heard(Event("started", step.run, step.job, len(self._done), self._many))
            self._running[self._executor.submit(self._task(step, takes))] = step

    def _await(self) -> None:
        """Wait for something to end, or for the word to stop."""
        ended, _ = wait(self._running, _LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in ended:
            step = self._running.pop(future)
            stopped = Done(step.run, step.job, End.STOPPED)
            self._end(stopped if future.cancelled() else future.result())
        if self._stop.is_set():
            for future in self._running:
                future.cancel()

    def _task(self, step: plans.PlannedRun, takes: tuple[plans.Taken, ...]) -> Task:
        request = self._plan.request
        code = request.code.get(step.job)
        return Task(
            self._uid,
            self._client.url,
            self._client.project,
            self._client.blobs.url,
            dataclasses.replace(step, takes=()),
            takes,
            request.params.get(step.job, {}),
            None if code is None else code.capture,
        )

    def _takes(self, step: plans.PlannedRun) -> tuple[plans.Taken, ...] | str:
        """All that it takes, as it is there now; a text says what is not."""
        found = []
        for taken in step.takes:
            if taken.content is None:
                if taken.step is None or taken.output is None:
                    return f"input {taken.role} is not known"
                made = self._outputs[taken.step].get(taken.output)
                if made is None:
                    return f"input {taken.role}: run {taken.step} made no output {taken.output} this time"
                taken = dataclasses.replace(
                    taken, artifact=made.artifact, content=made.content, producer=made.run
                )
            elif taken.producer is None:
                taken = self._of_path(taken)
            found.append(taken)
        return tuple(found)

    def _of_path(self, taken: plans.Taken) -> plans.Taken:
        assert taken.content is not None
        for output in self._published.values():
            if (output.version.artifact, output.version.digest) == (taken.artifact, taken.content.digest):
                return dataclasses.replace(taken, content=output.version.content, producer=output.run)
        return taken

    def _known(self, step: plans.PlannedRun, takes: tuple[plans.Taken, ...]) -> Done | None:
        """What an attempt before made of it, of the same inputs."""
        wanted = {(taken.role, taken.ordinal): _content(taken).digest for taken in takes}
        for uid in self._recorded.get(step.recipe, ()):
            record = self._client.catalog.run(str(uid))
            if wanted == {(used.role, used.ordinal): used.version.digest for used in record.inputs}:
                end = End.REUSED if record.run.state is model.RunState.REUSED else End.EXECUTED
                return Done(step.run, step.job, end, uid, record.outputs, why="it was done before")
        return None

    def _end(self, done: Done) -> None:
        """Note how one ended, and what can begin, or never will, because of that."""
        ended = [done]
        while ended:
            one = ended.pop()
            self._tell(one)
            match one.end:
                case End.EXECUTED | End.REUSED:
                    self._go_on_after(one)
                case End.FAILED | End.BLOCKED:
                    why = f"it takes what run {one.step} ({one.job}) was to make"
                    for run in self._after.get(one.step, ()):
                        if run in self._waiting:
                            job = self._waiting.pop(run).job
                            ended.append(Done(run, job, End.BLOCKED, why=why))
                case End.STOPPED:
                    pass
                case _:
                    assert_never(one.end)

    def _tell(self, done: Done) -> None:
        self._done[done.step] = done
        so_far = len(self._done), self._many
        self._heard(Event(done.end.value, done.step, done.job, *so_far, done.run, done.seconds, done.why))

    def _go_on_after(self, done: Done) -> None:
        self._outputs[done.step] = {
            each.role: plans.Made(each.role, each.version.artifact, each.version.content, each.run)
            for each in done.outputs
        }
        for run in self._after.get(done.step, ()):
            self._left[run] -= 1
            if not self._left[run] and run in self._waiting:
                self._ready.append(self._waiting.pop(run))


def identified(path: Path) -> model.Content:
    """What a file or a folder is, by its content; nothing is kept of it."""
    if path.is_dir():
        tree = BlobStore.hash_tree(path)
        return model.Content(tree.digest, form=model.Form.TREE, size_bytes=tree.size_bytes)
    stored = BlobStore.hash_file(path)
    return model.Content(stored.digest, size_bytes=stored.size_bytes)
