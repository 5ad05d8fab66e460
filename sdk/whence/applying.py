"""Carries a plan out: what is to be executed is made again, each Run as soon as all that it takes is there.

An apply is itself a Run, whose id the plan has; what it makes are its children. So the catalog is its journal: after
whatever end, the same plan goes on where it stood, here or on another machine. Each Run is asked for under the key that
it has once its inputs are known, so that nothing is computed that somebody has computed, or is computing.

Leaves to others: what is in a plan (`whence_catalog.planning`), what is done of one Run (`due`), and where: an
`Executor` is handed what is due, which is small and can be sent.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, assert_never, cast
from uuid import UUID

from whence import handles, interrupts, parameters, recorder, tickets
from whence.client import Client
from whence.due import Done, Due, End, InRoom, Maker, content_of, perform
from whence_catalog import cache, digest, inventory, model, plans, wire
from whence_catalog.blobs import BlobStore
from whence_catalog.errors import Conflict, ErrorKind, NotFound, WhenceError

JOB = "whence.apply"
# The parameter of an apply that is its plan.
_WHOLE = "whole"
_AT_ONCE = 1000
_SHORTEST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class Executor(Protocol):
    """Carries out what is due, several at a time, here or elsewhere."""

    def submit(self, due: Due) -> "Future[Done]":
        """Begin what is due, at once or when there is room; it ends with how it ended, and raises nothing.

        To cancel what is answered takes back what was not begun; what was goes on to its end.
        """
        ...


class Here:
    """Carries out what is due in this process, so many at a time; each makes its Run in a process of its own."""

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
        self._interrupt = interrupts.Interrupt()
        self._pool = ThreadPoolExecutor(jobs, "whence-apply", initializer=self._interrupt.heed)

    def submit(self, due: Due) -> "Future[Done]":
        """As `Executor`."""
        return self._pool.submit(
            perform, self._client, due, self._make, lambda text: self._said(due.step, text)
        )

    def interrupt(self) -> None:
        """End what runs; its Runs are recorded as aborted. May be called from a signal's handler."""
        self._interrupt.set()

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
    stop = stop or threading.Event()
    refuse_if_changed(client, plan, _own(client, plan))
    begun, has_waited = _begun(client, plan, heard, stop)
    if begun is None:
        none = tuple(Done(step.run, step.job, End.STOPPED) for step in plan.pending)
        return Applied(plan.uid, plan.uid, none, 0.0, was_stopped=True)
    with begun.recorded(), recorder.running(begun):
        own = _own(client, plan)
        if has_waited:
            refuse_if_changed(client, plan, own)
        done = _Course(client, plan, begun, executor, heard, stop, own).run()
        lost = [each for each in done.done if each.end in (End.FAILED, End.BLOCKED)]
        if done.was_stopped:
            why = (
                "its lease was lost, so that another process may go on with it" if begun.lease_lost else None
            )
            begun.end(model.RunState.ABORTED, error=why or "it was told to stop")
        elif lost:
            named = ", ".join(f"{each.job} ({each.step})" for each in lost[:5])
            begun.end(model.RunState.FAILED, error=f"{len(lost)} runs were not made: {named}")
        else:
            begun.end(model.RunState.COMPLETE)
    return done


def refuse_if_changed(client: Client, plan: plans.RerunPlan, own: Mapping[UUID, model.Run]) -> None:
    """Nothing, if all that the plan rests on is as it was; entries of the Runs `own` do not count.

    Raises:
        Conflict: it is not; says what.
        NotFound: the plan is of another catalog.
    """
    of = plan.steps[0] if plan.steps else None
    if of is not None and not client.catalog.named_runs([of.run]):
        raise NotFound(
            f"the plan is of another catalog: this one has no run {of.run} ({of.job}); WHENCE_URL says which is opened",
            ErrorKind.NO_SUCH_RUN,
        )
    now = client.catalog.plan(dataclasses.replace(plan.request, as_of=plan.position))
    # What was reused here has an entry that names who made it.
    theirs = (run.origin for run in own.values() if run.origin is not None)
    changed = plans.differences(plan, now, frozenset(own).union(theirs))
    if changed:
        shown = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise Conflict(
            f"the plan no longer stands: {shown}. Plan again, or apply it with --anew",
            ErrorKind.WRONG_STATE,
        )


def _attempts(client: Client, plan: plans.RerunPlan) -> list[UUID]:
    """The attempts that were begun, whatever became of them."""
    known: list[UUID] = []
    while client.catalog.named_runs([uid := _uid(plan, len(known))]):
        known.append(uid)
    return known


def _own(client: Client, plan: plans.RerunPlan) -> dict[UUID, model.Run]:
    """The Runs that attempts have begun."""
    return {run.uid: run for run in children(client, _attempts(client, plan))}


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


def _begun(
    client: Client, plan: plans.RerunPlan, heard: Heard, stop: threading.Event
) -> tuple[recorder.Recorder | None, bool]:
    """The Run that this attempt is, begun; and whether another was waited for. None if it was told to stop meanwhile.

    Two that carry the same plan out would make twice what has no key. So there is a lease, which lapses a minute after
    its holder was last heard of.
    """
    told: set[str] = set()
    pause = _SHORTEST_PAUSE_SECONDS
    while not stop.is_set():
        before = _attempts(client, plan)
        call = _call(client, plan, before)
        try:
            answer = client.writer.reserve(call)
        except Conflict:
            if len(before) == len(_attempts(client, plan)):
                raise
            continue  # another was quicker
        match answer:
            case cache.Execute():
                run = cast("model.Run", answer.run)
                ticket = tickets.Ticket(
                    str(run.uid), call.owner, answer.token, answer.reason.value, call.job, call.project
                )
                begun = recorder.Recorder(client, run, ticket)
                begun.hand_out_nothing("it is the making of others")
                begun.begin()
                return begun, bool(told)
            case cache.Wait(holder=holder):
                if holder not in told:
                    told.add(holder)
                    text = f"for {holder}, which carries the plan out, or was killed less than a minute ago"
                    heard(Event("waiting", plan.uid, JOB, 0, len(plan.pending), text=text))
                # Not by `stop`: a signal's handler sets that, and could not where this thread is about to wait for it.
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            case _:
                raise AssertionError(f"what is made anew each time was answered {answer}")
    return None, bool(told)


def _call(client: Client, plan: plans.RerunPlan, before: Sequence[UUID]) -> model.Call:
    uid = _uid(plan, len(before))
    counts = {name: count for name, count in plan.counts.items() if count}
    components = (
        cache.component("scope", client.project),
        cache.component("job", JOB),
        cache.component("extra", plan.uid.bytes, "extra/plan", str(plan.uid)),
    )
    return model.Call(
        run=uid,
        project=client.project,
        job=JOB,
        actor=client.actor,
        mode=model.Mode.REFRESH,
        params={
            "plan": str(plan.uid),
            "steps": cast("Mapping[str, digest.Framed]", counts),
            _WHOLE: _kept(client, plan),
        },
        key=cache.key(components),
        components=components,
        parent=recorder.current_uid(),
        retry_of=before[-1] if before else None,
        capture=model.Capture(because="it carried out a plan"),
        owner=recorder.owner_of(uid),
        claimed_at=datetime.now(UTC),
    )


def _kept(client: Client, plan: plans.RerunPlan) -> digest.Framed:
    """A plan as its apply keeps it, whatever its size: a Blob."""
    framed = digest.frame(wire.encode_as(wire.codec(plans.RerunPlan), plan))
    return digest.Record("whence.blob", [client.blobs.put_bytes(framed).raw, len(framed)])


def plan_of(client: Client, run: model.Run) -> plans.RerunPlan:
    """The plan that the Run of an apply carries out, or did.

    Raises:
        Conflict: it was not kept, or its bytes are gone.
    """
    try:
        kept = parameters.kept(run.params[_WHOLE], client.blobs)
    except (KeyError, NotFound) as error:
        raise Conflict(
            f"run {run.uid} carried out a plan, which was not kept with it: apply that again",
            ErrorKind.NOT_RERUNNABLE,
        ) from error
    found: plans.RerunPlan = wire.decode_as(wire.codec(plans.RerunPlan), cast("bytes", kept))
    return found


class _Course:
    """One carrying out: what waits, what runs, and what came of it."""

    def __init__(
        self,
        client: Client,
        plan: plans.RerunPlan,
        begun: recorder.Recorder,
        executor: Executor,
        heard: Heard,
        stop: threading.Event,
        own: Mapping[UUID, model.Run],
    ) -> None:
        self._client = client
        self._plan = plan
        self._begun = begun
        self._uid = begun.uid
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
        while self._running or (self._ready and not self._is_to_stop):
            self._begin_what_is_ready()
            self._await()
        left = [*self._ready, *self._waiting.values()]
        for step in left:
            self._end(Done(step.run, step.job, End.STOPPED))
        ordered = tuple(self._done[step.run] for step in self._plan.steps if step.run in self._done)
        was_stopped = any(done.end is End.STOPPED for done in ordered)
        return Applied(self._uid, self._plan.uid, ordered, time.monotonic() - began, was_stopped)

    @property
    def _is_to_stop(self) -> bool:
        return self._stop.is_set() or self._begun.lease_lost

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
        """Find who made what takes the place of data where the plan does not say; of a path, record what is not."""
        for replacement in self._plan.request.inputs.values():
            named = model.Reference(replacement.artifact, replacement.content.digest.text)
            if replacement.producer is not None or str(named) in self._published:
                continue
            (found,) = self._client.catalog.resolve([named])
            if isinstance(found, NotFound) and replacement.path is not None:
                found = self._from_path(replacement)
            if isinstance(found, WhenceError):
                raise found
            self._published[str(named)] = found

    def _from_path(self, replacement: plans.Replacement) -> model.Output:
        path = Path(cast("str", replacement.path))
        now = identified(path)
        if now.digest != replacement.content.digest:
            raise Conflict(
                f"{path} is no longer what it was when it was planned; plan again, or apply it with --anew",
                ErrorKind.INPUT_CHANGED,
            )
        artifact = replacement.artifact
        draft = handles.draft(artifact.kind, artifact.name, path)
        return self._client.publish_draft(draft, artifact.project).output

    def _begin_what_is_ready(self) -> None:
        """Begin what can be; what was made before is taken."""
        while self._ready and not self._is_to_stop:
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
            self._running[self._executor.submit(self._due(step, takes))] = step

    def _await(self) -> None:
        """Wait for something to end, or for the word to stop."""
        ended, _ = wait(self._running, interrupts.LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in ended:
            step = self._running.pop(future)
            stopped = Done(step.run, step.job, End.STOPPED)
            self._end(stopped if future.cancelled() else future.result())
        if self._is_to_stop:
            for future in self._running:
                future.cancel()

    def _due(self, step: plans.PlannedRun, takes: tuple[plans.Taken, ...]) -> Due:
        request = self._plan.request
        code = request.code_of(step.recipe, step.project, step.job)
        return Due(
            self._uid,
            self._client.url,
            self._client.project,
            self._client.blobs.url,
            dataclasses.replace(step, takes=()),
            takes,
            request.params_of(step.project, step.job),
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
                taken = self._of_published(taken)
            found.append(taken)
        return tuple(found)

    def _of_published(self, taken: plans.Taken) -> plans.Taken:
        assert taken.content is not None
        for output in self._published.values():
            if (output.version.artifact, output.version.digest) == (taken.artifact, taken.content.digest):
                return dataclasses.replace(taken, content=output.version.content, producer=output.run)
        return taken

    def _known(self, step: plans.PlannedRun, takes: tuple[plans.Taken, ...]) -> Done | None:
        """What an attempt before made of it, of the same inputs, where that can still be handed on."""
        wanted = {(taken.role, taken.ordinal): content_of(taken).digest for taken in takes}
        for uid in self._recorded.get(step.recipe, ()):
            record = self._client.catalog.run(str(uid))
            had = {(used.role, used.ordinal): used.version.digest for used in record.inputs}
            if wanted == had and not self._is_revoked(record.run) and self._is_sound(record.outputs):
                end = End.REUSED if record.run.state is model.RunState.REUSED else End.EXECUTED
                return Done(step.run, step.job, end, uid, record.outputs, why="it was done before")
        return None

    def _is_revoked(self, run: model.Run) -> bool:
        """Whether somebody has said since that nobody is to reuse what a call like that made."""
        if run.key is None:
            return False
        try:
            entry = self._client.catalog.cache_key(run.key).entry
        except NotFound:
            return False  # it was made, and handed to nobody else
        return entry is not None and entry.state is inventory.EntryState.REVOKED

    def _is_sound(self, outputs: Sequence[model.Output]) -> bool:
        """Whether these bytes are still there, and nobody has said since that they are bad."""
        contents = [each.version.content for each in outputs if each.location is None]
        ours = frozenset(c.digest for c in contents if c.strength is model.Strength.CONTENT)
        trees = frozenset(c.digest for c in contents if c.form is model.Form.TREE)
        if self._client.look(ours, trees & ours)[0] != ours:
            return False
        named = [model.Reference.parse(each.version.ref) for each in outputs]
        states = self._client.catalog.states(named) if named else ()
        return all(state is model.VersionState.LIVE for state in states)

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
                    for run in self._after.get(one.step, ()):
                        if run in self._waiting:
                            step = self._waiting.pop(run)
                            ended.append(Done(run, step.job, End.BLOCKED, why=_lost(step, one)))
                case End.STOPPED:
                    pass
                case _:
                    assert_never(one.end)

    def _tell(self, done: Done) -> None:
        if done.trace is not None:
            # Whoever looks into it may not be who ran it, nor be where it ran.
            self._begun.warn(f"{done.job}: {done.trace}")
            kept = f"{done.why}; the traceback is kept: whence show {self._uid}"
            done = dataclasses.replace(done, why=kept)
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


def _lost(step: plans.PlannedRun, source: Done) -> str:
    """Why a step is not begun once what it waited for was not made."""
    if any(taken.step == source.step for taken in step.takes):
        return f"it takes what run {source.step} ({source.job}) was to make"
    return f"run {source.step} ({source.job}) is the same call, and was not made"


def identified(path: Path) -> model.Content:
    """What a file or a folder is, by its content; nothing is kept of it."""
    if path.is_dir():
        tree = BlobStore.hash_tree(path)
        return model.Content(tree.digest, form=model.Form.TREE, size_bytes=tree.size_bytes)
    stored = BlobStore.hash_file(path)
    return model.Content(stored.digest, size_bytes=stored.size_bytes)
