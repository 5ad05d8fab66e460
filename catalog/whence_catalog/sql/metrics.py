"""The last values of metrics, of Runs and of productions: an index by value, kept with every write.

A row is three or four numbers: the metric's name is there as a number made of it. NaN is no value that
a range could hold, and has no row; the infinities have.
"""

import functools
import math
from collections.abc import Mapping

from sqlalchemy import bindparam, delete

from whence_catalog import digest
from whence_catalog.sql import tables
from whence_catalog.sql.engine import Filling, Statement, Transaction, Value

METRIC_DOMAIN = "whence.metric/1"

_OF_RUN = tables.RUN_METRIC
_OF_OUTPUT = tables.OUTPUT_METRIC

OF_RUNS = Filling(_OF_RUN, "mark", "value", "run_id")
OF_OUTPUTS = Filling(_OF_OUTPUT, "mark", "value", "version_id", "run_id", "role")
_drop_of_run = Statement(
    delete(_OF_RUN).where(
        _OF_RUN.c.mark == bindparam("old_mark"),
        _OF_RUN.c.value == bindparam("old_value"),
        _OF_RUN.c.run_id == bindparam("old_run"),
    )
)


@functools.lru_cache(4096)
def mark(name: str) -> int:
    """A number by which a metric is looked up, whatever the length of its name; another may have the same."""
    return int.from_bytes(digest.raw_digest_of(METRIC_DOMAIN, name)[:8], signed=True)


def replace_of_run(
    tx: Transaction, run_id: int, after: Mapping[str, float], before: Mapping[str, float]
) -> None:
    """A Run's metrics are `after`, where they were `before`."""
    if after == before:
        return
    was, now = rows(before), rows(after)
    for key, value in sorted(was.items() - now.items()):
        tx.run(_drop_of_run, old_mark=key, old_value=value, old_run=run_id)
    fresh = sorted(now.items() - was.items())
    if fresh:
        tx.fill((OF_RUNS, [(*row, run_id) for row in fresh]))


def run_rows(run_id: int, measured: Mapping[str, float]) -> list[tuple[Value, ...]]:
    """The rows of `OF_RUNS` of a Run with these metrics."""
    return [(*row, run_id) for row in rows(measured).items()]


def output_rows(
    run_id: int, role: str, version_id: int, measured: Mapping[str, float]
) -> list[tuple[Value, ...]]:
    """The rows of `OF_OUTPUTS` of a production with these metrics."""
    return [(*row, version_id, run_id, role) for row in rows(measured).items()]


def rows(measured: Mapping[str, float]) -> dict[int, float]:
    """Values by the marks of their metrics; NaN is left out."""
    return {mark(name): float(value) for name, value in measured.items() if not math.isnan(value)}
