"""One Run of a plan that is due: all that it takes is known. What its key stands for is taken, or it is made.

It is asked for under the key that it has now, so that nothing is computed that somebody has computed, or is computing.
Leaves to others: which Run is due when (`applying`), and how one is made again (`replay`).
"""

import dataclasses
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, assert_never
from uuid import UUID

from whence import (
    calls,
    connecting,
    environment,
    environments,
    handing,
    interrupts,
    obstacles,
    places,
    recorder,
    replay,
)
from whence.client import Client
from whence_catalog import cache, digest, model, plans, rekeyed, rerun
from whence_catalog.errors import Damaged, InvalidInput, WhenceError

_LONGEST_PAUSE_SECONDS = 1.0


class End(StrEnum):
    """How one Run of a plan ended."""

    EXECUTED = "executed"
    REUSED = "reused"
    FAILED = "failed"
    # It could not be run, or something that it takes was not made.
    BLOCKED = "blocked"
    # It was not begun, or not brought to its end, since all was to stop.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Due:
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
    """What became of the planned Run `step`: `run` is the one that was recorded for it, if one was.

    `trace` is the traceback of what went wrong where nothing of the kind should.
    """

    step: UUID
    job: str
    end: End
    run: UUID | None = None
    outputs: tuple[model.Output, ...] = ()
    seconds: float = 0.0
    why: str | None = None
    trace: str | None = None


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
        keyed: handing.Keyed | None,
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
        keyed: handing.Keyed | None,
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


def perform(client: Client, due: Due, make: Maker, progress: Callable[[str], None]) -> Done:
    """Carry a due out: what its key stands for is taken where it is known, and made where it is not.

    Whatever is raised is how this one ended: it says nothing of what else there is to do.
    """
    began = time.monotonic()
    step = due.step
    try:
        done = _perform(client, due, make, progress)
    except interrupts.Interrupted:
        done = Done(step.run, step.job, End.STOPPED, why="it was interrupted")
    except WhenceError as error:
        done = Done(step.run, step.job, End.FAILED, why=str(error).strip())
    except Exception as error:
        why = "".join(traceback.format_exception_only(error)).strip()
        trace = "".join(traceback.format_exception(error))
        done = Done(step.run, step.job, End.FAILED, why=why, trace=trace)
    return dataclasses.replace(done, seconds=time.monotonic() - began)


def perform_there(
    due: Due, make: Maker | None = None, progress: Callable[[str], None] = lambda text: None
) -> Done:
    """As `perform`, in whatever process: for an `Executor` that carries out elsewhere."""
    client = connecting.open_client(due.url, project=due.project, blobs_url=due.blobs)
    try:
        return perform(client, due, make or InRoom(), progress)
    finally:
        client.close()


def _perform(client: Client, due: Due, make: Maker, progress: Callable[[str], None]) -> Done:
    step = due.step
    record = _recorded(client, step)
    had = {(used.role, used.ordinal): used for used in record.inputs}
    moved = [
        f"inputs/{taken.role}"
        for taken in due.takes
        if content_of(taken) != had[taken.role, taken.ordinal].version.content
    ]
    if step.stands and not moved and not _unfit(client, _handed_on(record)):
        return _done(step, End.REUSED, record.run, record.outputs)
    components = rekeyed.components(step.components, due.takes, dict.fromkeys(moved), {}, None)
    keyed = handing.Keyed(cache.key(components), components) if components else None
    if keyed is not None:
        reused = _looked_up(client, _call(client, due, record, keyed), progress)
        if reused is not None:
            return _done(step, End.REUSED, reused.run, reused.outputs)
    lacking = step.step.obstacles if isinstance(step.step, plans.Conditional) else ()
    lacking += _unfit(client, due.takes)
    if lacking:
        return Done(step.run, step.job, End.BLOCKED, why="; ".join(lacking))
    try:
        made = make(
            client,
            record,
            _instead(client, due, had),
            due.params,
            capture=due.capture,
            keyed=keyed,
            parent=due.apply,
            progress=progress,
        )
    except Damaged as error:
        # To look before would be to ask for each file of a Bundle and of a tree each time.
        why = obstacles.met(client, _given(client, due, record), error)
        return Done(step.run, step.job, End.BLOCKED, why="; ".join(why))
    return _done(step, End.REUSED if made.reused else End.EXECUTED, made.run, made.outputs)


def _done(step: plans.PlannedRun, end: End, run: model.Run | None, outputs: tuple[model.Output, ...]) -> Done:
    return Done(step.run, step.job, end, None if run is None else run.uid, outputs)


def content_of(taken: plans.Taken) -> model.Content:
    """The content of what is taken, which is known."""
    assert taken.content is not None, "what a due takes is there"
    return taken.content


def _recorded(client: Client, step: plans.PlannedRun) -> model.RunRecord:
    """The Run that is made again, with what the planned one took: where an argument is in no key, that may be other."""
    recipe = client.catalog.run(str(step.recipe))
    planned = recipe if step.run == step.recipe else client.catalog.run(str(step.run))
    if not planned.inputs:
        return recipe
    run = dataclasses.replace(recipe.run, params=planned.run.params)
    return dataclasses.replace(recipe, run=run, inputs=planned.inputs)


def _handed_on(record: model.RunRecord) -> list[plans.Taken]:
    """What others would take of it, if nothing is run."""
    return [
        plans.Taken(made.role, 0, made.version.artifact, made.version.content, made.run)
        for made in record.outputs
    ]


def _unfit(client: Client, takes: Sequence[plans.Taken]) -> tuple[str, ...]:
    """Why nothing is to be made of what is taken: what was said of it until now, whatever the plan knew."""
    return tuple(why for used, taints in _judged(client, takes) for why in rerun.unfit(used, taints))


def _given(client: Client, due: Due, record: model.RunRecord) -> model.RunRecord:
    """The Run as it is made this time: of the code and the inputs that are put in the place of what it had."""
    run = dataclasses.replace(record.run, capture=due.capture or record.run.capture)
    inputs = tuple(used for used, _ in _judged(client, due.takes))
    return dataclasses.replace(record, run=run, inputs=inputs)


def _judged(
    client: Client, takes: Sequence[plans.Taken]
) -> Iterator[tuple[model.Input, Sequence[model.Taint]]]:
    """What is taken, and what was said of it until now."""
    named = [model.Reference(taken.artifact, content_of(taken).digest.text) for taken in takes]
    for taken, judged in zip(takes, client.catalog.judgements(named) if named else (), strict=True):
        if isinstance(judged, WhenceError):
            raise judged
        yield model.Input(taken.role, judged.version, taken.producer, taken.ordinal), judged.taints


def _source(taken: plans.Taken) -> model.Source:
    return model.Source(taken.artifact, content_of(taken).digest, taken.producer)


def _instead(
    client: Client, due: Due, had: Mapping[replay.Place, model.Input]
) -> dict[replay.Place, model.Output]:
    """The productions that take the place of those that it had.

    Raises:
        InvalidInput: nobody is known to have made what does.
    """
    moved: list[plans.Taken] = []
    for taken in due.takes:
        was, now = had[taken.role, taken.ordinal], (taken.artifact, content_of(taken).digest, taken.producer)
        if now == (was.version.artifact, was.version.digest, was.producer):
            continue
        if taken.producer is not None:
            moved.append(taken)
        elif content_of(taken).digest != was.version.digest:
            named = f"{taken.artifact}@{content_of(taken).digest.short}"
            raise InvalidInput(f"input {taken.role}: no run is known to have made {named}")
    found = client.catalog.named_productions([_source(taken) for taken in moved]) if moved else ()
    instead: dict[replay.Place, model.Output] = {}
    for taken, output in zip(moved, found, strict=True):
        if isinstance(output, WhenceError):
            raise output
        instead[taken.role, taken.ordinal] = output
    return instead


def _call(client: Client, due: Due, record: model.RunRecord, keyed: handing.Keyed) -> model.Call:
    uid = calls.new_uid()
    return model.Call(
        run=uid,
        project=record.run.project,
        job=record.run.job,
        actor=client.actor,
        mode=model.Mode.REUSE,
        params={**record.run.params, **due.params},
        inputs=tuple(model.InputClaim(taken.role, _source(taken), taken.ordinal) for taken in due.takes),
        key=keyed.key,
        components=keyed.components,
        parent=due.apply,
        rerun_of=record.run.uid,
        capture=due.capture or record.run.capture,
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
                interrupts.pause(pause)
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
