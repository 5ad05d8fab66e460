"""Makes recorded Runs again here: restores, executes, records, compares.

`execute` makes one Run, with the inputs, parameters and code that it had or with others in their place, as a Run that
points to the original; `rerun` is what a person asks for: as it was, compared, once or several times.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_never, cast
from uuid import UUID

from whence import (
    aside,
    calls,
    capture,
    commanded,
    environment,
    environments,
    handing,
    handles,
    interrupts,
    likeness,
    obstacles,
    parameters,
    places,
    recorder,
    replayed,
    room,
    scratch,
    tickets,
)
from whence.client import Client
from whence_catalog import blobs, cache, digest, facts, model, observation
from whence_catalog import likeness as rules
from whence_catalog import rerun as reruns
from whence_catalog.errors import Conflict, Damaged, ErrorKind, NotFound

Progress = Callable[[str], None]
# Whose place an input has: its role, and its place among those of that role.
Place = tuple[str, int]

_SHOWN_LINES = 15
_LONGEST_PAUSE_SECONDS = 2.0


# ── one Run ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Executed:
    """A Run made again: `run` is the new one, with the `outputs` that are recorded for it.

    `restored` and `could_not_restore` say what was as it had been and what was not. `comparison` is with the
    original; None where it was given something else. Of a Run that was `reused`, since another process had published
    under its key, only the outputs are told.
    """

    run: model.Run
    outputs: tuple[model.Output, ...]
    claims: tuple[model.OutputClaim, ...] = ()
    seconds: float = 0.0
    restored: tuple[str, ...] = ()
    could_not_restore: tuple[str, ...] = ()
    comparison: rules.Comparison | None = None
    reused: bool = False


def execute(
    client: Client,
    record: model.RunRecord,
    inputs: Mapping[Place, model.Output] | None = None,
    params: Mapping[str, digest.Framed] | None = None,
    *,
    capture: model.Capture | None = None,
    keyed: handing.Keyed | None = None,
    options: environments.Options = environments.AS_RECORDED,
    parent: UUID | None = None,
    keep: Path | None = None,
    tolerance: rules.Tolerance = rules.EXACT,
    progress: Progress = lambda text: None,
    heard: room.Heard | None = None,
) -> Executed:
    """Make a recorded Run again in a room, and record that as a Run that points to it.

    Args:
        record: a Run that ran, and was not reused.
        inputs: productions that take the place of those that it had, by role and ordinal.
        params: parameters in place of its own, by name.
        capture: code and environment in place of its own.
        keyed: publish what is made under this key; nothing is published unless given.
        parent: the Run that this one is part of; the one that this code is inside of unless given.
        keep: a folder, new or empty, in which the room is left; a temporary one otherwise.
        tolerance: how near what is not the same has to be to be called near.
        heard: is told what the code says, as it says it.

    Raises:
        Conflict: it was not recorded how to make it, or it failed when it was made again.
        NotReady: its environment cannot be made here, or the disk is full.
        Unreachable: no package index answers.
        Damaged: its source or its environment is not in the store as it was recorded.
    """
    given = _Given(record, dict(inputs or {}), dict(params or {}), capture or record.run.capture)
    place = scratch.folder("whence-rerun-") if keep is None else nullcontext(keep)
    with place as folder, scratch.folder("whence-results-") as results:
        return _Execution(client, given, keyed, options, parent, tolerance, progress, heard).carried_out(
            folder, results
        )


@dataclass(frozen=True, slots=True)
class _Given:
    """A recorded Run, and what is put in the place of what it had."""

    record: model.RunRecord
    inputs: Mapping[Place, model.Output]
    other_params: Mapping[str, digest.Framed]
    capture: model.Capture

    @property
    def is_as_it_was(self) -> bool:
        return not (self.inputs or self.other_params) and self.capture == self.record.run.capture

    @property
    def params(self) -> dict[str, digest.Framed]:
        return {**self.record.run.params, **self.other_params}


@dataclass(frozen=True, slots=True)
class _Execution:
    client: Client
    given: _Given
    keyed: handing.Keyed | None
    options: environments.Options
    parent: UUID | None
    tolerance: rules.Tolerance
    progress: Progress
    heard: room.Heard | None

    def carried_out(self, folder: Path, results: Path) -> Executed:
        client, given, record = self.client, self.given, self.given.record
        made = self._room(folder)
        taken = [
            (used, *_lent(client, used, given.inputs.get((used.role, used.ordinal))))
            for used in record.inputs
        ]
        params = {name: parameters.kept(value, client.blobs) for name, value in given.params.items()}
        prepared = self._prepared(made, taken, params, results)
        call = self._call(taken, self._captured(made))
        answer = _reserved(client, call, self.progress)
        if isinstance(answer, cache.Reuse):
            return Executed(cast("model.Run", answer.run), answer.outputs, reused=True)
        run = cast("model.Run", answer.run)
        ticket = tickets.Ticket(
            str(run.uid), call.owner, answer.token, answer.reason.value, call.job, call.project
        )
        began, began_at = recorder.Recorder(client, run, ticket), time.monotonic()
        began.took(call.inputs)
        could_not_restore = (*made.could_not_restore, *reruns.out_of_place(given.capture))
        for text in could_not_restore:
            began.warn(f"could not be restored: {text}")
        began.begin()
        with began.recorded(), recorder.running(began):
            if self.keyed is not None:
                program = prepared.started() if isinstance(prepared, commanded.Prepared) else None
                untrue = handing.untrue(
                    self.keyed, given.capture, self._recorded(), made.made.environment, program
                )
                began.saw(observation.not_watched(), tuple(untrue))
            self.progress(f"executing {record.run.job}{_as_long_as(record)}")
            ended = prepared.run(self.heard)
            if ended.returncode:
                said = "\n".join(ended.last_lines[-_SHOWN_LINES:]).strip()
                began.end(model.RunState.FAILED, error=said or ended.how)
                raise Conflict(
                    f"run {record.run.short} was started again and {prepared.failed(ended)}:\n{said}",
                    ErrorKind.NOT_RERUNNABLE,
                )
            # The code of a command is its source, which was restored; a step's is what it then reads of it, too.
            is_step = not given.capture.command
            if (
                self.keyed is not None
                and is_step
                and handing.is_other_code(self.keyed, results / "made" / replayed.CODE)
            ):
                why = "the code that its key names is not that of the room: a value that it reads was set by who ran it"
                began.saw(observation.not_watched(), (why,))
            claims = prepared.claims(client, record, ended, results)
            comparison = None
            if given.is_as_it_was:
                self.progress("comparing")
                read = likeness.readings(client, record.outputs, claims, self.tolerance)
                comparison = rules.compare(record.outputs, claims, self.tolerance, read)
            outputs = began.end(model.RunState.COMPLETE, outputs=claims)
        restored = (
            f"source {given.capture.bundle}",
            *made.made.restored,
            *(
                f"input {used.role}: {output.version.ref} {output.version.digest}"
                for used, output, _ in taken
            ),
            *([f"parameters {', '.join(sorted(params))}"] if params else []),
            *([f"variables {', '.join(sorted(made.variables))}"] if made.variables else []),
        )
        return Executed(
            run,
            outputs,
            claims,
            time.monotonic() - began_at,
            restored,
            (*could_not_restore, *_touched(record)),
            comparison,
        )

    def _prepared(
        self,
        made: room.Room,
        taken: Sequence[tuple[model.Input, model.Output, Path]],
        params: Mapping[str, digest.Framed],
        results: Path,
    ) -> "_Step | commanded.Prepared":
        captured = self.given.capture
        if captured.command:
            return commanded.prepare(made, captured, taken, params, self.given.record.run.project)
        arguments = results / "arguments"
        around = capture.restored_closure(self.client, captured)
        run, is_keyed = self.given.record.run, self.keyed is not None
        replayed.write(arguments, params, taken, run, captured, around, is_keyed=is_keyed)
        return _Step(made, _entry(captured), arguments, results / "made")

    def _recorded(self) -> environment.Environment:
        return environment.decode(
            self.client.blobs.read_bytes(cast("digest.Digest", self.given.capture.environment))
        )

    def _room(self, folder: Path) -> room.Room:
        client, capture, run = self.client, self.given.capture, self.given.record.run
        if capture.bundle is None or capture.environment is None:
            what = "source" if capture.bundle is None else "environment"
            raise Conflict(
                f"run {run.short} ({run.job}) cannot be made again: its {what} was not recorded",
                ErrorKind.NOT_RERUNNABLE,
            )
        recorded = self._recorded()
        self.progress(
            f"restoring the source, and {len(recorded.distributions)} packages on Python {recorded.python}"
        )
        return room.Room.make(
            folder,
            recorded,
            capture.bundle,
            client.blobs,
            env=self.options.env,
            nearest=self.options.nearest,
            offline=self.options.offline,
            progress=self.progress,
        )

    def _captured(self, made: room.Room) -> model.Capture:
        """What this Run keeps: the code that it was given, and the environment that it really has."""
        inside = made.made.environment
        stored = self.client.blobs.put_bytes(environment.encode(inside))
        return replace(self.given.capture, environment=stored, python=inside.minor)

    def _call(
        self, taken: Sequence[tuple[model.Input, model.Output, Path]], captured: model.Capture
    ) -> model.Call:
        client, run, uid = self.client, self.given.record.run, calls.new_uid()
        return model.Call(
            run=uid,
            project=run.project,
            job=run.job,
            actor=client.actor,
            mode=model.Mode.RECORD if self.keyed is None else model.Mode.REUSE,
            params={
                **run.params,
                **{n: parameters.keep(v, client.blobs) for n, v in self.given.other_params.items()},
            },
            inputs=tuple(
                model.InputClaim(
                    used.role,
                    model.Source(output.version.artifact, output.version.digest, output.run),
                    used.ordinal,
                )
                for used, output, _ in taken
            ),
            key=None if self.keyed is None else self.keyed.key,
            components=() if self.keyed is None else self.keyed.components,
            parent=self.parent or recorder.current_uid(),
            rerun_of=run.uid,
            capture=captured,
            owner=recorder.owner_of(uid),
            claimed_at=datetime.now(UTC),
            presence_age=timedelta(0) if client.blobs.is_local else timedelta(hours=1),
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that can be called in `made`, with what the file `arguments` holds."""

    made: room.Room
    entry: str
    arguments: Path
    results: Path

    def run(self, heard: room.Heard | None) -> room.Ended:
        return self.made.run(self.entry, self.arguments, self.results, heard=heard)

    def failed(self, ended: room.Ended) -> str:
        if (self.results / replayed.REACHED).exists():
            return f"failed ({ended.how})"
        return f"its entry point {self.entry} could not be reached any more ({ended.how})"

    def claims(
        self, client: Client, record: model.RunRecord, ended: room.Ended, scratch: Path
    ) -> tuple[model.OutputClaim, ...]:
        return _collect(client, self.results)


def _entry(capture: model.Capture) -> str:
    if capture.entry is None:
        raise Conflict("its entry point was not recorded", ErrorKind.NOT_RERUNNABLE)
    return capture.entry


def _reserved(client: Client, call: model.Call, progress: Progress) -> cache.Execute | cache.Reuse:
    """The catalog's answer once it is one, after looking at what it wants looked at, and waiting for who is at it."""
    pause = 0.05
    while True:
        answer = client.writer.reserve(call)
        match answer:
            case cache.Execute() | cache.Reuse():
                return answer
            case cache.Verify(unknown=unknown, trees=trees, places=elsewhere):
                present, missing, altered = client.look(unknown, trees)
                seen = places.look(elsewhere)
                call = replace(
                    call,
                    present=call.present | present,
                    missing=call.missing | missing,
                    altered=call.altered | altered,
                    sightings=(*call.sightings, *seen),
                    # Only the system that keeps it can say whether it is there: then it is made again.
                    mode=call.mode if len(seen) == len(elsewhere) else model.Mode.REFRESH,
                )
            case cache.Wait(holder=holder):
                progress(f"waiting for {holder}, which computes the same")
                interrupts.pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                call = replace(call, present=frozenset(), missing=frozenset(), altered=frozenset())
            case _:
                assert_never(answer)


def _lent(client: Client, used: model.Input, instead: model.Output | None) -> tuple[model.Output, Path]:
    """The production that an input is taken from, and where its bytes lie here."""
    output = instead
    if output is None:
        productions = client.catalog.productions(used.version.artifact)
        made = (p for p in productions if p.version == used.version and used.producer in (None, p.run))
        output = next(made, None)
    if output is None:
        raise NotFound(
            f"input {used.role} ({used.version.ref}) has no production that may be seen from here",
            ErrorKind.NO_SUCH_VERSION,
        )
    return output, handles.bound(output, client).path


def _collect(client: Client, made: Path) -> tuple[model.OutputClaim, ...]:
    """What the room made, its bytes moved into the store."""
    body = cast("facts.Body", digest.unframe((made / replayed.OUTPUTS).read_bytes()))
    own = blobs.BlobStore.open((made / replayed.STORE).as_uri(), cache=made / "cache")
    claims = facts.read_add(calls.new_uid(), body).outputs
    for place, claim in enumerate(claims):
        handed_on = {source.digest for source in claim.derived_from or ()}
        if claim.content.digest not in handed_on:  # an input that is returned lies where it lay
            aside.move(client, own, claim.content, made / f"moved-{place}")
    return claims


def _touched(record: model.RunRecord) -> tuple[str, ...]:
    """What it had read, or may have, beside its inputs: no room brings that back."""
    return (*record.run.capture.blind_spots, *observation.unseen(record.observed))


def _as_long_as(record: model.RunRecord) -> str:
    run = record.run
    if run.finished_at is None:
        return ""
    return f", which took {(run.finished_at - run.started_at).total_seconds():.1f} s"


# ── as a person asks for it ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RerunOutput:
    """One output made again; a digest is None where only the other Run made it.

    `varies` says whether several reruns differ among themselves; None where there was one.
    """

    role: str
    ref: str
    before: digest.Digest | None
    after: digest.Digest | None
    likeness: rules.Likeness
    varies: bool | None = None


@dataclass(frozen=True, slots=True)
class Rerun:
    """A Run made again: `run` is the new one, the last of `runs`, where it was made several times.

    `captured` is what the original had recorded; of that, `restored` was as it had been. What it could not restore
    may be why something differs. The likeness is that of the worst of them.
    """

    run: str
    original: str
    job: str
    likeness: rules.Likeness
    outputs: tuple[RerunOutput, ...]
    captured: tuple[str, ...]
    restored: tuple[str, ...]
    could_not_restore: tuple[str, ...]
    seconds: float
    runs: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether all is the same, to the bit."""
        return isinstance(self.likeness, rules.Identical)

    @property
    def varying(self) -> tuple[str, ...]:
        """The roles of the outputs that differ from one rerun to another."""
        return tuple(output.role for output in self.outputs if output.varies)


def rerun(
    client: Client,
    prefix: str,
    *,
    times: int = 1,
    options: environments.Options = environments.AS_RECORDED,
    tolerance: rules.Tolerance = rules.EXACT,
    keep: Path | None = None,
    progress: Progress,
    heard: room.Heard | None = None,
) -> Rerun:
    """Make a recorded Run again, from its record alone, and compare output by output.

    Args:
        prefix: of the Run's id. A reused Run is made again by making its origin again.
        times: how often; more than once, the outputs that vary among the reruns are named.
        keep: a folder, new or empty, in which the room is left (the last); a temporary one otherwise.

    Raises:
        InvalidInput: `keep` holds something.
        Conflict: it cannot be made again; the message says why.
        NotReady: its environment cannot be made here.
    """
    if keep is not None:
        room.require_empty(keep)  # before the first of several is made
    record = client.catalog.run(prefix)
    if record.run.origin is not None:
        record = client.catalog.run(str(record.run.origin))
    plan, why = obstacles.asked(client, record)
    if why:
        raise _blocked(record, why)
    made = []
    for time_ in range(1, times + 1):
        if times > 1:
            progress(f"time {time_} of {times}")
        room_kept = keep if time_ == times else None
        try:
            made.append(
                execute(
                    client,
                    record,
                    options=options,
                    tolerance=tolerance,
                    keep=room_kept,
                    progress=progress,
                    heard=heard,
                )
            )
        except Damaged as error:
            raise _blocked(record, obstacles.met(client, record, error)) from error
    compared = [cast("rules.Comparison", each.comparison) for each in made]
    last = made[-1]
    return Rerun(
        run=str(last.run.uid),
        original=str(record.run.uid),
        job=record.run.job,
        likeness=rules.worst([each.overall for each in compared]),
        outputs=_beside(record, made),
        captured=plan.restored,
        restored=last.restored,
        could_not_restore=last.could_not_restore,
        seconds=sum(each.seconds for each in made),
        runs=tuple(str(each.run.uid) for each in made),
    )


def _blocked(record: model.RunRecord, why: Sequence[str]) -> Conflict:
    return Conflict(
        f"run {record.run.uid} ({record.run.job}) cannot be made again: {'; '.join(why)}",
        ErrorKind.NOT_RERUNNABLE,
    )


def _beside(record: model.RunRecord, made: Sequence[Executed]) -> tuple[RerunOutput, ...]:
    """Each output with the worst of its likenesses, and whether it varies."""
    old = {output.role: output for output in record.outputs}
    new = {claim.role: claim for claim in made[-1].claims}
    judged: dict[str, list[rules.Likeness]] = {}
    for each in made:
        compared = cast("rules.Comparison", each.comparison)
        found: dict[str, rules.Likeness] = {output.role: output.likeness for output in compared.outputs}
        found |= dict.fromkeys(compared.missing, rules.Different(("it was not made again",)))
        found |= dict.fromkeys(compared.extra, rules.Different(("the original made no such output",)))
        for role, likeness_ in found.items():
            judged.setdefault(role, []).append(likeness_)
    varies = {each.role: each.varies for each in rules.stability([each.claims for each in made])}
    return tuple(
        RerunOutput(
            role,
            old[role].version.ref if role in old else _named(made, role),
            old[role].version.digest if role in old else None,
            new[role].content.digest if role in new else None,
            rules.worst(judged[role]),
            None if len(made) == 1 else varies.get(role, False),
        )
        for role in sorted(judged)
    )


def _named(made: Sequence[Executed], role: str) -> str:
    return next(str(claim.artifact) for each in made for claim in each.claims if claim.role == role)
