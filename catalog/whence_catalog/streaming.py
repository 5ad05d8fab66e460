"""A lineage page by page while it is walked: what was handed out is let go of, so that however much there is fits.

What stays in memory is which rows were met, and the edges one end of which was not: some dozens of bytes each. The
pages are those of frontiers, each node and each edge on one of them, and a frontier of one goes on behind it; only
that no step is taken twice.

Leaves to others: which way to go, and what a page says (`traversal`).
"""

from collections.abc import Iterator, Sequence
from operator import and_, not_

from whence_catalog import columns, frontiers
from whence_catalog.columns import Steps
from whence_catalog.lineage import (
    EVERYTHING,
    Direction,
    EdgeType,
    Filter,
    Graph,
    NodeKey,
    Which,
)
from whence_catalog.traversal import TYPES, Neighbours, Shown, Walk, begun, graph_of

# How many nodes a page has, more or less: one ends where a question to the database did.
NODES = 20_000
_RUN = 0


def pages(
    neighbours: Neighbours,
    roots: Sequence[NodeKey],
    direction: Direction,
    depth: int | None = None,
    filter: Filter = EVERYTHING,
    as_of: int | None = None,
    position: int = 0,
    nodes: int = NODES,
) -> Iterator[Graph]:
    """What the roots came from, or what came from them, nearest first, in pages of so many nodes.

    Args:
        position: that as of which `neighbours` answer.

    Raises:
        InvalidInput: the filter names a state that there is none.
    """
    question = frontiers.Question(tuple(dict.fromkeys(roots)), direction, filter, as_of)
    walk = begun(neighbours, question, depth)
    left_out: tuple[set[int], ...] = (set(), set(), set())
    is_inside = True
    while is_inside:
        while (is_inside := walk.is_inside()) and walk.found < nodes:
            walk.advance(nodes - walk.found)
        reasons: tuple[str, ...] = ()
        going_on = None
        if walk.remains():
            going_on = str(frontiers.Frontier(question.digest, position, walk.limit, walk.steps))
            reasons = (f"{walk.found} nodes reached" if is_inside else f"depth {depth} reached",)
        shown = _shown(walk, left_out)
        edges = [_taken_out(walk, shown, steps) for steps in walk.kept]
        yield graph_of(walk, shown, edges, reasons, going_on, None)
        walk.order, walk.found, walk.made_by_nobody = [], 0, 0


def _shown(walk: Walk, left_out: tuple[set[int], ...]) -> Shown:
    """What is to be shown of what was met since the page before; `left_out` gains what is not."""
    wanted = walk.wanted
    met: tuple[set[int], ...] = (set(), set(), set())
    for type, _, level in walk.order:
        met[type].update(level)
    for type, rows in enumerate(met):
        left = walk.passed[type] & rows
        if type == _RUN and wanted.collapse_reuse:
            collapsed = (walk.origins.keys() & rows) - walk.roots[_RUN]
            left |= walk.admitted(_RUN, collapsed, Which(), False)
        if wanted.show != Which():
            rest = rows - left - walk.roots[type]
            left |= rest - walk.admitted(type, rest, wanted.show, True)
        left_out[type].update(left)
    if not any(left_out):
        return Shown(left_out, walk.done, 0, walk.order)
    visible = tuple(done.keys() - left_out[type] for type, done in enumerate(walk.done))
    order: list[tuple[int, int, Sequence[int]]] = [
        (type, depth, [row for row in level if row not in left_out[type]])
        for type, depth, level in walk.order
    ]
    filtered = walk.found - sum(len(level) for _, _, level in order)
    return Shown(left_out, visible, filtered, [each for each in order if each[2]])


def _taken_out(walk: Walk, shown: Shown, steps: Steps) -> Steps:
    """Those of which both ends were met by now, as far as they are shown: they are kept no longer."""
    source, target = (TYPES.index(type) for type in columns.ENDS[steps.type])
    met = list(
        map(
            and_,
            map(walk.done[source].__contains__, steps.source),
            map(walk.done[target].__contains__, steps.target),
        )
    )
    if steps.type is EdgeType.DERIVED:
        met = list(map(and_, met, map(walk.done[_RUN].__contains__, steps.producer)))
    out = steps.kept(met)
    steps.keep(list(map(not_, met)))
    if shown.visible is walk.done:
        return out
    both = map(
        and_,
        map(shown.visible[source].__contains__, out.source),
        map(shown.visible[target].__contains__, out.target),
    )
    return out.kept(list(both))
