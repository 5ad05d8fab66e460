"""How many neighbours of a node are not in an answer that was cut or filtered, nor on a page before it.

A Run that was looked at has told all that it took and made, and a Deployment what it serves. Who else made, took,
serves or reused a thing may be very many: they are counted where they are kept, and not read.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Protocol

from whence_catalog.columns import ENDS, Hidden, Steps
from whence_catalog.lineage import EdgeType, NodeType


class Degrees(Protocol):
    """How many there are of what the other end does not tell."""

    def degrees(self, type: EdgeType, rows: Sequence[int]) -> Mapping[int, int]:
        """How many Runs took or made each of these Versions, how many Deployments serve it, how many reuse a Run."""
        ...


def neighbours(
    ask: Degrees,
    page: Mapping[NodeType, Iterable[int]],
    steps: Sequence[Steps],
    visible: Mapping[NodeType, Container[int]],
) -> dict[NodeType, Hidden]:
    """The hidden neighbours of the nodes of a page.

    Args:
        steps: all edges of the nodes that were looked at, on this page and before.
        visible: all that is on this page or before.
    """
    shown = {type: frozenset(rows) for type, rows in page.items()}
    counted: dict[NodeType, tuple[Counter[int], Counter[int]]] = {
        type: (Counter(), Counter()) for type in shown
    }
    for each in steps:
        if each.type is EdgeType.DERIVED:
            continue  # that lies within a Run
        source, target = ENDS[each.type]
        # The end that tells all edges of this type that it has, and the one that is to be counted.
        is_told_below = each.type is not EdgeType.OUTPUT
        told, other = (each.target, each.source) if is_told_below else (each.source, each.target)
        of, beside = (target, source) if is_told_below else (source, target)
        if rows := shown.get(of):
            seen = visible[beside]
            beyond = {(a, b) for a, b in zip(told, other, strict=True) if b not in seen and a in rows}
            counted[of][0 if is_told_below else 1].update(a for a, _ in beyond)
        if rows := shown.get(beside):
            seen = visible[of]
            known = {(b, a) for a, b in zip(told, other, strict=True) if b in rows and a in seen}
            left = Counter(ask.degrees(each.type, sorted(rows)))
            left.subtract(Counter(b for b, _ in known))
            counted[beside][1 if is_told_below else 0].update(left)
    return {type: Hidden(up, down) for type, (up, down) in counted.items()}
