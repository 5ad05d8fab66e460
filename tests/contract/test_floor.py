"""What is written by hand beside us on PostgreSQL, when recording is measured."""

from contextlib import closing

import psycopg

from benchmarks import recording_elsewhere
from tests import postgres
from whence_catalog.sql.catalog import SqlCatalog


def test_what_the_floor_writes_is_what_a_catalog_would_have_written() -> None:
    with (
        postgres.shared().database() as url,
        closing(SqlCatalog.connect(url)) as opened,
        closing(psycopg.connect(url, autocommit=True)) as floor,
    ):
        recording_elsewhere.begin(opened)
        rows = [recording_elsewhere.by_hand_of(recording_elsewhere.RUNS + place) for place in range(60)]
        recording_elsewhere.pipeline(floor, rows[:30])
        recording_elsewhere.copy(floor, rows[30:])
        checked = opened.check()
    assert (checked.facts, checked.problems) == (160, ())
