"""How far something reaches, beside the lineage of the same history."""

from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_lineage import History, Question, chain, key, questions
from whence_catalog import extent
from whence_catalog.lineage import Bounds, Direction, NodeType


class Ends:
    """`extent.Ends`, of what a History tells."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.asked = 0

    def taken_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int | None]]:
        self.asked += 1
        return [(t.version, t.producer) for t in self._history.taken_by(runs) if t.version is not None]

    def unnamed_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int]]:
        taken = self._history.taken_by(runs)
        return [(t.run, t.version) for t in taken if t.version is not None and t.producer is None]

    def origins_of(self, runs: Sequence[int]) -> Iterable[int]:
        return [t.origin for t in self._history.taken_by(runs) if t.origin is not None]

    def started(self, runs: Sequence[int]) -> Iterable[tuple[int, int]]:
        return [(t.run, t.started) for t in self._history.taken_by(runs)]

    def made_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int]]:
        return [(run, version) for run, _, version, *_ in self._history.made_by(runs)]

    def producers_of(self, versions: Sequence[int]) -> Sequence[tuple[int, int, int]]:
        made = self._history.producers_of(versions)
        return [(version, run, position) for run, _, version, position, _ in made]

    def consumers_of(self, versions: Sequence[int]) -> Sequence[tuple[int, int, int | None]]:
        self.asked += 1
        return [(v, run, producer) for run, _, v, producer in self._history.consumers_of(versions)]

    def reuses_of(self, runs: Sequence[int]) -> Iterable[int]:
        return self._history.reuses_of(runs)

    def deployments_of(self, versions: Sequence[int]) -> Iterable[int]:
        return self._history.deployments_of(versions)

    def served_by(self, deployments: Sequence[int]) -> Iterable[int]:
        return [version for _, version, _ in self._history.served_by(deployments)]


@settings(deadline=None, max_examples=400)
@given(questions, st.none() | st.integers(1, 3))
def test_it_reaches_what_lineage_shows_and_is_as_sure(q: Question, depth: int | None) -> None:
    history, roots, direction = q
    graph = history.traverse(direction, *roots, bounds=Bounds(depth, None))
    found = extent.find(Ends(history), [key(root) for root in roots], direction, depth)
    for rows, letter, type in (
        (found.runs, "r", NodeType.RUN),
        (found.versions, "v", NodeType.VERSION),
        (found.deployments, "d", NodeType.DEPLOYMENT),
    ):
        assert list(rows) == sorted(rows)
        assert {f"{letter}{row}" for row in rows} == {n.id for n in graph.nodes if n.type is type}
    one, other = found.completeness, graph.completeness
    assert (one.complete, one.reasons) == (other.complete, other.reasons)
    assert (one.ambiguous, one.unknown_producers) == (other.ambiguous, other.unknown_producers)


def test_each_level_is_asked_about_once() -> None:
    history = chain(40)
    for direction, root in ((Direction.UP, "v40"), (Direction.DOWN, "v1")):
        ends = Ends(history)
        assert extent.find(ends, [key(root)], direction).completeness.complete
        assert ends.asked <= 42
