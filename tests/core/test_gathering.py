"""Which recorded Runs a plan looks at."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from whence_catalog import flow, gathering


@dataclass
class Recorded:
    """Edges by hand: each row of `took` is a Run, its start, its origin, role, ordinal, Version, producer."""

    took: list[flow.Took] = field(default_factory=list)
    made: list[flow.Made] = field(default_factory=list)

    def taken_by(self, runs: Sequence[int]) -> Sequence[flow.Took]:
        return sorted((row for row in self.took if row[0] in runs), key=repr)

    def made_by(self, runs: Sequence[int]) -> Sequence[flow.Made]:
        return [row for row in self.made if row[0] in runs]

    def producers_of(self, versions: Sequence[int]) -> Sequence[flow.Made]:
        return [row for row in self.made if row[2] in versions]

    def consumers_of(self, versions: Sequence[int]) -> Sequence[flow.Taken]:
        return [(run, at, v, by) for run, at, _, _, _, v, by in self.took if v is not None and v in versions]

    def reuses_of(self, runs: Sequence[int]) -> Sequence[int]:
        return [row[0] for row in self.took if row[2] in runs]


def places(found: gathering.Gathered, run: int) -> list[tuple[str, int, int]]:
    return sorted(take[:3] for take in found.takes[run])


def test_a_reused_run_took_what_its_origin_did_where_it_does_not_say() -> None:
    recorded = Recorded([(1, 10, None, "data", 0, 100, None), (2, 20, 1, None, None, None, None)])
    assert places(gathering.gather(recorded, [2], [], set(), 9), 2) == [("data", 0, 100)]


def test_a_reused_run_took_what_it_says() -> None:
    rows: list[flow.Took] = [(1, 10, None, "data", 0, 100, None), (2, 20, 1, "data", 0, 102, None)]
    assert places(gathering.gather(Recorded(rows), [2], [], set(), 9), 2) == [("data", 0, 102)]


def gathered(*took: tuple[int, int | None]) -> gathering.Gathered:
    """Runs, each with the one that it took something from."""
    found = gathering.Gathered()
    for run, producer in took:
        found.runs[run] = None
        found.takes[run] = [("data", 0, 100, () if producer is None else (producer,), False)]
    return found


def test_an_attempt_that_came_to_nothing_is_superfluous_unless_it_is_named() -> None:
    found = gathered((1, None), (2, 1), (3, 1))
    assert gathering.superfluous(found, set(), {3}, {}) == {3}
    assert gathering.superfluous(found, {3}, {3}, {}) == set()


def test_a_repetition_is_superfluous_where_what_it_repeats_is_there() -> None:
    found = gathered((1, None), (2, None), (3, None))
    assert gathering.superfluous(found, set(), set(), {2: 1, 3: 9}) == {2}
    # What repeats one that failed is what came of it.
    assert gathering.superfluous(found, set(), {1}, {2: 1}) == {1}


def test_what_something_takes_from_is_not_superfluous_unless_that_is() -> None:
    found = gathered((1, None), (2, None), (3, 2))
    assert gathering.superfluous(found, set(), set(), {2: 1}) == set()
    assert gathering.superfluous(found, set(), {3}, {2: 1}) == {2, 3}


def test_of_each_run_is_known_how_much_it_took_from_nobody_and_from_one_of_several() -> None:
    recorded = Recorded(
        [(3, 30, None, "data", 0, 100, None), (3, 30, None, "more", 0, 101, None)],
        [(1, "out", 100, 11, 0), (2, "out", 100, 21, 0)],
    )
    found = gathering.gather(recorded, [3], [], set(), 9)
    assert (found.ambiguous[3], found.unmade[3]) == (1, 1)
    assert found.takes[3][0] == ("data", 0, 100, (2, 1), True)


def test_runs_come_after_all_that_they_take_something_from() -> None:
    before: dict[int, set[int]] = {4: {2, 3}, 3: {1}, 2: {1}, 1: set()}
    assert gathering.in_order(before, int) == gathering.Ordered([[1], [3, 2], [4]], [])


def test_of_runs_that_take_from_each_other_the_one_that_began_first_comes_last() -> None:
    # 1 hands on to 2 while it runs, and takes what 3 makes of that; 4 takes from 1, and 5 hands on to 1.
    before = {1: {3, 5}, 2: {1}, 3: {2}, 4: {1}, 5: set[int]()}
    assert gathering.in_order(before, int) == gathering.Ordered([[5], [2], [3], [1], [4]], [1])


def test_runs_that_take_from_each_other_twice_over_are_each_in_one_place() -> None:
    before = {1: {2}, 2: {1}, 3: {4, 2}, 4: {3}}
    ordered = gathering.in_order(before, int)
    assert ordered == gathering.Ordered([[2], [1], [4], [3]], [1, 3])
