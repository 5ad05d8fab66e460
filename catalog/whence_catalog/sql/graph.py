"""Lineage over SQL: one query for each question of `traversal.Neighbours`, whatever the number of ids."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, select, true

from whence_catalog import (
    audit,
    columns,
    digest,
    frontiers,
    likeness,
    lineage,
    model,
    streaming,
    taint,
    traversal,
)
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound
from whence_catalog.lineage import NodeType
from whence_catalog.sql import artifacts, engine, judgements, labels, named, runs, tables, times
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Record, Statement, Transaction

_RUN = tables.RUN
_JOB = tables.JOB
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT
_DERIVED = tables.DERIVED
_VERSION = tables.VERSION
_ARTIFACT = tables.ARTIFACT
_PROJECT = tables.PROJECT
_QUARANTINE = tables.QUARANTINE
_TAINT = tables.TAINT
_DEPLOYMENT = tables.DEPLOYMENT
_FACT = tables.FACT

# How many rows are described at once, so that they never all lie there as the driver gives them.
_AT_ONCE = 10_000


# Of a fact's column: whether it is to be known.
_Known: TypeAlias = Callable[[ColumnElement[Any]], ColumnElement[bool]]


class Twice:
    """A question as it is put now, and as of a position: `known` says of a fact whether it was known then."""

    def __init__(self, question: Callable[[_Known], Any]) -> None:
        self.now = Statement(question(lambda _: true()))
        self.then = Statement(question(lambda fact: engine.place(fact) <= bindparam("as_of")))


def _taken_by(known: _Known) -> Select[Any]:
    return (
        select(
            _RUN.c.id,
            engine.place(_RUN.c.start_fact),
            _RUN.c.origin_id,
            _INPUT.c.role,
            _INPUT.c.ordinal,
            _INPUT.c.version_id,
            _INPUT.c.producer_run_id,
        )
        .select_from(_RUN.outerjoin(_INPUT, (_INPUT.c.run_id == _RUN.c.id) & known(_INPUT.c.fact)))
        .where(engine.among(_RUN.c.id, "ids"))
    )


_MADE = (
    _OUTPUT.c.run_id,
    _OUTPUT.c.role,
    _OUTPUT.c.version_id,
    engine.place(_OUTPUT.c.fact),
    _OUTPUT.c.derives,
)
_takings = Twice(_taken_by)
_makings = Twice(
    lambda known: select(*_MADE).where(engine.among(_OUTPUT.c.run_id, "ids"), known(_OUTPUT.c.fact))
)
_producers = Twice(
    lambda known: select(*_MADE).where(engine.among(_OUTPUT.c.version_id, "ids"), known(_OUTPUT.c.fact))
)
_consumers = Twice(
    lambda known: (
        select(
            _INPUT.c.run_id, engine.place(_RUN.c.start_fact), _INPUT.c.version_id, _INPUT.c.producer_run_id
        )
        .join(_RUN, _RUN.c.id == _INPUT.c.run_id)
        .where(engine.among(_INPUT.c.version_id, "ids"), known(_INPUT.c.fact))
    )
)
reuses = Twice(
    lambda known: select(_RUN.c.id).where(engine.among(_RUN.c.origin_id, "ids"), known(_RUN.c.start_fact))
)
deployments = Twice(
    lambda known: select(_DEPLOYMENT.c.id).where(
        engine.among(_DEPLOYMENT.c.version_id, "ids"), known(_DEPLOYMENT.c.fact)
    )
)


def _counted(
    of: ColumnElement[int], other: ColumnElement[int], fact: ColumnElement[Any]
) -> Callable[[_Known], Any]:
    """How many others lie next to each."""
    return lambda known: (
        select(of, func.count(other.distinct())).where(engine.among(of, "ids"), known(fact)).group_by(of)
    )


_degrees = {
    type: Twice(_counted(of, other, fact))
    for type, of, other, fact in (
        (lineage.EdgeType.INPUT, _INPUT.c.version_id, _INPUT.c.run_id, _INPUT.c.fact),
        (lineage.EdgeType.OUTPUT, _OUTPUT.c.version_id, _OUTPUT.c.run_id, _OUTPUT.c.fact),
        (lineage.EdgeType.REUSED, _RUN.c.origin_id, _RUN.c.id, _RUN.c.start_fact),
        (lineage.EdgeType.DEPLOYED, _DEPLOYMENT.c.version_id, _DEPLOYMENT.c.id, _DEPLOYMENT.c.fact),
    )
}
_served = Statement(
    select(_DEPLOYMENT.c.id, _DEPLOYMENT.c.version_id, engine.place(_DEPLOYMENT.c.fact)).where(
        engine.among(_DEPLOYMENT.c.id, "ids")
    )
)
_derivations_of = Statement(
    select(_DERIVED.c.run_id, _DERIVED.c.role, _DERIVED.c.ordinal, _DERIVED.c.version_id).where(
        engine.among(_DERIVED.c.run_id, "ids")
    )
)
_versions = Statement(
    select(_VERSION.c.id, _VERSION.c.artifact_id, _VERSION.c.number, _VERSION.c.created_at).where(
        engine.among(_VERSION.c.id, "ids")
    )
)
_numbered = Statement(
    select(_VERSION.c.id, _VERSION.c.artifact_id, _VERSION.c.number).where(engine.among(_VERSION.c.id, "ids"))
)
_uids = Statement(select(_RUN.c.id, _RUN.c.uid).where(engine.among(_RUN.c.id, "ids")))
_artifacts = Statement(
    select(_ARTIFACT.c.id, _PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among(_ARTIFACT.c.id, "ids"))
)
_runs = Statement(
    select(_RUN.c.id, _RUN.c.uid, _RUN.c.job_id, _RUN.c.state, _RUN.c.started_at).where(
        engine.among(_RUN.c.id, "ids")
    )
)
_runs_then = Statement(
    select(
        _RUN.c.id,
        _RUN.c.uid,
        _RUN.c.job_id,
        _RUN.c.state,
        _RUN.c.started_at,
        engine.place(_RUN.c.finish_fact),
        engine.place(_RUN.c.presume_fact),
    ).where(engine.among(_RUN.c.id, "ids"))
)
_jobs = Statement(
    select(_JOB.c.id, _PROJECT.c.name, _JOB.c.name)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(engine.among(_JOB.c.id, "ids"))
)
_deployed = Statement(
    select(
        _DEPLOYMENT.c.id,
        _DEPLOYMENT.c.uid,
        _DEPLOYMENT.c.target,
        _PROJECT.c.name,
        _DEPLOYMENT.c.since,
        engine.place(_DEPLOYMENT.c.end_fact),
        _DEPLOYMENT.c.until,
    )
    .join(_PROJECT, _PROJECT.c.id == _DEPLOYMENT.c.project_id)
    .where(engine.among(_DEPLOYMENT.c.id, "ids"))
)
_standing = Statement(select(_QUARANTINE.c.version_id).where(_QUARANTINE.c.until.is_(None)))
_tainted = Statement(select(_TAINT.c.version_id).where(engine.among(_TAINT.c.version_id, "ids")).distinct())
_stood = Statement(
    select(_QUARANTINE.c.version_id).where(
        engine.place(_QUARANTINE.c.fact) <= bindparam("as_of"),
        _QUARANTINE.c.end_fact.is_(None) | (engine.place(_QUARANTINE.c.end_fact) > bindparam("as_of")),
    )
)
_deployment_named = Statement(
    select(_DEPLOYMENT.c.id, engine.place(_DEPLOYMENT.c.fact)).where(_DEPLOYMENT.c.uid == bindparam("uid"))
)
_run_named = Statement(
    select(_RUN.c.id, engine.place(_RUN.c.start_fact)).where(_RUN.c.uid == bindparam("uid"))
)
_unsequenced = Statement(select(_FACT.c.id).where(_FACT.c.position.is_(None)).limit(1))
_reruns_of = Statement(
    select(_RUN.c.uid).where(_RUN.c.rerun_of == bindparam("original"), _RUN.c.state == bindparam("complete"))
)


class SqlNeighbours:
    """`traversal.Neighbours` in one transaction, as of a position, or as all that it sees."""

    def __init__(self, tx: Transaction, as_of: int | None = None) -> None:
        self._tx = tx
        self._as_of = as_of
        self._unfit: tuple[frozenset[int], frozenset[int] | None] | None = None

    def _ask(self, statement: Statement, ids: Sequence[int]) -> list[Record]:
        return self._tx.all(statement, ids=list(ids))

    def _put(self, question: Twice, ids: Sequence[int]) -> list[Record]:
        if self._as_of is None:
            return self._tx.all(question.now, ids=list(ids))
        return self._tx.all(question.then, ids=list(ids), as_of=self._as_of)

    def taken_by(self, runs: Sequence[int]) -> Sequence[traversal.Took]:
        # They come nearly in order, and to sort what is in order costs little; the database would make sure.
        return sorted(self._put(_takings, runs))  # type: ignore[arg-type]

    def made_by(self, runs: Sequence[int]) -> Sequence[traversal.Made]:
        return sorted(self._put(_makings, runs))

    def derived_by(self, runs: Sequence[int]) -> Sequence[tuple[int, str, int, int]]:
        return sorted(self._ask(_derivations_of, runs))

    def producers_of(self, versions: Sequence[int]) -> Sequence[traversal.Made]:
        return self._put(_producers, versions)

    def consumers_of(self, versions: Sequence[int]) -> Sequence[traversal.Taken]:
        return self._put(_consumers, versions)

    def reuses_of(self, runs: Sequence[int]) -> Sequence[int]:
        return [row[0] for row in self._put(reuses, runs)]

    def deployments_of(self, versions: Sequence[int]) -> Sequence[int]:
        return [row[0] for row in self._put(deployments, versions)]

    def served_by(self, deployments: Sequence[int]) -> Sequence[tuple[int, int, int]]:
        return sorted(self._ask(_served, deployments))

    def labels_of(self, type: NodeType, rows: Sequence[int]) -> Mapping[int, frozenset[tuple[str, str]]]:
        if type is NodeType.DEPLOYMENT:
            return {}
        of = labels.of_runs if type is NodeType.RUN else labels.of_versions
        return {row: frozenset(own.items()) for row, own in of(self._tx, rows, self._as_of).items()}

    def degrees(self, type: lineage.EdgeType, rows: Sequence[int]) -> Mapping[int, int]:
        question = _degrees[type]
        return {row: several for some in _parts(rows) for row, several in self._put(question, some)}

    def described(self, type: NodeType, rows: Sequence[int]) -> columns.Described:
        match type:
            case NodeType.VERSION:
                return self._versions(rows)
            case NodeType.RUN:
                return self._runs(rows)
            case NodeType.DEPLOYMENT:
                return self._deployments(rows)

    def nodes(self, type: NodeType, rows: Sequence[int]) -> Mapping[int, lineage.Node]:
        """These rows as nodes, as deep as nothing."""
        if not rows:
            return {}
        return self.described(type, rows).nodes(dict.fromkeys(rows, 0))

    def ids(self, type: NodeType, rows: Sequence[int]) -> tuple[str, ...]:
        """The ids of these rows as nodes; the rows rise, and the ids are in their order."""
        match type:
            case NodeType.VERSION:
                of, numbers = columns.numbers(), columns.numbers()
                for some in _parts(rows):
                    _, artifacts_of, numbers_of = zip(
                        *sorted(self._ask(_numbered, some), key=_row), strict=True
                    )
                    of.extend(artifacts_of)
                    numbers.extend(numbers_of)
                texts = {row: f"{text}@" for row, (text, _, _) in self._artifacts(set(of)).items()}
                return tuple(map(str.__add__, map(texts.__getitem__, of), map(str, numbers)))
            case NodeType.RUN:
                uids = bytearray()
                for some in _parts(rows):
                    uids += b"".join([uid for _, uid in sorted(self._ask(_uids, some), key=_row)])
                return tuple(_uid_texts(uids))
            case NodeType.DEPLOYMENT:
                named = self._deployments(rows).ids if rows else {}
                return tuple(map(named.__getitem__, rows))

    def _artifacts(self, rows: Iterable[int]) -> dict[int, tuple[str, str, str]]:
        """Of each, its text, its kind and its project."""
        return {
            row: (str(model.Artifact(project, kind, name)), kind, project)
            for row, project, kind, name in self._ask(_artifacts, sorted(rows))
        }

    def _versions(self, rows: Sequence[int]) -> columns.Described:
        of, numbers = columns.numbers(), columns.numbers()
        described = columns.Described(NodeType.VERSION)
        for some in _parts(rows):
            for column, values in zip(
                (described.rows, of, numbers, described.at),
                zip(*self._ask(_versions, some), strict=True),
                strict=False,
            ):
                column.extend(values)
        known = self._artifacts(set(of))
        texts = {row: text for row, (text, _, _) in known.items()}
        described.identities = (of, numbers)
        described.text = lambda each: [
            f"{texts[artifact]}@{number}" for artifact, number in zip(*each, strict=True)
        ]
        described.names = list(map(texts.__getitem__, of))
        described.kinds = list(map({row: kind for row, (_, kind, _) in known.items()}.__getitem__, of))
        described.projects = list(
            map({row: project for row, (_, _, project) in known.items()}.__getitem__, of)
        )
        described.states = self._fitness(described.rows)
        return described

    def _fitness(self, versions: Sequence[int]) -> list[str]:
        """Of each Version, what the quarantines that stand say of it."""
        if self._unfit is None:
            self._unfit = self._find_unfit()
        quarantined, tainted = self._unfit
        if not quarantined:
            return ["live"] * len(versions)
        if tainted is None:
            tainted = frozenset(
                row[0] for some in _parts(sorted(versions)) for row in self._ask(_tainted, some)
            )
        return [
            "quarantined" if row in quarantined else "tainted" if row in tainted else "live"
            for row in versions
        ]

    def _find_unfit(self) -> tuple[frozenset[int], frozenset[int] | None]:
        """The quarantined Versions, and all that are tainted, where no index tells it of those that one has."""
        if self._as_of is None:
            return frozenset(row[0] for row in self._tx.all(_standing)), None
        quarantined = frozenset(row[0] for row in self._tx.all(_stood, as_of=self._as_of))
        reached = chain.from_iterable(taint.reach(_Then(self), version) for version in sorted(quarantined))
        return quarantined, frozenset(production.version for production in reached)

    def _runs(self, rows: Sequence[int]) -> columns.Described:
        jobs, uids = columns.numbers(), bytearray()
        described = columns.Described(NodeType.RUN)
        for some in _parts(rows):
            found = self._ask(_runs if self._as_of is None else _runs_then, some)
            ids, their_uids, their_jobs, states, started, *finished = zip(*found, strict=True)
            described.rows.extend(ids)
            uids += b"".join(their_uids)
            jobs.extend(their_jobs)
            described.at.extend(started)
            if finished:
                states = tuple(map(self._state_then, states, *finished))
            # A driver makes a text of its own for each row.
            described.states.extend(map(_STATES.__getitem__, states))
        known = {row: (project, name) for row, project, name in self._ask(_jobs, sorted(set(jobs)))}
        described.identities = uids
        described.text = _uid_texts
        described.names = list(map({row: name for row, (_, name) in known.items()}.__getitem__, jobs))
        described.projects = list(
            map({row: project for row, (project, _) in known.items()}.__getitem__, jobs)
        )
        return described

    def _state_then(self, state: str, finished: int | None, presumed: int | None) -> str:
        assert self._as_of is not None
        if finished is None or finished <= self._as_of:
            return state
        # What it said of itself later superseded what was presumed then.
        was_presumed = presumed is not None and presumed <= self._as_of
        return (model.RunState.ABORTED if was_presumed else model.RunState.RUNNING).value

    def _deployments(self, rows: Sequence[int]) -> columns.Described:
        found = self._ask(_deployed, rows)
        described = columns.Described(NodeType.DEPLOYMENT)
        described.rows.extend(row[0] for row in found)
        described.identities = [f"{lineage.DEPLOYMENT}{UUID(bytes=bytes(row[1]))}" for row in found]
        described.names = [row[2] for row in found]
        described.projects = [row[3] for row in found]
        described.at.extend(row[4] for row in found)
        described.states = ["ended" if self._is_over(row[5], row[6]) else "serving" for row in found]
        return described

    def _is_over(self, ended: int | None, until: int | None) -> bool:
        return until is not None and (self._as_of is None or (ended is not None and ended <= self._as_of))


class _Then:
    """`taint.Edges` as of a position."""

    def __init__(self, neighbours: SqlNeighbours) -> None:
        self._neighbours = neighbours

    def outputs_of(self, runs: Sequence[int]) -> Iterator[lineage.Link]:
        return _outputs(self._neighbours.made_by(runs))

    def producers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        return _outputs(self._neighbours.producers_of(versions))

    def consumers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        for run, started, version, producer in self._neighbours.consumers_of(versions):
            yield lineage.Link(lineage.EdgeType.INPUT, run, version, producer=producer, position=started)


def _outputs(rows: Iterable[traversal.Made]) -> Iterator[lineage.Link]:
    for run, role, version, position, _ in rows:
        yield lineage.Link(lineage.EdgeType.OUTPUT, run, version, role, position=position)


_row = itemgetter(0)
_STATES = {state.value: state.value for state in model.RunState}


def _parts(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


def _uid_texts(uids: Sequence[Any]) -> list[str]:
    """The texts of UUIDs, whose bytes lie one behind the other."""
    text = bytes(uids).hex()
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}"
        f"-{text[at + 16 : at + 20]}-{text[at + 20 : at + 32]}"
        for at in range(0, len(text), 32)
    ]


def walk(
    tx: Transaction,
    roots: Sequence[lineage.NodeKey],
    direction: lineage.Direction,
    bounds: lineage.Bounds,
    frontier: str | None = None,
    filter: lineage.Filter = lineage.EVERYTHING,
    as_of: int | None = None,
) -> lineage.Graph:
    """The part of history that hangs on `roots`."""
    position, then = known(tx, as_of, frontier)
    neighbours = SqlNeighbours(tx, then)
    return traversal.traverse(
        neighbours, roots, direction, bounds, time.monotonic, frontier, filter, as_of, position
    )


def walk_with_hidden(
    tx: Transaction,
    roots: Sequence[lineage.NodeKey],
    direction: lineage.Direction,
    bounds: lineage.Bounds,
    frontier: str | None = None,
    filter: lineage.Filter = lineage.EVERYTHING,
    as_of: int | None = None,
) -> lineage.Graph:
    """As `walk`, and of each node how many neighbours are hidden."""
    position, then = known(tx, as_of, frontier)
    neighbours = SqlNeighbours(tx, then)
    return traversal.traverse_with_hidden(
        neighbours, roots, direction, bounds, time.monotonic, frontier, filter, as_of, position
    )


def pages(
    tx: Transaction,
    roots: Sequence[lineage.NodeKey],
    direction: lineage.Direction,
    depth: int | None,
    filter: lineage.Filter,
    as_of: int | None,
) -> Iterator[lineage.Graph]:
    """As `walk` without bounds on nodes, a page at a time."""
    position, then = known(tx, as_of)
    return streaming.pages(SqlNeighbours(tx, then), roots, direction, depth, filter, as_of, position)


def known(tx: Transaction, as_of: int | None, frontier: str | None = None) -> tuple[int, int | None]:
    """As of which position a question is answered, and the same for what is read: None where that is all.

    Of a page after the first it is the position of the first.
    """
    head = fact_log.head(tx)
    if as_of is not None and not 0 <= as_of <= head:
        raise InvalidInput(f"as of position {as_of}: the log goes from 0 to {head}")
    position = head if as_of is None else as_of
    if frontier is not None:
        position = frontiers.Frontier.parse(frontier).position
        if position > head:
            raise InvalidInput(f"a frontier as of position {position}: the log goes from 0 to {head}")
    # What has no position yet is on no page: the next one could not tell it from what came later.
    is_all = position == head and (tx.is_sequencing or tx.one(_unsequenced) is None)
    return position, None if is_all else position


def roots(
    tx: Transaction, texts: Sequence[str], as_of: int | None, frontier: str | None
) -> list[lineage.NodeKey]:
    """What the roots name; of a page after the first, what they named as of the first.

    Raises:
        NotFound: one is not recorded, or was not as of that position.
    """
    then = as_of if frontier is None else frontiers.Frontier.parse(frontier).position
    times.checked(tx, then)
    return [root(tx, text, then) for text in texts]


def root(tx: Transaction, text: str, as_of: int | None = None) -> lineage.NodeKey:
    """What a root names: a reference, as it was known at the position, a Run's id or its prefix, or a Deployment's.

    Raises:
        NotFound: it is not recorded, or was not as of that position.
    """
    if text.startswith(lineage.DEPLOYMENT):
        return _deployment(tx, text, as_of)
    if ":" in text:
        named_so = model.Reference.parse(text)
        return lineage.version_key(
            artifacts.version_id(tx, named_so) if as_of is None else named.known_version(tx, named_so, as_of)
        )
    uid = runs.prefixed(tx, text)
    row, position = tx.one(_run_named, uid=uid.bytes) or (0, 0)
    if as_of is not None and position > as_of:
        raise NotFound(f"run {text} was not recorded as of position {as_of}", ErrorKind.NO_SUCH_RUN)
    return lineage.run_key(row)


def _deployment(tx: Transaction, text: str, as_of: int | None) -> lineage.NodeKey:
    try:
        uid = UUID(text.removeprefix(lineage.DEPLOYMENT))
    except ValueError:
        raise InvalidInput(f"not a deployment: {text!r}; expected {lineage.DEPLOYMENT} and its id") from None
    found = tx.one(_deployment_named, uid=uid.bytes)
    if found is None or (as_of is not None and found[1] > as_of):
        raise NotFound(f"no {lineage.DEPLOYMENT}{uid} is recorded", ErrorKind.NO_SUCH_JUDGEMENT)
    return lineage.deployment_key(found[0])


def evidence(
    tx: Transaction, reference: model.Reference, presence: Mapping[digest.Digest, audit.Presence]
) -> audit.Evidence:
    """All that the catalog holds about the Version that `reference` means."""
    output = artifacts.resolve(tx, reference)
    row = artifacts.version_id(tx, reference)
    root = lineage.version_key(row)
    told = judgements.of_version(tx, row)
    graph = walk(tx, [root], lineage.Direction.UP, lineage.Bounds(max_nodes=None))
    upstream = [UUID(node.id) for node in graph.nodes if node.type is lineage.NodeType.RUN]
    records = [runs.record(tx, runs.get(tx, uid)) for uid in upstream]
    return audit.Evidence(
        subject=output.version,
        graph=graph,
        runs=records,
        aliases=artifacts.aliases(tx, reference.artifact),
        approvals=told.approvals,
        taints=told.taints,
        presence=presence,
        as_of=fact_log.head(tx),
        reruns=_reruns(tx, output.version),
    )


def _reruns(tx: Transaction, subject: model.Version) -> list[audit.Remade]:
    """The Runs by which those that made `subject` were made again as they were, in their own project."""
    found = []
    for output in artifacts.productions(tx, subject.artifact):
        if output.version != subject:
            continue
        again = tx.all(_reruns_of, original=output.run.bytes, complete=model.RunState.COMPLETE.value)
        original = runs.record(tx, runs.get(tx, output.run)) if again else None
        for (uid,) in again:
            made = runs.record(tx, runs.get(tx, UUID(bytes=uid)))
            if original is not None and likeness.is_as_it_was(original, made):
                digests = [o.version.digest for o in made.outputs if o.role == output.role]
                found.append(audit.Remade(made.run, digests[0] if digests else None))
    return found
