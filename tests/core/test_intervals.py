"""Since when something is true that is said now."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import intervals
from whence_catalog.errors import Conflict, InvalidInput

NOW = datetime(2026, 5, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENTS = st.integers(-50, 50).map(lambda hours: NOW + hours * HOUR)


def test_what_says_no_time_is_true_since_it_is_said() -> None:
    assert intervals.begin(None, NOW, None) == NOW
    assert intervals.begin(None, NOW, NOW - HOUR) == NOW


def test_a_clock_that_was_set_back_puts_nothing_before_the_last_change() -> None:
    assert intervals.begin(None, NOW, NOW + HOUR) == NOW + HOUR


def test_what_is_recorded_late_is_true_since_it_was() -> None:
    assert intervals.begin(NOW - HOUR, NOW, NOW - 2 * HOUR) == NOW - HOUR
    assert intervals.begin(NOW - HOUR, NOW, NOW - HOUR) == NOW - HOUR


def test_nothing_is_said_of_times_to_come() -> None:
    with pytest.raises(InvalidInput, match="to come"):
        intervals.begin(NOW + HOUR, NOW, None)


def test_what_was_before_the_last_change_stays() -> None:
    with pytest.raises(Conflict, match="cannot be changed"):
        intervals.begin(NOW - 2 * HOUR, NOW, NOW - HOUR)


@given(st.lists(st.tuples(st.none() | MOMENTS, MOMENTS)))
def test_changes_are_true_in_the_order_in_which_they_became_known(
    said: list[tuple[datetime | None, datetime]],
) -> None:
    since: list[datetime] = []
    for claimed, recorded in said:
        try:
            since.append(intervals.begin(claimed, recorded, since[-1] if since else None))
        except (Conflict, InvalidInput):
            continue
    assert since == sorted(since)
