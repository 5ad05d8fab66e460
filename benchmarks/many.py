"""What mapped tasks cost when many processes begin and end them in batches, on PostgreSQL: all misses, then all hits.

The floor writes the same rows in the same two transactions for each batch, from bytes that are ready,
under numbers that it chose itself, and decides nothing.
"""

import hashlib
import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import psycopg

from benchmarks import measure
from tests import postgres
from whence_catalog import cache, digest, model
from whence_catalog.sql.catalog import SqlCatalog

_PROCESSES, _BATCH = 32, 50
_ACTOR = model.Actor("bench")
_LARGE, _SMALL = bytes(1400), bytes(500)
_fork = multiprocessing.get_context("fork")

_FACT = "INSERT INTO fact (id, uid, verb, canonical, leaf, ordinal) VALUES (%s, %s, %s, %s, %s, nextval('fact_ordinal'))"
_REDACTABLE = "INSERT INTO redactable VALUES (%s, %s, %s, %s)"
_RUN = (
    "INSERT INTO run (id, uid, project_id, job_id, actor_id, state, mode, key, origin_id, started_at, presumed,"
    " params, metrics, warnings, capture, start_fact)"
    " VALUES (%s, %s, 1, 1, 1, %s, 'reuse', %s, %s, 0, 0, %s, %s, %s, %s, %s)"
)
_COMPONENT = "INSERT INTO component VALUES (%s, %s, %s, %s, %s, 0)"
_RESERVATION = "INSERT INTO reservation VALUES (%s, 'owner', %s, 'no entry', 1, 0, 0)"
_BEAT = "INSERT INTO beat VALUES (%s, 0)"
_VERSION = "INSERT INTO version VALUES (%s, 1, %s, %s, 'content', 'file', 8, 0)"
_OUTPUT = "INSERT INTO output VALUES (%s, 'return', %s, 1, %s, 0, NULL, NULL, NULL, %s, 0)"
_BLOB = "INSERT INTO blob VALUES (1, %s, 0)"
_ENTRY = "INSERT INTO cache_entry (key, run_id, job_id, created_at, validated_at) VALUES (%s, %s, 1, 0, 0)"
_ENDS = (
    "UPDATE run SET state = 'complete', finish_fact = %s, finished_at = 0, outcome = 'entered' WHERE id = %s"
)
_RELEASE = "UPDATE reservation SET owner = '' WHERE key = %s"
_UNBEAT = "DELETE FROM beat WHERE run_uid = %s"
_LIVE = "SELECT run_id FROM cache_entry WHERE key = %s AND superseded_at IS NULL"
_MADE = (
    "SELECT output.role, version.digest, blob.known_at FROM output JOIN version ON version.id = output.version_id"
    " LEFT JOIN blob ON blob.project_id = 1 AND blob.digest = version.digest WHERE output.run_id = %s"
)


def benchmarks(tasks: int) -> list[measure.Benchmark]:
    """All of this module, with that many tasks."""
    return [
        measure.Benchmark(
            f"{tasks}-tasks-{name}", 6.0, measure.Clock.WALL, partial(_mapped, tasks, is_hit), unit="s"
        )
        for name, is_hit in (("miss", False), ("hit", True))
    ]


@dataclass(frozen=True, slots=True)
class _Lot:
    """What one process does of a round: tasks from `first` on."""

    url: str
    round: int
    first: int
    tasks: int
    is_hit: bool


@contextmanager
def _mapped(tasks: int, is_hit: bool) -> Iterator[measure.Contenders]:
    with postgres.server() as server:
        server.prepare()
        with server.database() as ours, server.database() as floor:
            for url in (ours, floor):
                with closing(SqlCatalog.connect(url)) as opened:
                    _by_whence(opened, _Lot(url, 0, 0, 1, False))
            if is_hit:
                _all_at_once(_opened_by_whence, ours, 1, tasks, False)
                _all_at_once(_by_hand, floor, 1, tasks, False)
            rounds = itertools.count(2)

            def mapped(work: Callable[[_Lot], None], url: str) -> Callable[[], object]:
                return partial(_all_at_once, work, url, next(rounds), tasks, is_hit)

            yield measure.Contenders(
                partial(mapped, _opened_by_whence, ours), partial(mapped, _by_hand, floor)
            )


def _all_at_once(work: Callable[[_Lot], None], url: str, round_: int, tasks: int, is_hit: bool) -> None:
    each = -(-tasks // _PROCESSES)
    lots = [_Lot(url, round_, first, min(each, tasks - first), is_hit) for first in range(0, tasks, each)]
    processes = [_fork.Process(target=work, args=(lot,)) for lot in lots]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a process failed"


def _batches(lot: _Lot) -> Iterator[range]:
    for first in range(lot.first, lot.first + lot.tasks, _BATCH):
        yield range(first, min(first + _BATCH, lot.first + lot.tasks))


def _uid(*parts: object) -> UUID:
    return UUID(bytes=hashlib.sha256(repr(parts).encode()).digest()[:16])


# ── by whence ────────────────────────────────────────────────────────────────────────────────────


def _call(lot: _Lot, place: int) -> model.Call:
    keyed = (1 if lot.is_hit else lot.round, place)
    parts = tuple(
        cache.component(name, list(keyed), f"{name}/{n}", preview=f"{name} {place}")
        for name in ("params", "inputs")
        for n in range(5)
    )
    run = _uid("run", lot.round, place)
    return model.Call(
        run,
        "default",
        "mapped",
        _ACTOR,
        model.Mode.REUSE,
        {"n": place},
        (),
        cache.key(parts),
        parts,
        owner=str(run),
    )


def _opened_by_whence(lot: _Lot) -> None:
    with closing(SqlCatalog.connect(lot.url)) as opened:
        _by_whence(opened, lot)


def _by_whence(opened: SqlCatalog, lot: _Lot) -> None:
    artifact = model.Artifact("default", "file", "mapped")
    for batch in _batches(lot):
        calls = [_call(lot, place) for place in batch]
        answers = opened.reserve(calls)
        if lot.is_hit:
            assert all(isinstance(answer, cache.Reuse) for answer in answers), "each key is entered"
            continue
        reports = []
        for place, call, answer in zip(batch, calls, answers, strict=True):
            assert isinstance(answer, cache.Execute), "no key is entered"
            content = model.Content(digest.digest_of_bytes(repr((lot.round, place)).encode()), size_bytes=8)
            made = model.OutputClaim("return", artifact, content)
            report = _uid("report", lot.round, place)
            reports.append(
                model.Report(
                    report,
                    call.run,
                    model.RunState.COMPLETE,
                    _ACTOR,
                    outputs=(made,),
                    token=answer.token,
                    owner=call.owner,
                )
            )
        opened.finish_runs(reports)


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────


def _by_hand(lot: _Lot) -> None:
    with closing(psycopg.connect(lot.url)) as connection:
        for batch in _batches(lot):
            (_reuse if lot.is_hit else _execute)(connection, lot, batch)


def _numbered(lot: _Lot, place: int) -> tuple[int, bytes, str]:
    keyed = hashlib.sha256(repr((1 if lot.is_hit else lot.round, place)).encode()).hexdigest()
    return (lot.round * 1_000_000 + place) * 2, _uid("run", lot.round, place).bytes, f"wk1:{keyed}"


def _execute(connection: "psycopg.Connection[Any]", lot: _Lot, batch: range) -> None:
    tasks = [_numbered(lot, place) for place in batch]
    with connection.cursor() as cursor:
        cursor.executemany(_FACT, [(n, uid, "start", _LARGE, uid) for n, uid, _ in tasks])
        cursor.executemany(
            _REDACTABLE, [(n, f"components/{p}/preview", uid, uid) for n, uid, _ in tasks for p in range(10)]
        )
        cursor.executemany(
            _RUN,
            [(n, uid, "running", key, None, uid, b"", b"", _SMALL, n) for n, uid, key in tasks],
        )
        cursor.executemany(
            _COMPONENT, [(n, p, f"params/{p}", "params", uid) for n, uid, _ in tasks for p in range(10)]
        )
        cursor.executemany(_RESERVATION, [(key, uid) for _, uid, key in tasks])
        cursor.executemany(_BEAT, [(uid,) for _, uid, _ in tasks])
        connection.commit()
        cursor.executemany(_FACT, [(n + 1, uid[::-1], "finish", _SMALL, uid) for n, uid, _ in tasks])
        cursor.executemany(_VERSION, [(n, n, uid * 2) for n, uid, _ in tasks])
        cursor.executemany(_OUTPUT, [(n, n, n + 1, uid) for n, uid, _ in tasks])
        cursor.executemany(_BLOB, [(uid * 2,) for _, uid, _ in tasks])
        cursor.executemany(_ENTRY, [(key, n) for n, _, key in tasks])
        cursor.executemany(_ENDS, [(n + 1, n) for n, _, _ in tasks])
        cursor.executemany(_RELEASE, [(key,) for _, _, key in tasks])
        cursor.executemany(_UNBEAT, [(uid,) for _, uid, _ in tasks])
    connection.commit()


def _reuse(connection: "psycopg.Connection[Any]", lot: _Lot, batch: range) -> None:
    tasks = [_numbered(lot, place) for place in batch]
    origins = []
    for _, _, key in tasks:
        row = connection.execute(_LIVE, (key,)).fetchone()
        assert row is not None, "each key is entered"
        origins.append(row[0])
        connection.execute(_MADE, (row[0],)).fetchall()
    with connection.cursor() as cursor:
        cursor.executemany(_FACT, [(n, uid, "reuse", _LARGE, uid) for n, uid, _ in tasks])
        cursor.executemany(
            _REDACTABLE, [(n, f"components/{p}/preview", uid, uid) for n, uid, _ in tasks for p in range(10)]
        )
        cursor.executemany(
            _RUN,
            [
                (n, uid, "reused", key, origin, uid, b"", b"", _SMALL, n)
                for (n, uid, key), origin in zip(tasks, origins, strict=True)
            ],
        )
    connection.commit()
