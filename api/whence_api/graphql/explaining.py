"""Why a Run has its key, as GraphQL shows it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID

import strawberry

from whence_api.graphql import enums, relay
from whence_catalog import cache


@strawberry.type(description="A part of a key beside its namesake in another.")
class ComponentVerdict:
    """A part of a key beside its namesake."""

    name: str = strawberry.field(description="Its name, such as `code` or `params/lr`.")
    change: cache.Change = strawberry.field(description="How the two compare.")
    before: str | None = strawberry.field(
        description="What it was; null for nothing, or nothing to be shown."
    )
    after: str | None = strawberry.field(description="What it is; null for nothing, or nothing to be shown.")
    made_by: strawberry.ID | None = strawberry.field(
        description="The id of the Run that made the Input that differs."
    )


class Decision(StrEnum):
    """What the cache decides."""

    REUSE = "reuse"
    VERIFY = "verify"
    WAIT = "wait"
    EXECUTE = "execute"


enums.describe(
    Decision,
    "Decision",
    "What the cache decides.",
    REUSE="To hand out a result.",
    VERIFY="To look first whether the outputs are still there.",
    WAIT="To wait for somebody who computes it now.",
    EXECUTE="That there is none to hand out.",
)


@strawberry.type(description="What the cache would answer now.")
class CacheAnswer:
    """What the cache would answer."""

    decision: Decision = strawberry.field(description="What it decides.")
    reason: str | None = strawberry.field(description="Why it is to execute: `no entry`, for example.")
    run: strawberry.ID | None = strawberry.field(
        description="The id of the Run whose result it would hand out."
    )
    holder: str | None = strawberry.field(description="Who computes it now; null where nobody is waited for.")
    until: datetime | None = strawberry.field(description="Until when they hold it, unless they say more.")


@strawberry.type(
    description="Where an Input began to differ: the first Run upstream whose own key differs otherwise than by Inputs."
)
class Cause:
    """Where an Input began to differ."""

    role: str = strawberry.field(description="The role of the Input.")
    run: strawberry.ID | None = strawberry.field(
        description="The id of that Run; null for none, or none to be shown."
    )
    against: strawberry.ID | None = strawberry.field(description="The id of its like behind the other key.")
    job: str | None = strawberry.field(description="The name of its Job.")
    through: list[strawberry.ID] = strawberry.field(
        description="The ids of the Runs in between, nearest first."
    )
    components: list[ComponentVerdict] = strawberry.field(description="The parts in which their keys differ.")
    note: str | None = strawberry.field(description="What ended the search, where it was something else.")


@strawberry.type(description="Why a key is what it is, beside the nearest earlier key of its Job and scope.")
class Explanation:
    """Why a key is what it is."""

    key: str | None = strawberry.field(description="The key; null where it has none.")
    run: strawberry.ID | None = strawberry.field(description="The id of the Run that has it.")
    job: str | None = strawberry.field(description="The name of the Job.")
    reason: str | None = strawberry.field(description="Why the Run executed; null where it did not.")
    answer: CacheAnswer | None = strawberry.field(
        description="What the cache would answer to the key now; null where a Run was asked about."
    )
    against: strawberry.ID | None = strawberry.field(
        description="The id of the Run whose key it is compared with; null for none."
    )
    components: list[ComponentVerdict] = strawberry.field(description="Every part, by name.")
    causes: list[Cause] = strawberry.field(description="Where each Input that differs began to.")
    note: str | None = strawberry.field(description="What else there is to say.")
    looked_at: int = strawberry.field(
        description="Among how many of the newest earlier keys the nearest was sought."
    )
    is_nearest_of_all: bool = strawberry.field(description="Whether there are no older ones.")


def explanation(found: cache.Explanation) -> Explanation:
    """An Explanation, as it is shown."""
    return Explanation(
        key=found.key,
        run=run_id(found.run),
        job=found.job,
        reason=found.reason,
        answer=None if found.answer is None else _answer(found.answer),
        against=run_id(found.against),
        components=verdicts(found.verdicts),
        causes=[
            Cause(
                role=cause.role,
                run=run_id(cause.run),
                against=run_id(cause.against),
                job=cause.job,
                through=[relay.id_of(relay.NodeType.RUN, uid) for uid in cause.through],
                components=verdicts(cause.verdicts),
                note=cause.note,
            )
            for cause in found.causes
        ],
        note=found.note,
        looked_at=found.looked_at,
        is_nearest_of_all=found.is_nearest_of_all,
    )


def _answer(answer: cache.Answer) -> CacheAnswer:
    match answer:
        case cache.Reuse(entry) | cache.Verify(entry):
            decision = Decision.REUSE if isinstance(answer, cache.Reuse) else Decision.VERIFY
            return CacheAnswer(decision=decision, reason=None, run=run_id(entry.run), holder=None, until=None)
        case cache.Wait(holder, _, until):
            return CacheAnswer(decision=Decision.WAIT, reason=None, run=None, holder=holder, until=until)
        case cache.Execute(reason):
            return CacheAnswer(
                decision=Decision.EXECUTE, reason=reason.value, run=None, holder=None, until=None
            )
        case _:
            assert_never(answer)


def verdicts(found: Sequence[cache.ComponentVerdict]) -> list[ComponentVerdict]:
    """Parts of two keys beside one another, as they are shown."""
    return [
        ComponentVerdict(
            name=verdict.name,
            change=verdict.change,
            before=verdict.before,
            after=verdict.after,
            made_by=run_id(verdict.made_by),
        )
        for verdict in found
    ]


def run_id(uid: UUID | None) -> strawberry.ID | None:
    """The global id of a Run."""
    return None if uid is None else relay.id_of(relay.NodeType.RUN, uid)
