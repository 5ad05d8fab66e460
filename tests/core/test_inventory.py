"""What an eviction takes: the rule, whatever the entries."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import inventory, model
from whence_catalog.errors import InvalidInput

NOW = datetime(2026, 5, 3, tzinfo=UTC)
DAY = timedelta(days=1)
PROD = inventory.Pin("alias prod", model.Artifact("default", "model", "m"))


def entry(
    key: str, days: float = 1, used_days: float | None = None, size: int = 0, *pins: inventory.Pin
) -> inventory.Candidate:
    """One that was validated, and used, so many days ago."""
    used = NOW - DAY * (days if used_days is None else used_days)
    return inventory.Candidate(key, NOW - DAY * days, used, {key.encode(): size} if size else {}, pins)


def gone(found: list[inventory.Candidate], **limits: object) -> list[str]:
    return [one.key for one in inventory.evict(found, inventory.Limits(**limits), NOW).gone]  # type: ignore[arg-type]


def test_what_is_too_old_goes_however_often_it_was_used_and_what_was_used_lately_stays_if_that_counts() -> (
    None
):
    entries = [entry("old", 9, 0), entry("young", 1, 1), entry("idle", 9, 8)]
    assert gone(entries, older_than=DAY * 5) == ["idle", "old"]
    assert gone(entries, unused_for=DAY * 5) == ["idle"]


def test_beyond_a_quota_the_least_recently_used_goes_first_and_no_more_than_must() -> None:
    entries = [entry("a", 9, 1, 10), entry("b", 9, 3, 10), entry("c", 9, 2, 10)]
    assert gone(entries, entries=2) == ["b"]
    assert gone(entries, size_bytes=15) == ["b", "c"]
    assert gone(entries, size_bytes=30) == []
    assert gone(entries, entries=0) == ["b", "c", "a"]


def test_what_is_needed_stays_and_counts_and_it_is_said_what_needs_it() -> None:
    found = inventory.evict(
        [entry("a", 9, 9, 10, PROD), entry("b", 2, 2, 10)], inventory.Limits(entries=1), NOW
    )
    assert [one.key for one in found.gone] == ["b"]
    assert found.kept == (inventory.Kept("a", "used least recently of more than 1 entries", (PROD,)),)
    assert (found.entries, found.size_bytes, found.is_enough) == (1, 10, True)
    assert not inventory.evict([entry("a", 9, 9, 0, PROD)], inventory.Limits(older_than=DAY), NOW).is_enough


def test_bytes_that_several_entries_hand_out_count_once_and_go_with_the_last_of_them() -> None:
    one, other = (replace(entry(key, days), contents={b"same": 10}) for key, days in (("a", 2), ("b", 1)))
    assert gone([one, other], size_bytes=10) == []
    found = inventory.evict([one, other, entry("c", 3, 3, 5)], inventory.Limits(size_bytes=10), NOW)
    assert [g.key for g in found.gone] == ["c"]
    assert gone([one, other], size_bytes=9) == ["a", "b"]


def test_limits_that_are_none_or_negative_are_refused() -> None:
    for wrong in ({}, {"entries": -1}, {"older_than": -DAY}):
        with pytest.raises(InvalidInput):
            inventory.Limits(**wrong)  # type: ignore[arg-type]


candidates = st.lists(
    st.builds(
        lambda key, days, used, contents, pinned: inventory.Candidate(
            f"wk1:{key}",
            NOW - DAY * max(days, used),
            NOW - DAY * used,
            {bytes([c]): c + 1 for c in contents},
            (PROD,) if pinned else (),
        ),
        st.integers(0, 10**6),
        st.integers(0, 30),
        st.integers(0, 30),
        st.sets(st.integers(0, 8), max_size=3),
        st.booleans(),
    ),
    max_size=25,
    unique_by=lambda one: one.key,
)
days = st.none() | st.integers(0, 30).map(lambda n: DAY * n)
amounts = st.none() | st.integers(0, 40)
limits = st.tuples(days, days, amounts, amounts).filter(any).map(lambda given: inventory.Limits(*given))


@given(candidates, limits)
def test_nothing_that_is_needed_goes_and_what_stays_is_counted_right(
    entries: list[inventory.Candidate], asked: inventory.Limits
) -> None:
    found = inventory.evict(entries, asked, NOW)
    gone = {one.key for one in found.gone}
    kept = {one.key for one in found.kept}
    by_key = {one.key: one for one in entries}
    staying = [one for one in entries if one.key not in gone]
    assert not any(by_key[key].pins for key in gone)
    assert all(by_key[key].pins for key in kept)
    assert len(gone) == len(found.gone)
    assert found.entries == len(staying)
    contents = {content: size for one in staying for content, size in one.contents.items()}
    assert found.size_bytes == sum(contents.values())


@given(candidates, limits)
def test_the_limits_hold_after_or_all_that_is_left_beyond_them_is_needed(
    entries: list[inventory.Candidate], asked: inventory.Limits
) -> None:
    found = inventory.evict(entries, asked, NOW)
    left = [one for one in entries if one.key not in {g.key for g in found.gone}]
    again = inventory.evict(left, asked, NOW)
    assert again.gone == ()
    assert again.is_enough == found.is_enough
    if not found.is_enough:
        assert any(one.pins for one in left)


@given(candidates, limits)
def test_a_quota_takes_from_the_least_recently_used_on_and_skips_but_what_is_needed(
    entries: list[inventory.Candidate], asked: inventory.Limits
) -> None:
    quota = replace(asked, unused_for=None, older_than=None, entries=asked.entries or 0)
    found = inventory.evict(entries, quota, NOW)
    gone = {one.key for one in found.gone}
    last = max((one.used_at for one in entries if one.key in gone), default=None)
    for one in entries:
        if last is not None and one.used_at < last:
            assert one.key in gone or one.pins
    assert Counter(one.key for one in found.gone).total() == len(gone)


@given(candidates, limits, st.randoms(use_true_random=False))
def test_the_order_in_which_entries_are_told_does_not_matter(
    entries: list[inventory.Candidate], asked: inventory.Limits, random: object
) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert inventory.evict(shuffled, asked, NOW) == inventory.evict(entries, asked, NOW)


def test_one_eviction_takes_no_more_than_its_fact_names_and_says_how_many_are_left() -> None:
    entries = [entry(f"wk1:{n:06}", 9) for n in range(inventory.MOST_EVICTED + 3)]
    found = inventory.evict(entries, inventory.Limits(older_than=DAY), NOW)
    assert (len(found.gone), found.more, found.is_enough) == (inventory.MOST_EVICTED, 3, False)
    assert found.entries == 3
