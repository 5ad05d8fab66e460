"""What it costs not to run: the look-up of a key alone, in each place where a catalog may be, and a whole reuse.

A look-up is a `reserve` that answers Verify: all that decides is read, and nothing is recorded. Its floor is
one prepared statement on the driver that reads the same rows, or a handler that answers nothing.
"""

import dataclasses
import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg
import urllib3

from benchmarks import beside, empty, entries, history, measure, raw
from tests import servers
from whence import http
from whence_catalog import cache, catalog, model, verbs
from whence_catalog.sql.catalog import SqlCatalog

# More than anybody asks: what is measured is not who is refused.
_UNBOUNDED = "0"


def benchmarks(many: int) -> list[measure.Benchmark]:
    """All of this module, among that many entries."""
    wall, cpu = measure.Clock.WALL, measure.Clock.CPU
    return [
        measure.Benchmark(
            "look-up-sqlite", 3.0, cpu, partial(_on_sqlite, many), operations=200, unit="µs", stretch=2.0
        ),
        measure.Benchmark(
            "look-up-postgresql", 2.0, wall, partial(_on_postgresql, many), operations=100, unit="µs"
        ),
        measure.Benchmark("look-up-http", 3.0, wall, partial(_over_http, many), operations=20, limit=3.0),
        measure.Benchmark("reuse", 1.5, wall, partial(_reuses, many), operations=20, stretch=1.0),
    ]


@contextmanager
def _on_sqlite(many: int) -> Iterator[measure.Contenders]:
    with beside.reading(entries.file(many)) as both:
        floor = random.Random(1)

        def looked_up_by_hand() -> Callable[[], object]:
            return partial(raw.look_up, both.floor, _drawn(floor, many).key)

        yield measure.Contenders(looks_up(both.ours, many), looked_up_by_hand)


@contextmanager
def _on_postgresql(many: int) -> Iterator[measure.Contenders]:
    with (
        entries.database(many) as url,
        closing(SqlCatalog.connect(url)) as ours,
        closing(psycopg.connect(url, autocommit=True)) as connection,
    ):
        floor = random.Random(1)
        sql = raw.LOOK_UP.replace("?", "%s")

        def looked_up_by_hand() -> Callable[[], object]:
            key = _drawn(floor, many).key
            return lambda: connection.execute(sql, (key,), prepare=True, binary=True).fetchall()

        yield measure.Contenders(looks_up(ours, many), looked_up_by_hand)


@contextmanager
def _over_http(many: int) -> Iterator[measure.Contenders]:
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as name:
        (Path(name) / "catalog.db").symlink_to(entries.file(many))
        with (
            servers.process(name, WHENCE_REQUESTS_PER_SECOND=_UNBOUNDED) as served,
            empty.process() as nothing,
            urllib3.PoolManager() as pool,
        ):
            places = itertools.count(many)
            floor = random.Random(1)

            def asked_by_hand() -> Callable[[], object]:
                call = _drawn(floor, many, next(places))
                body = verbs.VERBS["reserve"].encode_call({"calls": [call]})

                def operation() -> None:
                    headers = {"Content-Type": "application/json"}
                    assert pool.request("POST", nothing.url, body=body, headers=headers).data == empty.ANSWER

                return operation

            yield measure.Contenders(looks_up(http.connect(served.url), many), asked_by_hand)


def looks_up(ours: catalog.Catalog, many: int) -> measure.Contender:
    """Looks up entries at random, of which each has to be there."""
    which, places = random.Random(1), itertools.count(many)

    def looked_up_by_whence() -> Callable[[], object]:
        # Blobs that were never seen lately enough: it answers that they are to be looked at.
        call = dataclasses.replace(_drawn(which, many, next(places)), presence_age=timedelta(0))

        def operation() -> None:
            answer = beside.only(ours.reserve([call]))
            assert isinstance(answer, cache.Verify), "nothing was seen lately enough"

        return operation

    return looked_up_by_whence


@contextmanager
def _reuses(many: int) -> Iterator[measure.Contenders]:
    with beside.writing(entries.file(many)) as both:
        ours, floor = itertools.count(many), itertools.count(many)
        which_ours, which_floor = random.Random(2), random.Random(2)

        def reused_by_whence() -> Callable[[], object]:
            call = _drawn(which_ours, many, next(ours))

            def operation() -> None:
                answer = beside.only(both.ours.reserve([call]))
                assert isinstance(answer, cache.Reuse), "its key is entered"

            return operation

        def reused_by_hand() -> Callable[[], object]:
            origin, place = which_floor.choice(entries.asked(many)), next(floor)
            call = entries.call(origin, place)
            began = raw.reused(call, history.uid(origin), history.at(place))

            def operation() -> None:
                with raw.writing(both.floor):
                    raw.reuse(both.floor, began)

            return operation

        yield measure.Contenders(reused_by_whence, reused_by_hand, both.folder)


def _drawn(chance: random.Random, many: int, place: int = 0) -> model.Call:
    """The call of a run that was recorded before, made once more."""
    return entries.call(chance.choice(entries.asked(many)), place)
