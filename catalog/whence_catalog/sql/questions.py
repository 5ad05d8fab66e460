"""What is asked of lineage beside the Graph: ways, roots, common ancestors, and what came of something.

Each reads what was known at one position, and the pages of a list are all of the position of its first.
Leaves to others: the search (`closure`, `ways`), and how it is read from the tables (`graph`).
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, TypeVar

from sqlalchemy import bindparam, func, or_, select

from whence_catalog import closure, lineage, replies, ways
from whence_catalog.closure import Closure, Start, Way, Ways
from whence_catalog.errors import InvalidInput
from whence_catalog.lineage import Node, NodeKey, NodeType
from whence_catalog.replies import ImpactType
from whence_catalog.sql import artifacts, engine, graph, judgements, pages, tables, times
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Statement, Transaction
from whence_catalog.sql.remembered import Remembered, Sized

_VERSION = tables.VERSION
_ARTIFACT = tables.ARTIFACT
_ALIAS = tables.ALIAS
_DEPLOYMENT = tables.DEPLOYMENT
_FACT = tables.FACT

# How many Versions are looked at together for those of the kinds that are asked for.
_STRIDE = 5000

_served = Statement(select(_DEPLOYMENT.c.version_id).where(_DEPLOYMENT.c.id == bindparam("id")))
_leaf = Statement(select(_FACT.c.leaf).where(_FACT.c.position == bindparam("position")))
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


def _subject(tx: Transaction, text: str, position: int, as_of: int | None) -> _Subject:
    """What a reference, a Run's id or `deployment/…` named at a position; `as_of` is None where nobody named one.

    Raises:
        NotFound: nothing that is recorded, or that was at that position.
        InvalidInput: it is none of these.
    """
    if as_of is None:
        # With near names, where nothing is meant by it now.
        key = graph.root(tx, text)
    if position != engine.NOW:
        key = graph.root(tx, text, position)
    if key % 3 != 2:
        return _Subject(Start.at(key))
    served = tx.one(_served, id=key // 3)
    assert served is not None, "a Deployment has a Version"
    return _Subject(Start(version=served[0]), key // 3)


def edges(tx: Transaction, position: int) -> graph.SqlNeighbours:
    """`flow.Edges` as far as they were known at a position; `engine.NOW` is no bound."""
    return graph.SqlNeighbours(tx, None if position == engine.NOW else position)


T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Asking:
    """One transaction, and what was found out about positions before."""

    tx: Transaction
    remembered: Remembered

    def at(self, position: int, asked: Hashable, find: Callable[[], T]) -> T:
        """What was found for that at a position, or is now."""
        # By the fact there, too: a database that was restored may have gone on otherwise.
        leaf = self.tx.one(_leaf, position=position)
        return self.remembered.get((position, leaf and bytes(leaf[0]), asked), find)


# ── ways ─────────────────────────────────────────────────────────────────────────────────────────


def paths(tx: Transaction, start: str, end: str, limit: int, as_of: int | None) -> replies.Paths:
    """The shortest ways from one thing to another."""
    position = times.checked(tx, as_of)
    first, last = (_subject(tx, text, position, as_of) for text in (start, end))
    if first.deployment is not None:
        # Data goes into a Deployment, and no further.
        ends = (_deployments(tx, [first.deployment], as_of)[first.deployment],)
        whole = lineage.Completeness(complete=True)
        return replies.Paths((ends,) if first == last else (), whole)
    found = ways.find(edges(tx, position), first.start, last.start, limit)
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
            f"{lineage.DEPLOYMENT}{found.uid}",
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
    ask: Asking, of: Sequence[str], as_of: int | None, first: int, after: str | None
) -> replies.NodePage:
    """Where the flow of data into these begins."""
    return _page(ask, "roots", of, as_of, first, after, closure.roots)


def common_ancestors(
    ask: Asking, of: Sequence[str], as_of: int | None, first: int, after: str | None
) -> replies.NodePage:
    """What all of these came from.

    Raises:
        InvalidInput: they are not two or more.
    """
    if len(of) < 2:
        raise InvalidInput(f"common ancestors of {len(of)} things: name two or more")
    return _page(ask, "common ancestors", of, as_of, first, after, closure.common)


@dataclass(frozen=True, slots=True)
class _Listed:
    """All of a list, in order, as numbers; and how much of it is sure."""

    depths: "array[int]"
    keys: "array[int]"
    completeness: lineage.Completeness

    @property
    def size_bytes(self) -> int:
        return 16 * len(self.keys)

    def behind(self, key: tuple[int | str, ...] | None, many: int) -> list[tuple[int, NodeKey]]:
        """So many of its items behind one."""
        begin = 0
        if key is not None:
            begin = bisect_right(range(len(self.keys)), key, key=lambda at: (self.depths[at], self.keys[at]))
        end = begin + many
        return [(d, NodeKey(k)) for d, k in zip(self.depths[begin:end], self.keys[begin:end], strict=True)]


def _page(
    ask: Asking,
    what: str,
    of: Sequence[str],
    as_of: int | None,
    first: int,
    after: str | None,
    rule: closure.Listing,
) -> replies.NodePage:
    if not of:
        raise InvalidInput(f"{what} of nothing: name a version or a run")
    tx = ask.tx
    asked, position, key = _place(tx, what, of, as_of, first, after, (int, int))
    starts = tuple({_subject(tx, text, position, as_of).start: None for text in of})

    def find() -> _Listed:
        closures = [closure.upstream(edges(tx, position), start) for start in starts]
        every = rule(closures)
        return _Listed(
            array("q", (depth for depth, _ in every)),
            array("q", (key for _, key in every)),
            completeness(closures),
        )

    every = ask.at(position, (what, starts), find)
    shown = every.behind(key, first + 1)
    described = nodes(tx, [item[1] for item in shown[:first]], _shown_at(as_of, after, position))
    cursors = [asked.cursor(position, item) for item in shown[:first]]
    return replies.NodePage(
        cursors=tuple(cursors),
        end=cursors[-1] if len(shown) > first else None,
        masked=0,
        items=tuple(described[item]._replace(depth=depth) for depth, item in shown[:first]),
        total=len(every.keys),
        completeness=every.completeness,
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


# Before the first of all that came of it: the Version itself that is asked of.
_ITSELF = -1


class _Item(NamedTuple):
    """One line of an impact: which of the Versions that came of it, or `_ITSELF`; and the row of the Deployment or alias."""

    type: ImpactType
    number: int
    row: int = 0


_SECTIONS = (ImpactType.DEPLOYMENT, ImpactType.ALIAS, ImpactType.VERSION)


@dataclass(frozen=True, slots=True)
class _Impact:
    """All that came of something, as it was known at a position.

    `serving` and `aliases` are (number of the Version, row): the Deployments that served and the aliases that stood.
    """

    ways: Ways
    serving: Sequence[tuple[int, int]]
    aliases: Sequence[tuple[int, int]]
    runs: int
    kinds: Mapping[str, int]
    completeness: lineage.Completeness

    @property
    def size_bytes(self) -> int:
        return self.ways.size_bytes + 120 * (len(self.serving) + len(self.aliases))


def impact(
    ask: Asking,
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
    tx = ask.tx
    asked, position, key = _place(tx, "impact", [of, *sorted(kinds)], as_of, first, after, (int, int))
    start, deployment = _subject(tx, of, position, as_of)
    if deployment is not None:
        raise InvalidInput(f"nothing comes of {of}; ask of the version that it serves")
    found = ask.at(position, ("impact", start), lambda: _impact(tx, start, position))
    shown = list(islice(_listed(tx, found, kinds, key), first + 1))
    cursors = [asked.cursor(position, place) for place, _ in shown[:first]]
    up_to = _shown_at(as_of, after, position)
    return replies.Impact(
        cursors=tuple(cursors),
        end=cursors[-1] if len(shown) > first else None,
        masked=0,
        subject=nodes(tx, [start.key], up_to)[start.key],
        counts={
            "deployments": len(found.serving),
            "aliases": len(found.aliases),
            "versions": len(found.ways.versions),
            "runs": found.runs,
        },
        kinds=dict(found.kinds),
        items=_described(tx, found.ways, up_to, [item for _, item in shown[:first]]),
        position=position,
        completeness=found.completeness,
    )


def _impact(tx: Transaction, start: Start, position: int) -> _Impact:
    found = closure.downstream(edges(tx, position), start)
    came = found.ways()
    others = list(came.versions)
    by_kind: dict[str, int] = dict(tx.all(_kinds, ids=others)) if others else {}
    nearness = {version: number for number, version in enumerate(others)}
    if start.version:
        nearness[start.version] = _ITSELF
    ids = list(nearness)
    serving = [(nearness[version], row) for row, version in tx.all(_serving, ids=ids, as_of=position)]
    last = {
        (artifact, name): (v, row) for artifact, name, row, v in tx.all(_aliased, ids=ids, as_of=position)
    }
    aliases = [(nearness[version], row) for version, row in last.values() if version in nearness]
    return _Impact(
        came,
        sorted(serving),
        sorted(aliases),
        len(found.runs) - bool(start.run),
        by_kind,
        completeness([found]),
    )


def _listed(
    tx: Transaction, found: _Impact, kinds: frozenset[str], after: tuple[int | str, ...] | None
) -> Iterator[tuple[tuple[int, int], _Item]]:
    """All items behind that one, each with its place: the section, and the place in that."""
    section, begin = (0, 0) if after is None else (int(after[0]), int(after[1]) + 1)
    for number, of in ((0, found.serving), (1, found.aliases)):
        if section <= number:
            for place in range(begin if section == number else 0, len(of)):
                yield (number, place), _Item(_SECTIONS[number], *of[place])
    versions = found.ways.versions
    for at in range(begin if section == 2 else 0, len(versions), _STRIDE):
        chunk = versions[at : at + _STRIDE]
        fitting = set(chunk)
        if kinds:
            told = tx.all(_kind_of, ids=sorted(fitting))
            fitting = {version for version, kind in told if kind in kinds}
        yield from (
            ((2, place), _Item(ImpactType.VERSION, place))
            for place, version in enumerate(chunk, at)
            if version in fitting
        )


def _described(
    tx: Transaction, came: Ways, up_to: int | None, items: Sequence[_Item]
) -> tuple[replies.Impacted, ...]:
    routes = {
        item.number: (came.start.key,) if item.number == _ITSELF else came.way(item.number) for item in items
    }
    passed = nodes(tx, [key for way in routes.values() for key in way], up_to)
    rows = {of: [item.row for item in items if item.type is of] for of in _SECTIONS}
    deployments = judgements.deployments_with_ids(tx, rows[ImpactType.DEPLOYMENT])
    aliases = artifacts.aliases_with_ids(tx, rows[ImpactType.ALIAS])
    described = []
    for item in items:
        path = _walked(passed, routes[item.number])
        told = replies.Impacted(item.type, path[-1], path)
        if item.type is ImpactType.DEPLOYMENT:
            # What ended it since was not known then.
            then = replace(deployments[item.row], until=None, ended_by=None, ended_because=None)
            told = replace(told, deployment=then)
        if item.type is ImpactType.ALIAS:
            told = replace(told, alias=replace(aliases[item.row], until=None))
        described.append(told)
    return tuple(described)
