"""What it costs to plan: which Runs of a deep history would have to be made again, and why."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from benchmarks import beside, history, measure, raw
from whence_catalog import plans

# Ours answers with what each Run takes, its key and what that rests on; the floor with rows of the same.
_GOAL, _TO_GET_TO = 8.0, 3.0
_CHANGED_GOAL, _CHANGED_TO_GET_TO = 10.0, 4.0
_UID = UUID(int=7)
_ENTRIES = (
    "SELECT e.key, e.run_id, r.uid, e.revoked_at, (SELECT max(t.version_id) FROM taint t WHERE t.run_id = r.id)"
    " FROM cache_entry e JOIN run r ON r.id = e.run_id WHERE e.key IN (SELECT value FROM json_each(?))"
    " AND e.superseded_at IS NULL AND e.evicted_at IS NULL"
)
_CAPTURES = "SELECT id, state, capture, params FROM run WHERE id IN (SELECT value FROM json_each(?))"
_KEYS = "SELECT key FROM run WHERE id IN (SELECT value FROM json_each(?)) AND key IS NOT NULL"
_COMPONENTS = (
    "SELECT run_id, name, kind, digest, ignored FROM component"
    " WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, place"
)


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, in a history of that many runs."""
    named = f"{runs // 1000}k"
    return [
        measure.Benchmark(
            f"plan-{named}", _GOAL, measure.Clock.CPU, partial(_unchanged, runs), stretch=_TO_GET_TO
        ),
        measure.Benchmark(
            f"plan-changed-{named}",
            _CHANGED_GOAL,
            measure.Clock.CPU,
            partial(_changed, runs),
            stretch=_CHANGED_TO_GET_TO,
        ),
    ]


@contextmanager
def _unchanged(runs: int) -> Iterator[measure.Contenders]:
    """Of the last run, where nothing has changed: all is reused."""
    with beside.reading(history.file(runs)) as both:
        last = history.uid(runs - 1)
        request = plans.PlanRequest(_UID, (str(last),))
        ours = partial(both.ours.plan, request)
        floor = partial(_rows, both.floor, last)
        found, (ancestry, entries) = ours(), floor()
        assert found.counts["reuse"] == len(found.steps) == len(entries)
        assert len(found.steps) == len(ancestry.runs)
        yield measure.Contenders(lambda: ours, lambda: floor)


@contextmanager
def _changed(runs: int) -> Iterator[measure.Contenders]:
    """Of the last run, with every job's parameter changed: all is to be executed, or may have to be."""
    with beside.reading(history.file(runs)) as both:
        last = history.uid(runs - 1)
        request = plans.PlanRequest(
            _UID,
            (str(last),),
            params={history.job(place): {"param-1": 0} for place in range(20)},
        )
        ours = partial(both.ours.plan, request)
        floor = partial(_more_rows, both.floor, last)
        found, (ancestry, *_) = ours(), floor()
        assert len(found.steps) == len(ancestry.runs)
        assert found.counts["reuse"] == 0
        yield measure.Contenders(lambda: ours, lambda: floor)


def _rows(connection: sqlite3.Connection, run: UUID) -> tuple[raw.Ancestry, list[raw.Row]]:
    """All that a run came from, as rows, and the live entries of their keys."""
    found = raw.upstream(connection, run.bytes, None)
    ids = json.dumps([row[0] for row in found.runs])
    keys = json.dumps([key for (key,) in connection.execute(_KEYS, (ids,))])
    return found, connection.execute(_ENTRIES, (keys,)).fetchall()


def _more_rows(
    connection: sqlite3.Connection, run: UUID
) -> tuple[raw.Ancestry, list[raw.Row], list[raw.Row]]:
    """As `_rows`, and how each of them was run, and the parts of its key."""
    found = raw.upstream(connection, run.bytes, None)
    ids = json.dumps([row[0] for row in found.runs])
    return (
        found,
        connection.execute(_CAPTURES, (ids,)).fetchall(),
        connection.execute(_COMPONENTS, (ids,)).fetchall(),
    )
