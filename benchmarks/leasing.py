"""What a lease costs: its three statements alone, which need no disk sync, and what it adds to a start.

A grant is committed with the Run that it starts and a release with the Run's end; alone they are measured as
a heartbeat goes about it. The floor of a statement is the same one on the driver, under the same (missing)
durability; that of a start with a lease is one without, in mode `record`.
"""

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import beside, history, measure, raw
from tests import postgres
from whence_catalog import cache, catalog, model
from whence_catalog.sql import reservations
from whence_catalog.sql.catalog import SqlCatalog
from whence_catalog.sql.engine import Engine
from whence_catalog.sql.postgres import PostgresEngine
from whence_catalog.sql.sqlite import SqliteEngine

_WHAT = ("grant", "heartbeat", "release")
# What the statement alone is to take at the median, in milliseconds.
_LIMITS = {"sqlite": 0.2, "postgresql": 1.0}
# How many keys there are: each is granted again and again to one owner.
_KEYS = 1000
_LEASE_MICROS = catalog.LEASE // timedelta(microseconds=1)


def benchmarks() -> list[measure.Benchmark]:
    """All of this module."""
    wall, cpu = measure.Clock.WALL, measure.Clock.CPU
    return [
        *(
            measure.Benchmark(
                f"lease-{what}-{database}", 4.0, cpu, partial(_statement, what, database), 50, limit=limit
            )
            for database, limit in _LIMITS.items()
            for what in _WHAT
        ),
        *(
            measure.Benchmark(f"start-leased-{database}", 1.2, wall, partial(_starts, database), 20)
            for database in _LIMITS
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """An open catalog, its database, what carries statements out by hand there, and where it syncs to."""

    ours: SqlCatalog
    database: Engine[Any]
    by_hand: Callable[[Sequence[tuple[str, raw.Row]]], None]
    folder: Path | None


@contextmanager
def _sqlite() -> Iterator[_Place]:
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as name:
        path = Path(name) / "catalog.db"
        with (
            closing(SqlCatalog.open(path)) as ours,
            closing(SqliteEngine(path)) as database,
            closing(raw.connect(path, "NORMAL")) as floor,
        ):

            def by_hand(statements: Sequence[tuple[str, raw.Row]]) -> None:
                with raw.writing(floor):
                    for sql, parameters in statements:
                        floor.execute(sql, parameters)

            yield _Place(ours, database, by_hand, Path(name))


@contextmanager
def _postgresql() -> Iterator[_Place]:
    with postgres.server() as server:
        server.prepare()
        with (
            server.database() as url,
            closing(SqlCatalog.connect(url)) as ours,
            closing(PostgresEngine(url)) as database,
            closing(psycopg.connect(url)) as floor,
        ):
            floor.execute("SET synchronous_commit = off")

            def by_hand(statements: Sequence[tuple[str, raw.Row]]) -> None:
                for sql, parameters in statements:
                    said = sql.replace("?", "%s").replace("max(", "greatest(")
                    floor.execute(said.encode(), parameters, prepare=True)
                floor.commit()

            yield _Place(ours, database, by_hand, None)


_PLACES = {"sqlite": _sqlite, "postgresql": _postgresql}


@contextmanager
def _statement(what: str, database: str) -> Iterator[measure.Contenders]:
    with _PLACES[database]() as place:
        started = [_start(place.ours, number) for number in range(_KEYS)]
        ours, floor = itertools.cycle(started), itertools.cycle(started)
        yield measure.Contenders(
            lambda: partial(_by_whence, place, what, next(ours)),
            lambda: partial(_by_hand, place, what, next(floor)),
        )


def _start(ours: SqlCatalog, number: int, mode: model.Mode = model.Mode.REUSE) -> model.Call:
    """A Run that was begun, and under `reuse` holds the lease on its key."""
    call = _call(number, mode)
    assert isinstance(beside.only(ours.reserve([call])), cache.Execute), "its key is new"
    return call


def _by_whence(place: _Place, what: str, call: model.Call) -> None:
    key = str(call.key)
    match what:
        case "grant":
            place.database.write(
                lambda tx: reservations.take(
                    tx, key, call.owner, call.run, cache.Reason.NO_ENTRY, _LEASE_MICROS
                ),
                durable=False,
            )
        case "heartbeat":
            place.ours.beat([call.run], catalog.LEASE)
        case _:
            place.database.write(lambda tx: reservations.release(tx, key, call.run), durable=False)


def _by_hand(place: _Place, what: str, call: model.Call) -> None:
    now = model.microseconds(history.at(0))
    until = now + _LEASE_MICROS
    match what:
        case "grant":
            place.by_hand([(raw.TAKE, (call.key, call.owner, call.run.bytes, "no entry", now, now, until))])
        case "heartbeat":
            beat = (raw.BEAT_AGAIN, (call.run.bytes, until))
            place.by_hand([beat, (raw.EXTEND, (until, call.run.bytes))])
        case _:
            place.by_hand([(raw.LET_GO, (call.key, call.run.bytes))])


@contextmanager
def _starts(database: str) -> Iterator[measure.Contenders]:
    with _PLACES[database]() as place:
        numbers = itertools.count()

        def started(mode: model.Mode) -> Callable[[], object]:
            call = _call(next(numbers), mode)
            return lambda: beside.only(place.ours.reserve([call]))

        yield measure.Contenders(
            partial(started, model.Mode.REUSE), partial(started, model.Mode.RECORD), place.folder
        )


def _call(number: int, mode: model.Mode) -> model.Call:
    """The start of a step of ten components without inputs, whose Run has a key in either mode."""
    return dataclasses.replace(
        history.call(number, 0, mode),
        inputs=(),
        key=history.key(number),
        components=history.components(number),
        owner=f"bench {number}",
    )
