"""A whole ancestry made again: every Run behind a Version, from the data where it begins, each compared with its original.

A step takes what the steps before it made this time, so a difference goes on to whoever comes of it. What cannot be
made again stands as it was recorded; the report says which, and who was given it.
"""

import graphlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

from whence import environments, interrupts, likeness, obstacles, replay
from whence.client import Client
from whence_catalog import likeness as rules
from whence_catalog import model, wire
from whence_catalog.errors import Conflict, ErrorKind, WhenceError

PUBLISHING = "whence.publish"
JOB = "whence.rerun"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One Run of the ancestry. `run` made it again; None where that could not be, and `why` then says it.

    `given_others` are the inputs for which it got other bytes than the original had, since who made them made others
    this time; `given_recorded` those that stand as they were recorded, since their makers could not be made again.
    """

    original: str
    job: str
    run: str | None = None
    why: str | None = None
    likeness: rules.Likeness | None = None
    outputs: tuple[rules.OutputComparison, ...] = ()
    given_others: tuple[str, ...] = ()
    given_recorded: tuple[str, ...] = ()
    could_not_restore: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Whole:
    """An ancestry made again: its `steps`, each after those that it took something of, and the data where it begins.

    `run` is the parent of all that was run. `unknown` are inputs of which it is not known for certain who made them.
    """

    of: str
    run: str
    steps: tuple[Step, ...]
    roots: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def likeness(self) -> rules.Likeness:
        """The judgement of all of it: identical only where every step was made again and is."""
        different = [f"{step.job}: {text}" for step in self.steps for text in _different(step)]
        if different:
            return rules.Different(tuple(different))
        open_ = [f"{step.job}: {step.why}" for step in self.steps if step.why is not None]
        open_ += [
            f"{step.job}: {step.likeness.why}"
            for step in self.steps
            if isinstance(step.likeness, rules.NotComparable)
        ]
        open_ += [f"{text}: who made it is not known for certain" for text in self.unknown]
        if open_:
            return rules.NotComparable("; ".join(open_))
        near = [
            f"{step.job}: {text}"
            for step in self.steps
            if isinstance(step.likeness, rules.WithinTolerance)
            for text in step.likeness.how
        ]
        if near:
            return rules.WithinTolerance(tuple(near))
        return (
            rules.Identical() if self.steps else rules.NotComparable("it was published, and nothing made it")
        )


def _different(step: Step) -> Sequence[str]:
    return step.likeness.how if isinstance(step.likeness, rules.Different) else ()


@dataclass(frozen=True, slots=True)
class Ancestry:
    """The Runs behind a Version, each after those that it took something of.

    `makers` are, by Run, role and ordinal of an input, the production that it was taken from, and who ran to make it.
    """

    records: Mapping[UUID, model.RunRecord]
    order: tuple[UUID, ...]
    before: Mapping[UUID, frozenset[UUID]]
    makers: Mapping[tuple[UUID, str, int], tuple[model.Output, UUID]]
    roots: tuple[str, ...]
    unknown: tuple[str, ...]


def behind(client: Client, reference: str) -> Ancestry:
    """All that has to be run to make a Version again from the data where it begins.

    Raises:
        NotFound: with near names.
        Conflict: Runs behind it took something of each other while they ran.
    """
    records: dict[UUID, model.RunRecord] = {}
    before: dict[UUID, frozenset[UUID]] = {}
    makers: dict[tuple[UUID, str, int], tuple[model.Output, UUID]] = {}
    roots: dict[str, None] = {}
    unknown: dict[str, None] = {}
    subject = client.get(reference)
    waiting = [_ran(client, subject.run)]
    if _is_root(waiting[0]):
        return Ancestry({}, (), {}, {}, (subject.ref,), ())
    while waiting:
        record = waiting.pop()
        run = record.run.uid
        if run in records:
            continue
        records[run] = record
        taken = set()
        for used in record.inputs:
            made = _production(client, record, used)
            if used.producer is None:
                unknown[f"input {used.role} ({used.version.ref}) of run {record.run.short}"] = None
            maker = None if made is None else _ran(client, made.run)
            if made is None or maker is None or _is_root(maker):
                roots[used.version.ref] = None
                continue
            makers[run, used.role, used.ordinal] = made, maker.run.uid
            taken.add(maker.run.uid)
            waiting.append(maker)
        before[run] = frozenset(taken)
    return Ancestry(records, _in_order(records, before), before, makers, tuple(roots), tuple(unknown))


def _is_root(record: model.RunRecord) -> bool:
    """Whether the data begins there: it was handed in, and nothing is said of what it came from."""
    return record.run.job == PUBLISHING and not record.inputs


def _ran(client: Client, run: UUID) -> model.RunRecord:
    """The Run, or the one that it was reused from."""
    record = client.catalog.run(str(run))
    return record if record.run.origin is None else client.catalog.run(str(record.run.origin))


def _production(client: Client, record: model.RunRecord, used: model.Input) -> model.Output | None:
    """The production that an input was taken from; where that is not known, the last one before the Run."""
    if used.producer is not None:
        made = client.catalog.productions(used.version.artifact)
        return next((p for p in made if p.version == used.version and p.run == used.producer), None)
    for output in client.catalog.productions(used.version.artifact):
        if output.version == used.version and output.run != record.run.uid:
            maker = client.catalog.run(str(output.run)).run
            if (maker.started_at, maker.uid) < (record.run.started_at, record.run.uid):
                return output
    return None


def _in_order(
    records: Mapping[UUID, model.RunRecord], before: Mapping[UUID, frozenset[UUID]]
) -> tuple[UUID, ...]:
    try:
        return tuple(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        among = ", ".join(dict.fromkeys(records[run].run.short for run in error.args[1]))
        raise Conflict(
            f"runs {among} took something of each other while they ran, so none can be made again before the others",
            ErrorKind.NOT_RERUNNABLE,
        ) from error


def rerun(
    client: Client,
    reference: str,
    *,
    options: environments.Options = environments.AS_RECORDED,
    tolerance: rules.Tolerance = rules.EXACT,
    jobs: int = 1,
    progress: Progress = lambda text: None,
) -> Whole:
    """Make all again that a Version came from, and it, each as a Run that points to its original.

    Args:
        jobs: how many at a time; each after those that it takes something of.

    Raises:
        NotFound: no such Version.
    """
    found = behind(client, reference)
    with client.run(JOB, params={"whole": reference}) as parent:
        making = _Making(client, found, options, tolerance, parent.uid, progress)
        steps = making.all(jobs)
    return Whole(reference, parent.id, steps, found.roots, found.unknown)


class _Making:
    def __init__(
        self,
        client: Client,
        found: Ancestry,
        options: environments.Options,
        tolerance: rules.Tolerance,
        parent: UUID,
        progress: Progress,
    ) -> None:
        self._client = client
        self._found = found
        self._options = options
        self._tolerance = tolerance
        self._parent = parent
        self._progress = progress
        self._made: dict[UUID, dict[str, model.Output]] = {}
        self._steps: dict[UUID, Step] = {}
        self._guard = threading.Lock()

    def all(self, jobs: int) -> tuple[Step, ...]:
        sorter = graphlib.TopologicalSorter(self._found.before)
        sorter.prepare()
        going: dict[Future[Step], UUID] = {}
        interrupt = interrupts.Interrupt()
        with ThreadPoolExecutor(jobs, initializer=interrupt.heed) as pool:
            try:
                while sorter.is_active():
                    for run in sorter.get_ready():
                        going[pool.submit(self._step, run)] = run
                    done, _ = wait(going, interrupts.LOOK_SECONDS, return_when=FIRST_COMPLETED)
                    for future in done:
                        run = going.pop(future)
                        self._steps[run] = future.result()
                        sorter.done(run)
            except BaseException:
                # Whatever it is, it was told here: what runs elsewhere ends with it.
                interrupt.set()
                pool.shutdown(cancel_futures=True)
                raise
        return tuple(self._steps[run] for run in self._found.order)

    def _step(self, run: UUID) -> Step:
        record = self._found.records[run]
        inputs, others, recorded = self._inputs(record)
        told = Step(
            original=str(run), job=record.run.job, given_others=tuple(others), given_recorded=tuple(recorded)
        )
        say = self._progress
        try:
            why = obstacles.of(self._client, record, inputs)
            if why:
                return replace(told, why="; ".join(why))
            again = replay.execute(
                self._client,
                record,
                inputs,
                options=self._options,
                tolerance=self._tolerance,
                parent=self._parent,
                progress=lambda text: say(f"{record.run.job}: {text}"),
            )
        except WhenceError as error:
            return replace(told, why=str(error))
        read = likeness.readings(self._client, record.outputs, again.claims, self._tolerance)
        compared = rules.compare(record.outputs, again.claims, self._tolerance, read)
        with self._guard:
            self._made[run] = {output.role: output for output in again.outputs}
        return replace(
            told,
            run=str(again.run.uid),
            likeness=compared.overall,
            outputs=compared.outputs,
            could_not_restore=again.could_not_restore,
            seconds=again.seconds,
        )

    def _inputs(
        self, record: model.RunRecord
    ) -> tuple[dict[replay.Place, model.Output], list[str], list[str]]:
        """What the steps before it made this time, in the place of what it had; what of that is other; what stands."""
        instead: dict[replay.Place, model.Output] = {}
        others, recorded = [], []
        for used in record.inputs:
            maker = self._found.makers.get((record.run.uid, used.role, used.ordinal))
            if maker is None:
                continue
            with self._guard:
                made = self._made.get(maker[1], {}).get(maker[0].role)
            if made is None:
                recorded.append(used.role)
                continue
            instead[used.role, used.ordinal] = made
            if made.version.digest != used.version.digest:
                others.append(used.role)
        return instead, others, recorded


def plain(made: Whole) -> dict[str, object]:
    """What `--json` prints: all that is told, and the judgement of it."""
    said = cast("dict[str, object]", wire.plain(made))
    return {**said, "likeness": wire.plain(made.likeness)}
