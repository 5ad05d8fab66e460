"""Carries out a RerunPlan here: restores, executes, records, compares."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from whence import calls, environment, handles, parameters, replayed, room
from whence.client import Client
from whence_catalog import blobs, cache, digest, facts, model
from whence_catalog import rerun as rules
from whence_catalog.errors import Conflict, ErrorKind, WhenceError

Progress = Callable[[str], None]
_SHOWN_LINES = 15


@dataclass(frozen=True, slots=True)
class RerunOutput:
    """One output made again; a digest is None where only the other Run made it."""

    role: str
    ref: str
    before: digest.Digest | None
    after: digest.Digest | None
    likeness: rules.Likeness


@dataclass(frozen=True, slots=True)
class Rerun:
    """A Run made again: `run` is the new one. What it could not restore may be why something differs."""

    run: str
    original: str
    job: str
    likeness: rules.Likeness
    outputs: tuple[RerunOutput, ...]
    could_not_restore: tuple[str, ...]
    seconds: float

    @property
    def identical(self) -> bool:
        """Whether all is the same, to the bit."""
        return isinstance(self.likeness, rules.Identical)


def rerun(client: Client, prefix: str, *, keep: Path | None, progress: Progress) -> Rerun:
    """Make a recorded Run again, from its record alone, and compare output by output.

    Args:
        prefix: of the Run's id. A reused Run is made again by making its origin again.
        keep: a folder, new or empty, in which the room is left; a temporary one otherwise.

    Raises:
        Conflict: it cannot be made again; the message says why.
        NotReady: its environment cannot be made here.
    """
    record = client.catalog.run(prefix)
    if record.run.origin is not None:
        record = client.catalog.run(str(record.run.origin))
    plan = client.catalog.plan_rerun(str(record.run.uid), _unavailable(client, record))
    for planned in plan.steps:
        if isinstance(planned.step, rules.Blocked):
            raise Conflict(
                f"run {planned.run} ({planned.job}) cannot be made again: {'; '.join(planned.step.why)}",
                ErrorKind.NOT_RERUNNABLE,
            )
    scratch: AbstractContextManager[str] = (
        nullcontext(str(keep)) if keep is not None else tempfile.TemporaryDirectory(prefix="whence-rerun-")
    )
    with scratch as folder, tempfile.TemporaryDirectory(prefix="whence-results-") as results:
        return _in_room(client, record, Path(folder), Path(results), progress)


def _unavailable(client: Client, record: model.RunRecord) -> frozenset[digest.Digest]:
    capture = record.run.capture
    trees = {i.version.digest for i in record.inputs if i.version.content.form is model.Form.TREE}
    wanted = {i.version.digest for i in record.inputs if i.version.content.strength is model.Strength.CONTENT}
    wanted |= {named for named in (capture.bundle, capture.environment) if named is not None}
    if capture.bundle is not None:
        trees.add(capture.bundle)
    _, missing, altered = client.look(frozenset(wanted), frozenset(trees))
    return missing | altered


def _in_room(
    client: Client, record: model.RunRecord, folder: Path, results: Path, progress: Progress
) -> Rerun:
    capture = record.run.capture
    assert capture.bundle is not None
    assert capture.environment is not None
    assert capture.entry is not None
    recorded = environment.decode(client.blobs.read_bytes(capture.environment))
    progress(f"restoring the source and {len(recorded.distributions)} packages on Python {recorded.python}")
    made = room.Room.make(folder, recorded, capture.bundle, client.blobs)
    arguments = results / "arguments"
    taken = [(used, *_lent(client, used)) for used in record.inputs]
    params = {name: parameters.kept(value, client.blobs) for name, value in record.run.params.items()}
    replayed.write(arguments, params, taken, record.run.project)
    progress(f"executing {record.run.job}")
    began = datetime.now(UTC)
    again = _start(client, record, taken)
    with _ended(client, again):
        ended = made.run(capture.entry, arguments, results / "made")
        if ended.returncode:
            said = "\n".join(ended.stderr.strip().splitlines()[-_SHOWN_LINES:])
            raise Conflict(
                f"run {record.run.short} was started again and failed:\n{said}", ErrorKind.NOT_RERUNNABLE
            )
        claims = _collect(client, record, results / "made")
        progress("comparing")
        comparison = rules.compare(record.outputs, claims)
        _finish(client, again, model.RunState.COMPLETE, claims, None, made.could_not_restore)
    return Rerun(
        run=str(again.uid),
        original=str(record.run.uid),
        job=record.run.job,
        likeness=comparison.overall,
        outputs=_beside(record, claims, comparison),
        could_not_restore=made.could_not_restore,
        seconds=(datetime.now(UTC) - began).total_seconds(),
    )


def _beside(
    record: model.RunRecord, claims: tuple[model.OutputClaim, ...], compared: rules.Comparison
) -> tuple[RerunOutput, ...]:
    old = {output.role: output for output in record.outputs}
    new = {claim.role: claim for claim in claims}
    likeness: dict[str, rules.Likeness] = {output.role: output.likeness for output in compared.outputs}
    likeness |= dict.fromkeys(compared.missing, rules.Different(("it was not made again",)))
    likeness |= dict.fromkeys(compared.extra, rules.Different(("the original made no such output",)))
    return tuple(
        RerunOutput(
            role,
            old[role].version.ref if role in old else str(new[role].artifact),
            old[role].version.digest if role in old else None,
            new[role].content.digest if role in new else None,
            likeness[role],
        )
        for role in sorted(likeness)
    )


def _lent(client: Client, used: model.Input) -> tuple[model.Output, Path]:
    """The production that an input was taken from, and where its bytes lie here."""
    productions = client.catalog.productions(used.version.artifact)
    output = next(p for p in productions if p.version == used.version and used.producer in (None, p.run))
    return output, handles.bound(output, client).path


def _start(
    client: Client, record: model.RunRecord, taken: Sequence[tuple[model.Input, model.Output, Path]]
) -> model.Run:
    call = model.Call(
        run=calls.new_uid(),
        project=record.run.project,
        job=record.run.job,
        actor=client.actor,
        mode=model.Mode.RECORD,
        params=record.run.params,
        inputs=tuple(
            model.InputClaim(
                used.role,
                model.Source(output.version.artifact, output.version.digest, output.run),
                used.ordinal,
            )
            for used, output, _ in taken
        ),
        rerun_of=record.run.uid,
        capture=record.run.capture,
        claimed_at=datetime.now(UTC),
    )
    answer = client.writer.reserve(call)
    return cast("model.Run", cast("cache.Execute", answer).run)


@contextmanager
def _ended(client: Client, run: model.Run) -> Iterator[None]:
    """Beats for the Run that makes another again, and ends it badly if what is inside raises."""
    client.beater.add(run.uid, lambda: None)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        state = model.RunState.ABORTED if stopped else model.RunState.FAILED
        try:
            _finish(client, run, state, (), str(error) or type(error).__name__)
        except WhenceError as second:
            error.add_note(f"whence could not record that run {run.uid} is {state}: {second}")
        raise
    finally:
        client.beater.remove(run.uid)


def _finish(
    client: Client,
    run: model.Run,
    state: model.RunState,
    claims: tuple[model.OutputClaim, ...],
    error: str | None,
    warnings: tuple[str, ...] = (),
) -> None:
    report = model.Report(
        uid=calls.new_uid(),
        run=run.uid,
        state=state,
        actor=client.actor,
        outputs=claims,
        warnings=tuple(f"could not be restored: {text}" for text in warnings),
        error=error,
        claimed_at=datetime.now(UTC),
    )
    client.writer.finish(report)


def _collect(client: Client, record: model.RunRecord, made: Path) -> tuple[model.OutputClaim, ...]:
    """What the room made, its bytes moved into the store, named as the original named it."""
    body = cast("facts.Body", digest.unframe((made / replayed.OUTPUTS).read_bytes()))
    own = blobs.BlobStore.open((made / replayed.STORE).as_uri(), cache=made / "cache")
    original = {output.role: output for output in record.outputs}
    claims = []
    for place, claim in enumerate(facts.read_add(calls.new_uid(), body).outputs):
        _move(client, own, claim.content, made / f"moved-{place}")
        twin = original.get(claim.role)
        artifact = twin.version.artifact if twin else replace(claim.artifact, project=record.run.project)
        claims.append(replace(claim, artifact=artifact))
    return tuple(claims)


def _move(client: Client, own: blobs.BlobStore, content: model.Content, through: Path) -> None:
    if content.form is model.Form.TREE:
        own.copy_tree(content.digest, through)
        client.blobs.put_tree(through)
        shutil.rmtree(through)
    else:
        own.copy_file(content.digest, through)
        client.blobs.put_file(through)
        through.unlink()
