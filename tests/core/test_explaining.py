"""Where an input began to differ: the rule, over Runs made up for it."""

from uuid import UUID

from tests.simulator import digest_of
from whence_catalog import cache


def taker(
    n: int, *parts: str, took: dict[str, tuple[str, int | None]] | None = None, key: bool = True
) -> cache.Taker:
    """A Run whose key has these parameters, and takes those contents from those Runs."""
    inputs = took or {}
    components = tuple(
        [cache.component("params", text, f"params/{text.partition('=')[0]}", preview=text) for text in parts]
        + [cache.component("inputs", content, f"inputs/{role}") for role, (content, _) in inputs.items()]
    )
    members = {
        role: ((digest_of(content.encode()), None if made_by is None else UUID(int=made_by)),)
        for role, (content, made_by) in inputs.items()
    }
    return cache.Taker(UUID(int=n), "job", cache.key(components) if key else None, components, members)


def begun(role: str, before: cache.Taker, after: cache.Taker, *others: cache.Taker) -> cache.Cause:
    known = {one.run: one for one in others}
    return cache.cause(role, before, after, lambda uid: known[uid])


def test_the_run_whose_own_key_differs_is_found_however_far_upstream() -> None:
    loads = [taker(1, "day=1"), taker(2, "day=2")]
    cleans = [taker(11, took={"raw": ("a", 1)}), taker(12, took={"raw": ("b", 2)})]
    trains = [taker(21, "c=1", took={"data": ("A", 11)}), taker(22, "c=1", took={"data": ("B", 12)})]
    found = begun("data", *trains, *loads, *cleans)
    assert (found.role, found.run, found.against) == ("data", UUID(int=2), UUID(int=1))
    assert found.through == (UUID(int=12),)
    assert [(v.name, v.before, v.after) for v in found.verdicts] == [("params/day", "day=1", "day=2")]
    assert found.note is None


def test_the_nearest_such_run_is_the_one_that_is_named() -> None:
    far = [taker(1, "day=1"), taker(2, "day=2")]
    near = [
        taker(11, "k=1", took={"raw": ("a", 1)}),
        taker(12, "k=2", took={"raw": ("b", 2)}),
    ]
    found = begun(
        "data", taker(21, took={"data": ("A", 11)}), taker(22, took={"data": ("B", 12)}), *far, *near
    )
    assert found.run == UUID(int=12)
    assert [v.name for v in found.verdicts] == ["params/k"]


def test_a_run_without_a_key_a_divergence_and_an_unknown_producer_end_the_search_and_it_is_said() -> None:
    before, after = taker(21, took={"data": ("A", 1)}), taker(22, took={"data": ("B", 2)})
    assert "has no key" in str(begun("data", before, after, taker(1, key=False), taker(2, key=False)).note)
    assert (
        begun("data", before, after, taker(1, "x=1"), taker(2, "x=1")).note == "the same key gave other bytes"
    )
    unknown = taker(22, took={"data": ("B", None)})
    found = begun("data", before, unknown, taker(1))
    assert (found.run, found.note) == (None, "it was not said which run made it")
    same = taker(22, took={"data": ("B", 1)})
    assert begun("data", before, same, taker(1)).note == "one run made both"


def test_a_long_way_upstream_is_cut_short_and_it_is_said() -> None:
    runs = []
    for n in range(cache.MOST_COMPARED + 2):
        runs += [
            taker(1000 + n, took={"x": (f"a{n}", 1001 + n)}),
            taker(3000 + n, took={"x": (f"b{n}", 3001 + n)}),
        ]
    found = begun("x", runs[0], runs[1], *runs)
    assert found.run is None
    assert "not found among the first" in str(found.note)


def test_a_key_of_another_scope_is_no_neighbour() -> None:
    mine = [cache.component("scope", "a"), cache.component("params", 1, "params/x")]
    near = [cache.component("scope", "b"), cache.component("params", 1, "params/x")]
    far = [cache.component("scope", "a"), cache.component("params", 2, "params/x")]
    assert cache.nearest(mine, {UUID(int=1): near, UUID(int=2): far}) == UUID(int=2)
    assert cache.nearest(mine, {UUID(int=1): near}) is None
