"""What was true at a time, and what was known at a position: aliases, deployments, judgements, Artifacts, and timelines."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)

from whence_catalog import catalog, model, replies
from whence_catalog.errors import ErrorKind, NotFound, WhenceError
from whence_catalog.replies import EventType
from whence_catalog.sql import artifacts, engine, named, pages, tables, times
from whence_catalog.sql import judgements as judged
from whence_catalog.sql.engine import Given, Record, Statement, Transaction

_FACT = tables.FACT
_ARTIFACT = tables.ARTIFACT
_PROJECT = tables.PROJECT
_VERSION = tables.VERSION
_OUTPUT = tables.OUTPUT
_ALIAS = tables.ALIAS
_DEPLOYMENT = tables.DEPLOYMENT
_APPROVAL = tables.APPROVAL
_QUARANTINE = tables.QUARANTINE
_HOLD = tables.HOLD


# ── an alias at a time ───────────────────────────────────────────────────────────────────────────

_alias_at = Statement(
    select(_ALIAS.c.id)
    .where(
        _ALIAS.c.artifact_id == bindparam("artifact_id"),
        _ALIAS.c.name == bindparam("name"),
        _ALIAS.c.since <= bindparam("moment"),
        engine.known(_ALIAS.c.fact, "head"),
    )
    .order_by(_ALIAS.c.since.desc(), engine.place(_ALIAS.c.fact).desc())
    .limit(1)
)
_alias_names = Statement(
    select(_ALIAS.c.name)
    .where(_ALIAS.c.artifact_id == bindparam("artifact_id"), engine.known(_ALIAS.c.fact, "head"))
    .distinct()
    .order_by(_ALIAS.c.name)
)


def alias_at(
    tx: Transaction, artifact: model.Artifact, name: str, at: datetime, as_of: int | None
) -> model.Alias | None:
    """What an alias meant at a time, as far as was known at a position; None for nothing.

    Raises:
        NotFound: it was not known at all, with near names.
    """
    head = times.head(tx, as_of)
    found = named.named_artifacts(tx, [artifact])[artifact]
    if isinstance(found, WhenceError):
        raise found
    row = tx.one(_alias_at, artifact_id=found, name=name, moment=model.microseconds(at), head=head)
    if row is not None:
        return pages.aliases_with_ids(tx, [row[0]], head)[row[0]]
    known = [row[0] for row in tx.all(_alias_names, artifact_id=found, head=head)]
    if name in known:
        return None
    text = f"{artifact} has no alias {name!r}" if as_of is None else f"no alias {artifact}@{name} was known"
    then = "" if as_of is None else f" at position {as_of}"
    raise NotFound(f"{text}{then}{artifacts.near(name, known)}", ErrorKind.NO_SUCH_ALIAS)


# ── deployments ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Serving:
    """Which deployments are asked for. `at` None: whenever; `standing`: those that have not ended."""

    projects: frozenset[str] | None
    target: str | None
    artifact: model.Artifact | None
    at: datetime | None
    standing: bool

    def __post_init__(self) -> None:
        if self.at is not None:
            model.checked_moment(self.at)


def deployments(
    tx: Transaction, wanted: Serving, as_of: int | None, first: int, after: str | None
) -> replies.DeploymentPage:
    """Deployments, the newest first."""
    shown = (
        None if wanted.projects is None else sorted(wanted.projects),
        wanted.target,
        None if wanted.artifact is None else str(wanted.artifact),
        None if wanted.at is None else model.microseconds(wanted.at),
        wanted.standing,
    )
    asked = pages.List("deployments", times.named(repr(shown), as_of), first, after)
    head, key = asked.place(times.head(tx, as_of), int)
    artifact_id: Given = None
    if wanted.artifact is not None:
        found = named.named_artifacts(tx, [wanted.artifact])[wanted.artifact]
        # No row has that number: what is not recorded serves nowhere.
        artifact_id = -1 if isinstance(found, WhenceError) else found
    rows = tx.all(
        _deployments_listed(
            wanted.projects is not None,
            wanted.target is not None,
            wanted.artifact is not None,
            wanted.at is not None,
            wanted.standing,
        ),
        head=head,
        bound=pages.HIGHEST if key is None else cast("int", key[0]),
        many=first + 1,
        projects=named.listed([project] for project in wanted.projects or ()),
        target=wanted.target,
        artifact_id=artifact_id,
        moment=None if wanted.at is None else model.microseconds(wanted.at),
    )
    described = judged.deployments_with_ids(tx, [row[0] for row in rows[:first]], head)
    cursors = tuple(asked.cursor(head, (row[1],)) for row in rows[:first])
    return replies.DeploymentPage(
        cursors=cursors,
        end=cursors[-1] if len(rows) > first else None,
        masked=0,
        items=tuple(described[row[0]] for row in rows[:first]),
    )


@functools.cache
def _deployments_listed(
    by_project: bool, by_target: bool, by_artifact: bool, by_time: bool, standing: bool
) -> Statement:
    place = engine.place(_DEPLOYMENT.c.fact)
    listed = select(_DEPLOYMENT.c.id, place.label("place")).where(
        engine.known(_DEPLOYMENT.c.fact, "head"), place < bindparam("bound")
    )
    if by_project:
        projects = select(named.given("projects", name=Text()).c.name)
        listed = listed.where(
            _DEPLOYMENT.c.project_id.in_(select(_PROJECT.c.id).where(_PROJECT.c.name.in_(projects)))
        )
    if by_target:
        listed = listed.where(_DEPLOYMENT.c.target == bindparam("target"))
    if by_artifact:
        listed = listed.join(_VERSION, _VERSION.c.id == _DEPLOYMENT.c.version_id).where(
            _VERSION.c.artifact_id == bindparam("artifact_id")
        )
    stands = engine.unknown(_DEPLOYMENT.c.end_fact, "head")
    if by_time:
        listed = listed.where(
            _DEPLOYMENT.c.since <= bindparam("moment"), stands | (_DEPLOYMENT.c.until > bindparam("moment"))
        )
    if standing:
        listed = listed.where(stands)
    return Statement(listed.order_by(place.desc()).limit(bindparam("many")))


# ── judgements ───────────────────────────────────────────────────────────────────────────────────


def judgements(
    tx: Transaction, references: Sequence[model.Reference], as_of: int
) -> list[catalog.Result[replies.Judgements]]:
    """What was said of the Version that each reference meant, as far as was known at a position."""
    found = named.named_versions(tx, set(references), as_of)
    return [
        result if isinstance(result, WhenceError) else judged.of_version(tx, result.id, as_of)
        for result in (found[reference] for reference in references)
    ]


# ── Artifacts ────────────────────────────────────────────────────────────────────────────────────

_artifacts_known = Statement(
    select(_ARTIFACT.c.id, _PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name, func.count())
    .select_from(_VERSION)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(
        exists(
            select(literal_column("1")).where(
                _OUTPUT.c.version_id == _VERSION.c.id, engine.known(_OUTPUT.c.fact)
            )
        )
    )
    .group_by(_ARTIFACT.c.id, _PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
    .order_by(_PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
)
_stood = Statement(
    select(_ALIAS.c.id)
    .where(engine.known(_ALIAS.c.fact), engine.unknown(_ALIAS.c.end_fact))
    .order_by(engine.place(_ALIAS.c.fact).desc())
)


def summaries(
    tx: Transaction, project: str | None, kind: str | None, as_of: int
) -> tuple[replies.ArtifactSummary, ...]:
    """Every Artifact (of that project and kind, where given) that was known at a position, as it was."""
    found = {
        model.Artifact(*parts): count
        for _, *parts, count in tx.all(_artifacts_known, as_of=as_of)
        if project in (None, parts[0]) and kind in (None, parts[1])
    }
    latest = named.named_versions(tx, [model.Reference(artifact) for artifact in found], as_of)
    standing: dict[model.Artifact, list[model.Alias]] = {artifact: [] for artifact in found}
    ids = [row[0] for row in tx.all(_stood, as_of=as_of)]
    aliases = pages.aliases_with_ids(tx, ids, as_of)
    for row in ids:
        standing.setdefault(aliases[row].artifact, []).append(aliases[row])
    summed = []
    for artifact, count in found.items():
        newest = latest[model.Reference(artifact)]
        assert isinstance(newest, named.Named), "what has Versions has a newest one"
        summed.append(replies.ArtifactSummary(artifact, count, newest.version, tuple(standing[artifact])))
    return tuple(summed)


# ── timelines ────────────────────────────────────────────────────────────────────────────────────

# What the rows of a timeline are, in the order in which they come within one fact.
_ENDED, _DEPLOYED, _ALIASED, _DECIDED, _QUARANTINED, _LIFTED, _HELD, _LET_GO, _PRODUCED = range(9)
# Outputs of one Run come by their places behind that.
_STRIDE = 16


def _events(
    fact: ColumnElement[Any], what: int, row: ColumnElement[Any], **more: ColumnElement[Any]
) -> Select[Any]:
    place = engine.place(fact)
    minor = more.get("minor", literal_column("0")) * literal_column(str(_STRIDE)) + literal_column(str(what))
    return select(
        place.label("key"),
        minor.label("minor"),
        literal_column(str(what)).label("what"),
        row.label("row_id"),
        more.get("role", literal_column("''")).label("role"),
    ).where(
        fact.is_not(None),
        engine.known(fact, "head"),
        tuple_(place, minor) < tuple_(bindparam("bound"), bindparam("minor")),
    )


def _timeline(of_version: bool) -> Statement:
    """Each branch gives one page of its own at most: the page of all is among those."""
    if of_version:
        mine = "version_id"
        before = _ALIAS.alias("before")
        moves = [
            _events(_ALIAS.c.fact, _ALIASED, _ALIAS.c.id).where(_ALIAS.c.version_id == bindparam("subject")),
            # Moved away from it: what came after it.
            _events(_ALIAS.c.fact, _ALIASED, _ALIAS.c.id)
            .join(
                before, (before.c.artifact_id == _ALIAS.c.artifact_id) & (before.c.end_fact == _ALIAS.c.fact)
            )
            .where(before.c.version_id == bindparam("subject"), _ALIAS.c.version_id != bindparam("subject")),
        ]
    else:
        mine = "artifact_id"
        moves = [
            _events(_ALIAS.c.fact, _ALIASED, _ALIAS.c.id).where(_ALIAS.c.artifact_id == bindparam("subject"))
        ]
    said = [
        (_DEPLOYMENT, _DEPLOYMENT.c.end_fact, _ENDED),
        (_DEPLOYMENT, _DEPLOYMENT.c.fact, _DEPLOYED),
        (_APPROVAL, _APPROVAL.c.fact, _DECIDED),
        (_QUARANTINE, _QUARANTINE.c.fact, _QUARANTINED),
        (_QUARANTINE, _QUARANTINE.c.end_fact, _LIFTED),
        (_HOLD, _HOLD.c.fact, _HELD),
        (_HOLD, _HOLD.c.end_fact, _LET_GO),
    ]
    branches = [
        *moves,
        *(
            _events(fact, what, table.c.id).where(table.c[mine] == bindparam("subject"))
            for table, fact, what in said
        ),
        _events(
            _OUTPUT.c.fact, _PRODUCED, _OUTPUT.c.run_id, minor=_OUTPUT.c.place, role=_OUTPUT.c.role
        ).where(_OUTPUT.c[mine] == bindparam("subject")),
    ]

    def newest(listed: Select[Any]) -> Select[Any]:
        cut = listed.order_by(literal_column("1").desc(), literal_column("2").desc()).limit(bindparam("many"))
        return select(cut.subquery())

    listed = union_all(*map(newest, branches)).subquery("listed")
    return Statement(
        select(listed).order_by(listed.c.key.desc(), listed.c.minor.desc()).limit(bindparam("many"))
    )


TIMELINE_OF_VERSION, TIMELINE_OF_ARTIFACT = _timeline(of_version=True), _timeline(of_version=False)
_recorded_at = Statement(
    select(_FACT.c.position, _FACT.c.sequenced_at).where(engine.among(_FACT.c.position, "positions"))
)


def timeline(
    tx: Transaction, subject: model.Reference, as_of: int | None, first: int, after: str | None
) -> replies.EventPage:
    """What happened to an Artifact or a Version, the newest first."""
    asked = pages.List("events", times.named(str(subject), as_of), first, after)
    head, key = asked.place(times.head(tx, as_of), int, int)
    found: catalog.Result[int] | catalog.Result[named.Named]
    if subject.selector is None:
        found = named.named_artifacts(tx, [subject.artifact])[subject.artifact]
    else:
        found = named.named_versions(tx, [subject], as_of)[subject]
    if isinstance(found, WhenceError):
        raise found
    row_id, statement = (
        (found.id, TIMELINE_OF_VERSION) if isinstance(found, named.Named) else (found, TIMELINE_OF_ARTIFACT)
    )
    bound, minor = (pages.HIGHEST, 0) if key is None else cast("tuple[int, int]", key)
    rows = tx.all(statement, subject=row_id, head=head, bound=bound, minor=minor, many=first + 1)
    shown = rows[:first]
    cursors = tuple(asked.cursor(head, (row[0], row[1])) for row in shown)
    return replies.EventPage(
        cursors=cursors,
        end=cursors[-1] if len(rows) > first else None,
        masked=0,
        items=tuple(_described(tx, shown, head)),
    )


class _Told(NamedTuple):
    """What the rows of a timeline stand for."""

    aliases: Mapping[int, model.Alias]
    replaced: Mapping[model.Reference, catalog.Result[named.Named]]
    deployments: Mapping[int, model.Deployment]
    approvals: Mapping[int, model.Approval]
    quarantines: Mapping[int, model.Quarantine]
    holds: Mapping[int, model.Hold]
    outputs: Mapping[tuple[int, str], model.Output]
    runs: Mapping[int, model.Run]


def _described(tx: Transaction, rows: Sequence[Record], head: int) -> Iterable[replies.Event]:
    def of(*whats: int) -> list[int]:
        return [row[3] for row in rows if row[2] in whats]

    aliases = pages.aliases_with_ids(tx, of(_ALIASED), head)
    before = {_before(alias) for alias in aliases.values() if alias.replaced is not None}
    told = _Told(
        aliases,
        named.named_versions(tx, before) if before else {},
        judged.deployments_with_ids(tx, of(_DEPLOYED, _ENDED), head),
        judged.approvals_with_ids(tx, of(_DECIDED)),
        judged.quarantines_with_ids(tx, of(_QUARANTINED, _LIFTED)),
        judged.holds_with_ids(tx, of(_HELD, _LET_GO)),
        named.outputs(tx, [(row[3], row[4]) for row in rows if row[2] == _PRODUCED]),
        named.runs_with_ids(tx, of(_PRODUCED)),
    )
    moments: dict[int, int] = dict(tx.all(_recorded_at, positions=sorted({row[0] for row in rows})))
    for position, _, what, row_id, role in rows:
        yield _event(told, what, row_id, role, position, model.moment(moments[position]))


def _before(alias: model.Alias) -> model.Reference:
    return model.Reference(alias.artifact, str(alias.replaced))


def _event(
    told: _Told, what: int, row_id: int, role: str, position: int, recorded_at: datetime
) -> replies.Event:
    known = (position, recorded_at)
    match what:
        case 0 | 1:
            served = told.deployments[row_id]
            if what == _DEPLOYED:
                return replies.Event(
                    EventType.DEPLOYED, served.version, served.since, *known, served.actor, served.reason,
                    served.target, served.replaced, served.uid,
                )  # fmt: skip
            return replies.Event(
                EventType.DEPLOYMENT_ENDED, served.version, _end(served.until), *known,
                _ender(served.ended_by), served.ended_because, served.target, None, served.uid,
            )  # fmt: skip
        case 2:
            alias = told.aliases[row_id]
            replaced = None if alias.replaced is None else told.replaced[_before(alias)]
            version = replaced.version if isinstance(replaced, named.Named) else None
            return replies.Event(
                EventType.ALIASED, alias.version, alias.since, *known, alias.actor, alias.reason, alias.name,
                version,
            )  # fmt: skip
        case 3:
            decided = told.approvals[row_id]
            type = EventType.APPROVED if decided.decision is model.Decision.APPROVED else EventType.REJECTED
            return replies.Event(
                type, decided.version, decided.at, *known, decided.actor, decided.reason, uid=decided.uid
            )
        case 4 | 5:
            bad = told.quarantines[row_id]
            types = (EventType.QUARANTINED, EventType.QUARANTINE_RELEASED)
            return _interval(bad, types, what == _LIFTED, *known)
        case 6 | 7:
            types = (EventType.HELD, EventType.HOLD_RELEASED)
            return _interval(told.holds[row_id], types, what == _LET_GO, *known)
        case _:
            output, run = told.outputs[row_id, role], told.runs[row_id]
            return replies.Event(
                EventType.PRODUCED, output.version, recorded_at, *known, run.actor, run=run.uid, job=run.job
            )


def _interval(
    said: model.Quarantine | model.Hold,
    types: tuple[EventType, EventType],
    has_ended: bool,
    position: int,
    recorded_at: datetime,
) -> replies.Event:
    known = (position, recorded_at)
    if not has_ended:
        return replies.Event(
            types[0], said.version, said.since, *known, said.actor, said.reason, uid=said.uid
        )
    actor = _ender(said.released_by)
    return replies.Event(
        types[1], said.version, _end(said.until), *known, actor, said.released_because, uid=said.uid
    )


def _end(until: datetime | None) -> datetime:
    assert until is not None, "what ended says when"
    return until


def _ender(actor: model.Actor | None) -> model.Actor:
    assert actor is not None, "what ended says by whom"
    return actor
