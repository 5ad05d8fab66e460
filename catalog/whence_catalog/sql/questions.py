"""What is asked of lineage beside the Graph: ways, roots, common ancestors, and what came of something.

Each reads what was known at one position, and the pages of a list are all of the position of its first.
Leaves to others: the search (`closure`, `ways`), and how it is read from the tables (`graph`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, func, or_, select

from whence_catalog import closure, lineage, model, replies, ways
from whence_catalog.closure import Closure, Start, Way
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound
from whence_catalog.lineage import Node, NodeKey, NodeType
from whence_catalog.replies import ImpactType
from whence_catalog.sql import artifacts, engine, graph, judgements, named, pages, runs, tables, times
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Statement, Transaction
from whence_catalog.sql.flow import SqlEdges

_VERSION = tables.VERSION
_ARTIFACT = tables.ARTIFACT
_ALIAS = tables.ALIAS
_DEPLOYMENT = tables.DEPLOYMENT
_PROJECT = tables.PROJECT
_RUN = tables.RUN

_DEPLOYED = "deployment/"
# How many Versions are looked at together for those of the kinds that are asked for.
_STRIDE = 5000

_deployment_named = Statement(
    select(_DEPLOYMENT.c.id, _DEPLOYMENT.c.version_id, _PROJECT.c.name)
    .join(_PROJECT, _PROJECT.c.id == _DEPLOYMENT.c.project_id)
    .where(_DEPLOYMENT.c.uid == bindparam("uid"), engine.known(_DEPLOYMENT.c.fact))
)
_run_known = Statement(select(_RUN.c.id).where(_RUN.c.id == bindparam("id"), engine.known(_RUN.c.start_fact)))
_kinds = Statement(
    select(_ARTIFACT.c.kind, func.count())
    .select_from(_VERSION)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .where(engine.among(_VERSION.c.id, "ids"))
    .group_by(_ARTIFACT.c.kind)
    .order_by(_ARTIFACT.c.kind)
)
_kind_of = Statement(
    select(_VERSION.c.id, _ARTIFACT.c.kind)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .where(engine.among(_VERSION.c.id, "ids"))
)
_serving = Statement(
    select(_DEPLOYMENT.c.id, _DEPLOYMENT.c.version_id)
    .where(
        engine.among(_DEPLOYMENT.c.version_id, "ids"),
        engine.known(_DEPLOYMENT.c.fact),
        or_(_DEPLOYMENT.c.end_fact.is_(None), engine.place(_DEPLOYMENT.c.end_fact) > bindparam("as_of")),
    )
    .order_by(_DEPLOYMENT.c.id)
)
# All that the aliases of their Artifacts meant: the last that was known stands.
_aliased = Statement(
    select(_ALIAS.c.artifact_id, _ALIAS.c.name, _ALIAS.c.id, _ALIAS.c.version_id)
    .where(
        _ALIAS.c.artifact_id.in_(
            select(_VERSION.c.artifact_id).where(engine.among(_VERSION.c.id, "ids")).distinct()
        ),
        engine.known(_ALIAS.c.fact),
    )
    .order_by(engine.place(_ALIAS.c.fact))
)


class _Subject(NamedTuple):
    """What a question is about. That of a Deployment is of the Version in it."""

    start: Start
    deployment: int | None = None
    project: str = ""


def _subject(tx: Transaction, text: str, as_of: int, is_now: bool) -> _Subject:
    """What a reference, a Run's id or `deployment/…` named as of a position; `is_now`: who asks named none.

    Raises:
        NotFound: nothing that is recorded, or that was at that position.
        InvalidInput: it is none of these.
    """
    if text.startswith(_DEPLOYED):
        row = tx.one(_deployment_named, uid=_uid(text).bytes, as_of=as_of)
        if row is None:
            raise NotFound(f"no {text} is recorded", ErrorKind.NO_SUCH_JUDGEMENT)
        return _Subject(Start(version=row[1]), row[0], row[2])
    if ":" in text:
        reference = model.Reference.parse(text)
        # With near names, where nothing is meant by it now.
        version = artifacts.version_id(tx, reference) if is_now else 0
        return _Subject(
            Start(version=version if as_of == engine.NOW else named.known_version(tx, reference, as_of))
        )
    run = runs.get(tx, runs.prefixed(tx, text)).id
    if tx.one(_run_known, id=run, as_of=as_of) is None:
        raise NotFound(f"no run {text} was recorded{_then(as_of)}", ErrorKind.NO_SUCH_RUN)
    return _Subject(Start(run=run))


def _uid(text: str) -> UUID:
    try:
        return UUID(text.removeprefix(_DEPLOYED))
    except ValueError as error:
        raise InvalidInput(
            f"not a deployment: {text!r}; expected {_DEPLOYED} and its id", ErrorKind.BAD_REFERENCE
        ) from error


def _then(as_of: int) -> str:
    return "" if as_of == engine.NOW else f" up to position {as_of:,}"


# ── ways ─────────────────────────────────────────────────────────────────────────────────────────


def paths(tx: Transaction, start: str, end: str, limit: int, as_of: int | None) -> replies.Paths:
    """The shortest ways from one thing to another."""
    position = times.checked(tx, as_of)
    first, last = (_subject(tx, text, position, as_of is None) for text in (start, end))
    if first.deployment is not None:
        # Data goes into a Deployment, and no further.
        ends = (_deployments(tx, [first.deployment], as_of)[first.deployment],)
        whole = lineage.Completeness(complete=True)
        return replies.Paths((ends,) if first == last else (), whole)
    found = ways.find(SqlEdges(tx, position), first.start, last.start, limit)
    passed = nodes(tx, [key for way in found.found for key in way], as_of)
    shown = [_walked(passed, way) for way in found.found]
    if last.deployment is not None:
        served = _deployments(tx, [last.deployment], as_of)[last.deployment]
        shown = [(*way, served._replace(depth=way[-1].depth)) for way in shown]
    complete = lineage.Completeness(not found.reasons, found.reasons, ambiguous=found.unsure)
    return replies.Paths(tuple(shown), complete)


def nodes(tx: Transaction, keys: Iterable[NodeKey], up_to: int | None = None) -> Mapping[NodeKey, Node]:
    """These as nodes, by their keys, as they are or as they were known at a position."""
    asked = sorted(set(keys))
    ask = graph.SqlNeighbours(tx, up_to)
    shown = {}
    for row, node in ask.nodes(NodeType.VERSION, [key // 3 for key in asked if key % 3 == 1]).items():
        shown[lineage.version_key(row)] = node
    for row, node in ask.nodes(NodeType.RUN, [key // 3 for key in asked if not key % 3]).items():
        shown[lineage.run_key(row)] = node
    return shown


def _walked(nodes: Mapping[NodeKey, Node], way: Way) -> tuple[Node, ...]:
    """A way as its nodes, each as deep as Runs were passed since the start."""
    passed, depth = [], -1 if nodes[way[0]].type is lineage.NodeType.RUN else 0
    for key in way:
        node = nodes[key]
        depth += node.type is lineage.NodeType.RUN
        passed.append(node._replace(depth=depth))
    return tuple(passed)


def _deployments(tx: Transaction, ids: Sequence[int], up_to: int | None) -> Mapping[int, Node]:
    return {
        row: Node(
            f"{_DEPLOYED}{found.uid}",
            lineage.NodeType.DEPLOYMENT,
            found.target,
            "serving" if found.until is None else "ended",
            found.since,
            project=found.version.artifact.project,
        )
        for row, found in judgements.deployments_with_ids(tx, ids, up_to).items()
    }


# ── roots and common ancestors ───────────────────────────────────────────────────────────────────


def roots_of(
    tx: Transaction, of: Sequence[str], as_of: int | None, first: int, after: str | None
) -> replies.NodePage:
    """Where the flow of data into these begins."""
    return _page(tx, "roots", of, as_of, first, after, closure.roots)


def common_ancestors(
    tx: Transaction, of: Sequence[str], as_of: int | None, first: int, after: str | None
) -> replies.NodePage:
    """What all of these came from.

    Raises:
        InvalidInput: they are not two or more.
    """
    if len(of) < 2:
        raise InvalidInput(f"common ancestors of {len(of)} things: name two or more")
    return _page(tx, "common ancestors", of, as_of, first, after, closure.common)


def _page(
    tx: Transaction,
    what: str,
    of: Sequence[str],
    as_of: int | None,
    first: int,
    after: str | None,
    rule: closure.Listing,
) -> replies.NodePage:
    if not of:
        raise InvalidInput(f"{what} of nothing: name a version or a run")
    asked, position, key = _place(tx, what, of, as_of, first, after, (int, int))
    ask = SqlEdges(tx, position)
    starts = {_subject(tx, text, position, as_of is None).start: None for text in of}
    closures = [closure.upstream(ask, start) for start in starts]
    every = rule(closures)
    shown = [item for item in every if key is None or item > key][: first + 1]
    described = nodes(tx, [item[1] for item in shown[:first]], _shown_at(as_of, after, position))
    cursors = [asked.cursor(position, item) for item in shown[:first]]
    return replies.NodePage(
        cursors=tuple(cursors),
        end=cursors[-1] if len(shown) > first else None,
        masked=0,
        items=tuple(described[item]._replace(depth=depth) for depth, item in shown[:first]),
        total=len(every),
        completeness=completeness(closures),
    )


def _place(
    tx: Transaction,
    what: str,
    of: Iterable[str],
    as_of: int | None,
    first: int,
    after: str | None,
    kinds: Sequence[type],
) -> tuple[pages.List, int, tuple[int | str, ...] | None]:
    times.checked(tx, as_of)
    asked = pages.List(what, repr([as_of, *of]), first, after)
    position, key = asked.place(fact_log.head(tx) if as_of is None else as_of, *kinds)
    return asked, position, key


def _shown_at(as_of: int | None, after: str | None, position: int) -> int | None:
    """As of which position the nodes of a page are told: the first page of what is now tells what is now."""
    return None if as_of is None and after is None else position


def completeness(closures: Sequence[Closure]) -> lineage.Completeness:
    """How much of these is sure."""
    return lineage.Completeness(
        complete=True,
        ambiguous=sum(found.ambiguous for found in closures),
        unknown_producers=sum(found.unmade for found in closures),
    )


# ── impact ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Item:
    """One line of an impact: the Version, and the row of the Deployment or alias."""

    type: ImpactType
    version: int
    row: int = 0


_SECTIONS = (ImpactType.DEPLOYMENT, ImpactType.ALIAS, ImpactType.VERSION)


def impact(
    tx: Transaction,
    of: str,
    kinds: frozenset[str],
    as_of: int | None,
    first: int,
    after: str | None,
) -> replies.Impact:
    """What came of a Version or a Run, and where that is used.

    Raises:
        InvalidInput: it is of a Deployment, of which nothing comes.
    """
    asked, position, key = _place(tx, "impact", [of, *sorted(kinds)], as_of, first, after, (int, int))
    start, deployment, _ = _subject(tx, of, position, as_of is None)
    if deployment is not None:
        raise InvalidInput(f"nothing comes of {of}; ask of the version that it serves")
    found = closure.downstream(SqlEdges(tx, position), start)
    serving, aliases = _standing(tx, found, position)
    listed = _listed(tx, found, kinds, serving, aliases, key)
    shown = list(islice(listed, first + 1))
    cursors = [asked.cursor(position, place) for place, _ in shown[:first]]
    others = [version for version in found.versions if version != start.version]
    by_kind: dict[str, int] = dict(tx.all(_kinds, ids=others)) if others else {}
    up_to = _shown_at(as_of, after, position)
    subject = nodes(tx, [start.key], up_to)[start.key]
    return replies.Impact(
        cursors=tuple(cursors),
        end=cursors[-1] if len(shown) > first else None,
        masked=0,
        subject=subject,
        counts={
            "deployments": len(serving),
            "aliases": len(aliases),
            "versions": len(others),
            "runs": len(found.runs) - bool(start.run),
        },
        kinds=by_kind,
        items=_described(tx, found, up_to, [item for _, item in shown[:first]]),
        position=position,
        completeness=completeness([found]),
    )


def _standing(
    tx: Transaction, found: Closure, position: int
) -> tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
    """The Deployments that served, and the aliases that stood, at a position: (Version, row), the nearest first."""
    nearness = {version: place for place, version in enumerate(_reached(found))}
    ids = list(nearness)
    serving = [(version, row) for row, version in tx.all(_serving, ids=ids, as_of=position)]
    last = {
        (artifact, name): (v, row) for artifact, name, row, v in tx.all(_aliased, ids=ids, as_of=position)
    }
    aliases = [(version, row) for version, row in last.values() if version in nearness]

    def order(item: tuple[int, int]) -> tuple[int, int]:
        return nearness[item[0]], item[1]

    return sorted(serving, key=order), sorted(aliases, key=order)


def _reached(found: Closure) -> Iterator[int]:
    """The Versions that came of it, after itself, if it is one; the nearest first."""
    if found.start.version:
        yield found.start.version
    yield from (version for version in found.versions if version != found.start.version)


def _listed(
    tx: Transaction,
    found: Closure,
    kinds: frozenset[str],
    serving: Sequence[tuple[int, int]],
    aliases: Sequence[tuple[int, int]],
    after: tuple[int | str, ...] | None,
) -> Iterator[tuple[tuple[int, int], _Item]]:
    """All items behind that one, each with its place: the section, and the place in that."""
    section, begin = (0, 0) if after is None else (int(after[0]), int(after[1]) + 1)
    for number, of in ((0, serving), (1, aliases)):
        if section <= number:
            for place in range(begin if section == number else 0, len(of)):
                yield (number, place), _Item(_SECTIONS[number], *of[place])
    others = enumerate(version for version in found.versions if version != found.start.version)
    rest = islice(others, begin if section == 2 else 0, None)
    while chunk := list(islice(rest, _STRIDE)):
        fitting = {version for _, version in chunk}
        if kinds:
            told = tx.all(_kind_of, ids=sorted(fitting))
            fitting = {version for version, kind in told if kind in kinds}
        yield from (
            ((2, place), _Item(ImpactType.VERSION, version)) for place, version in chunk if version in fitting
        )


def _described(
    tx: Transaction, found: Closure, up_to: int | None, items: Sequence[_Item]
) -> tuple[replies.Impacted, ...]:
    routes = {
        item.version: found.way(item.version)
        if item.version in found.versions and item.version != found.start.version
        else (lineage.version_key(item.version),)
        for item in items
    }
    passed = nodes(tx, [key for way in routes.values() for key in way], up_to)
    rows = {of: [item.row for item in items if item.type is of] for of in _SECTIONS}
    deployments = judgements.deployments_with_ids(tx, rows[ImpactType.DEPLOYMENT])
    aliases = artifacts.aliases_with_ids(tx, rows[ImpactType.ALIAS])
    described = []
    for item in items:
        path = _walked(passed, routes[item.version])
        told = replies.Impacted(item.type, path[-1], path)
        if item.type is ImpactType.DEPLOYMENT:
            # What ended it since was not known then.
            then = replace(deployments[item.row], until=None, ended_by=None, ended_because=None)
            told = replace(told, deployment=then)
        if item.type is ImpactType.ALIAS:
            told = replace(told, alias=replace(aliases[item.row], until=None))
        described.append(told)
    return tuple(described)
