"""Times as people write them."""

from datetime import UTC, date, datetime

import pytest

from whence import times
from whence_catalog.errors import InvalidInput


def test_a_day_is_asked_of_its_end_and_begins_at_its_beginning() -> None:
    for day in ("2026-05-03", "20260503", "2026-W18-7", date(2026, 5, 3)):
        assert times.end(day) == datetime(2026, 5, 3, 23, 59, 59, 999999, tzinfo=UTC)
        assert times.beginning(day) == datetime(2026, 5, 3, tzinfo=UTC)


def test_a_time_without_an_offset_is_of_utc() -> None:
    for text in ("2026-05-03T14:30", "2026-05-03T14:30Z", "2026-05-03T16:30+02:00"):
        assert times.end(text) == times.beginning(text) == datetime(2026, 5, 3, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-02-30", "03.05.2026", "", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"],
)
def test_what_is_no_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(InvalidInput, match="2026-05-03T14:30"):
        times.end(text)
