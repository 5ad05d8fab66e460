"""What each fact changed, as an event for whoever follows the log.

Decides what an event says of a fact, whose it is, and what of it somebody may hear. An event holds names, never values
that may have to go: whoever hears of something asks for it, and is told what stands then. What a Run's start, or a
quarantine, was of stands in other facts and rows than the one that is told; it is handed in.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast
from uuid import UUID

from whence_catalog import digest, facts, judging, model


@dataclass(frozen=True, slots=True)
class Made:
    """A production: the Version of that Artifact with that content, made in that role."""

    artifact: model.Artifact
    content: digest.Digest
    role: str


@dataclass(frozen=True, slots=True)
class Change:
    """What one fact changed.

    `verb` is the fact's, `at` the time it was recorded. A fact of a Run names it, with the state that it came to, and
    what it took and made. One of a Version names its Artifact and its content (`subject`, `content`), and the alias or the target
    that it was moved to; a release also names what it ended, and a target that serves nothing any more has no content.
    """

    position: int
    at: datetime
    verb: str
    project: str
    actor: model.Actor | None = None
    run: UUID | None = None
    job: str | None = None
    state: model.RunState | None = None
    took: tuple[model.Source, ...] = ()
    made: tuple[Made, ...] = ()
    subject: model.Artifact | None = None
    content: digest.Digest | None = None
    name: str | None = None
    judgement: UUID | None = None

    def is_of(self, projects: Collection[str]) -> bool:
        """Whether it is of one of these projects, or something that it made is."""
        return self.project in projects or any(made.artifact.project in projects for made in self.made)


def subject_of(fact: facts.Fact) -> tuple[UUID | None, UUID | None]:
    """What has to be handed in to `read` a fact: the Run that it is of, and the judgement that it ends."""
    match fact.verb:
        case "finish" | "add" | "log" | "presume" | "label" if "run" in fact.body:
            return UUID(bytes=cast("bytes", fact.body["run"])), None
        case "release":
            return None, judging.read_release(fact.uid, fact.body).of
        case _:
            return None, None


def read(
    position: int, fact: facts.Fact, runs: Mapping[UUID, model.Run], judged: Mapping[UUID, facts.Fact]
) -> Change:
    """What that fact changed. `runs` and `judged` hold what `subject_of` asks for."""
    event = Change(position, fact.at, fact.verb, "", fact.actor)
    match fact.verb:
        case "start" | "reuse":
            state = model.RunState.REUSED if fact.verb == "reuse" else model.RunState.RUNNING
            return replace(_of_call(event, fact.body), state=state)
        case "record":
            call = _of_call(event, cast("facts.Body", fact.body["start"]))
            return _of_report(call, fact.uid, cast("facts.Body", fact.body["finish"]))
        case "finish":
            return _of_report(_of_run(event, fact, runs), fact.uid, fact.body)
        case "presume":
            return replace(_of_run(event, fact, runs), state=model.RunState.ABORTED)
        case "add":
            addition = facts.read_add(fact.uid, fact.body)
            took = tuple(claim.source for claim in addition.inputs)
            return replace(_of_run(event, fact, runs), took=took, made=_made(addition.outputs))
        case "log":
            return _of_run(event, fact, runs)
        case "label":
            return _of_run(event, fact, runs) if "run" in fact.body else _of_version(event, fact)
        case "release":
            return _of_release(event, fact, judged)
        case "withdraw":
            return replace(event, project=cast("str", fact.body["project"]))
        case "alias" | "deploy" | "quarantine" | "approve" | "hold":
            return _of_version(event, fact)
        case verb:
            raise AssertionError(f"nobody hears of a fact with the verb {verb}")


def _of_call(event: Change, body: facts.Body) -> Change:
    call = facts.read_start(body)
    took = tuple(claim.source for claim in call.inputs)
    return replace(event, project=call.project, run=call.run, job=call.job, took=took)


def _of_run(event: Change, fact: facts.Fact, runs: Mapping[UUID, model.Run]) -> Change:
    run = runs[UUID(bytes=cast("bytes", fact.body["run"]))]
    return replace(event, project=run.project, run=run.uid, job=run.job)


def _of_report(event: Change, uid: UUID, body: facts.Body) -> Change:
    report, _ = facts.read_finish(uid, body)
    took = (*event.took, *(claim.source for claim in report.inputs))
    return replace(event, state=report.state, took=took, made=_made(report.outputs))


def _made(claims: Sequence[model.OutputClaim]) -> tuple[Made, ...]:
    return tuple(Made(claim.artifact, claim.content.digest, claim.role) for claim in claims)


def _of_version(event: Change, fact: facts.Fact) -> Change:
    artifact = facts.read_artifact(fact.body)
    named = cast("str | None", fact.body.get("alias", fact.body.get("target")))
    return replace(
        event,
        project=artifact.project,
        subject=artifact,
        content=facts.read_digest(fact.body.get("digest")),
        name=named,
        judgement=fact.uid if fact.verb in ("quarantine", "hold", "approve", "deploy") else None,
    )


def _of_release(event: Change, fact: facts.Fact, judged: Mapping[UUID, facts.Fact]) -> Change:
    ended = judged[judging.read_release(fact.uid, fact.body).of]
    return replace(_of_version(event, ended), verb=f"release-{ended.verb}", judgement=ended.uid)


def heard(change: Change, may_read: Callable[[str], bool]) -> Change | None:
    """What of a change somebody hears who may read some projects; None where it is of no concern to them.

    Of another project's Run they hear what it made in theirs, and nothing else.
    """
    made = tuple(made for made in change.made if may_read(made.artifact.project))
    if may_read(change.project):
        took = tuple(source for source in change.took if may_read(source.artifact.project))
        return (
            change if made == change.made and took == change.took else replace(change, made=made, took=took)
        )
    if not made:
        return None
    return Change(change.position, change.at, change.verb, made[0].artifact.project, made=made)
