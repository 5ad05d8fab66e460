"""A lineage page by page while it is walked, beside the same at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_lineage import History, Question, identities, ids, key, questions
from whence_catalog import lineage, streaming
from whence_catalog.lineage import EVERYTHING, Bounds, Direction, Filter, NodeType, Which

FILTERS = (
    EVERYTHING,
    Filter(show=Which(kinds=frozenset({"dataset"}))),
    Filter(collapse_reuse=True),
    Filter(
        show=Which(types=frozenset({NodeType.RUN, NodeType.DEPLOYMENT})),
        stop_at=Which(states=frozenset({"tainted"}), types=frozenset({NodeType.VERSION})),
        pass_through=Which(labels=frozenset({("parity", "odd")}), types=frozenset({NodeType.RUN})),
    ),
)


def pages(
    history: History, roots: list[str], direction: Direction, depth: int | None, wanted: Filter, nodes: int
) -> list[lineage.Graph]:
    keys = [key(root) for root in roots]
    return list(streaming.pages(history, keys, direction, depth, wanted, None, history.position, nodes=nodes))


@settings(deadline=None, max_examples=500)
@given(questions, st.none() | st.integers(1, 3), st.sampled_from(FILTERS), st.integers(1, 7))
def test_all_pages_together_are_the_answer_at_once(
    q: Question, depth: int | None, wanted: Filter, nodes: int
) -> None:
    history, roots, direction = q
    whole = history.traverse(direction, *roots, bounds=Bounds(depth, None), filter=wanted)
    found = pages(history, roots, direction, depth, wanted, nodes)
    assert [n for page in found for n in page.nodes] == list(whole.nodes)
    edges = [e for page in found for e in page.edges]
    assert sorted(identities(edges)) == sorted(identities(whole.edges))
    assert set(edges) == set(whole.edges)
    last = found[-1].completeness
    assert (last.complete, last.reasons, last.frontier) == (
        whole.completeness.complete,
        whole.completeness.reasons,
        whole.completeness.frontier,
    )
    assert not any(page.completeness.complete for page in found[:-1])
    for name in ("ambiguous", "unknown_producers", "filtered"):
        counted = sum(getattr(page.completeness, name) for page in found)
        assert counted == getattr(whole.completeness, name)


@settings(deadline=None, max_examples=200)
@given(questions, st.integers(1, 4))
def test_a_frontier_of_a_page_goes_on_behind_it(q: Question, nodes: int) -> None:
    history, roots, direction = q
    found = pages(history, roots, direction, None, EVERYTHING, nodes)
    seen: set[str] = set()
    for page in found[:-1]:
        seen |= ids(page.nodes)
        rest = history.traverse(direction, *roots, frontier=page.completeness.frontier)
        assert ids(rest.nodes) == history.whole(roots, direction) - seen
