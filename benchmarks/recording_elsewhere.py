"""What it costs to record where the catalog is another process: on PostgreSQL, and behind a server.

The floor on PostgreSQL is a psycopg pipeline of the same rows for one run, and COPY of them for a hundred; its
ids are taken from the same sequences. The server of the tests does not sync: so the ratios are without a disk.
The floor over HTTP is a handler of the same framework, served alike, that does the raw insert of `raw` with the
same durability: `python -m benchmarks.recording_elsewhere FILE` serves it.
"""

import dataclasses
import itertools
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import urllib3
from fastapi import FastAPI, Request, Response

from benchmarks import empty, history, measure, raw
from tests import postgres, servers
from whence import http
from whence_catalog import catalog, facts, model
from whence_catalog.errors import WhenceError
from whence_catalog.sql.catalog import SqlCatalog

RUNS = 10_000
_UNBOUNDED = "1000000"
_Connection = psycopg.Connection[Any]

_FACT = """
    INSERT INTO fact (id, uid, verb, canonical, leaf, ordinal)
    VALUES (nextval('fact_number'), %s, 'record', %s, %s, nextval('fact_ordinal'))"""
_RUN = """
    INSERT INTO run (uid, project_id, job_id, actor_id, state, mode, started_at, finished_at, presumed, outcome,
                     params, metrics, warnings, capture, start_fact, finish_fact)
    SELECT %s, project.id, job.id, actor.id, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s,
           currval('fact_number'), currval('fact_number')
    FROM project JOIN job ON job.project_id = project.id AND job.name = %s
    JOIN actor ON actor.name = %s AND actor.authenticated = 0 WHERE project.name = %s"""
_INPUT = """
    INSERT INTO input (run_id, role, ordinal, version_id, producer_run_id, fact)
    SELECT currval('run_id_seq'), %s, %s, version.id, (SELECT id FROM run WHERE uid = %s), currval('fact_number')
    FROM project JOIN artifact ON artifact.project_id = project.id AND artifact.kind = %s AND artifact.name = %s
    JOIN version ON version.artifact_id = artifact.id AND version.digest = %s WHERE project.name = %s"""
_VERSION = """
    INSERT INTO version (artifact_id, number, digest, strength, form, size_bytes, created_at)
    SELECT artifact.id, (SELECT coalesce(max(number), 0) + 1 FROM version WHERE artifact_id = artifact.id),
           %s, %s, %s, %s, %s
    FROM artifact JOIN project ON project.id = artifact.project_id
    WHERE project.name = %s AND artifact.kind = %s AND artifact.name = %s
    ON CONFLICT (artifact_id, digest) DO NOTHING"""
_OUTPUT = """
    INSERT INTO output (run_id, role, version_id, artifact_id, fact, place, filename, format, described, derives)
    SELECT currval('run_id_seq'), %s, version.id, artifact.id, currval('fact_number'), %s, %s, %s, %s, 0
    FROM artifact JOIN project ON project.id = artifact.project_id
    JOIN version ON version.artifact_id = artifact.id AND version.digest = %s
    WHERE project.name = %s AND artifact.kind = %s AND artifact.name = %s"""
_METRIC = "INSERT INTO run_metric (mark, value, run_id) VALUES (%s, %s, currval('run_id_seq'))"
_BLOB = """
    INSERT INTO blob (project_id, digest, known_at) SELECT 1, digest, %s FROM unnest(%s::bytea[]) AS given(digest)
    ON CONFLICT (project_id, digest) DO UPDATE SET known_at = excluded.known_at"""
_SOURCES = """
    SELECT given.place, version.id, run.id FROM unnest(%s::bytea[], %s::bytea[]) WITH ORDINALITY
        AS given(digest, uid, place)
    JOIN version ON version.digest = given.digest JOIN run ON run.uid = given.uid ORDER BY given.place"""
_ARTIFACTS = """
    SELECT artifact.kind, artifact.name, artifact.id,
           (SELECT coalesce(max(number), 0) FROM version WHERE artifact_id = artifact.id)
    FROM artifact WHERE artifact.project_id = %s ORDER BY artifact.id FOR UPDATE"""
_NAMES = """
    SELECT job.name, project.id, job.id, actor.id FROM project JOIN job ON job.project_id = project.id
    JOIN actor ON actor.name = %s AND actor.authenticated = 0 WHERE project.name = %s"""
_Rows = tuple[raw.Begun, raw.Ended]


def benchmarks() -> list[measure.Benchmark]:
    """All of this module."""
    wall, named = measure.Clock.WALL, measure.Benchmark
    return [
        named("record-one-postgresql", 1.5, wall, partial(_on_postgresql, 1), operations=20),
        named("record-100-postgresql", 2.5, wall, partial(_on_postgresql, 100)),
        named("record-one-http", 2.5, wall, _over_http, operations=10),
    ]


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _on_postgresql(many: int) -> Iterator[measure.Contenders]:
    with postgres.server() as server:
        server.prepare()
        with server.database() as mine, server.database() as by_hand:
            for url in (mine, by_hand):
                with closing(SqlCatalog.connect(url)) as filled:
                    begin(filled)
            with (
                closing(SqlCatalog.connect(mine)) as ours,
                closing(psycopg.connect(by_hand, autocommit=True)) as floor,
            ):
                places = itertools.count(RUNS), itertools.count(RUNS)

                def recorded_by_whence() -> Callable[[], object]:
                    return partial(
                        _record, ours, [_whole(place) for place in itertools.islice(places[0], many)]
                    )

                def recorded_by_hand() -> Callable[[], object]:
                    taken = list(itertools.islice(places[1], many))
                    rows = [by_hand_of(place) for place in taken]
                    return partial(pipeline if many == 1 else copy, floor, rows)

                yield measure.Contenders(recorded_by_whence, recorded_by_hand)


def _record(ours: catalog.Catalog, items: Sequence[tuple[model.Call, model.Report]]) -> None:
    for result in ours.record_runs(items):
        if isinstance(result, WhenceError):
            raise result


def _whole(place: int) -> tuple[model.Call, model.Report]:
    return history.call(place, RUNS, model.Mode.RECORD), history.report(place)


def by_hand_of(place: int) -> _Rows:
    """A run beyond the history, as the floor takes it."""
    return raw.recorded(*_whole(place), history.at(place))


def begin(ours: catalog.Catalog) -> None:
    """Record what the runs that are recorded take: the last hundred of the history."""
    _record(ours, [_first(place) for place in range(RUNS - 100, RUNS)])


def _first(place: int) -> tuple[model.Call, model.Report]:
    """A run that takes nothing: the history begins with it."""
    call, report = _whole(place)
    return dataclasses.replace(call, inputs=()), report


def pipeline(floor: _Connection, rows: Sequence[_Rows]) -> None:
    """One run after the other, each in a transaction, its statements sent without waiting."""

    def run(sql: LiteralString, *given: object) -> None:
        floor.execute(sql, given, prepare=True, binary=True)

    for began, end in rows:
        with floor.pipeline():
            floor.execute("BEGIN")
            run(_FACT, began.uid, began.canonical, facts.leaf(began.canonical))
            run(
                *(_RUN, began.uid, end.state, began.mode, began.at, end.at, end.outcome, began.texts[0]),
                *(end.metrics, end.warnings, began.texts[3], began.job, began.actor, began.project),
            )
            for taken in began.inputs:
                run(_INPUT, *taken)
            for row in end.measured:
                run(_METRIC, *row)
            for place, (named, content, (role, filename, form, described)) in enumerate(end.outputs):
                run(_VERSION, *content, *named)
                run(_OUTPUT, role, place, filename, form, described, content[0], *named)
            run(_BLOB, end.at, list(end.digests))
            floor.execute("COMMIT")


def copy(floor: _Connection, rows: Sequence[_Rows]) -> None:
    """All of them in one transaction: look-ups for all at once, and rows by COPY."""
    first = rows[0][0]
    floor.execute("BEGIN")
    names = {row[0]: row[1:] for row in floor.execute(_NAMES, (first.actor, first.project)).fetchall()}
    project_id = names[first.job][0]
    artifacts = {tuple(row[:2]): list(row[2:]) for row in floor.execute(_ARTIFACTS, (project_id,)).fetchall()}
    run_ids, fact_ids = _numbers(floor, "run_id_seq", len(rows)), _numbers(floor, "fact_number", len(rows))
    ordinals = _numbers(floor, "fact_ordinal", len(rows))
    version_ids = iter(_numbers(floor, "version_id_seq", sum(len(end.outputs) for _, end in rows)))
    versions, outputs, made = [], [], {}
    for run_id, fact, (began, end) in zip(run_ids, fact_ids, rows, strict=True):
        for place, (named, content, (role, filename, form, described)) in enumerate(end.outputs):
            artifact = artifacts[named[1:]]
            artifact[1] += 1
            version_id = next(version_ids)
            versions.append((version_id, artifact[0], artifact[1], *content))
            outputs.append(
                (run_id, role, version_id, artifact[0], fact, place, filename, form, None, described, 0)
            )
            made[began.uid, content[0]] = version_id, run_id
    taken = [
        (run, fact, each)
        for run, fact, (began, _) in zip(run_ids, fact_ids, rows, strict=True)
        for each in began.inputs
    ]
    asked = [each for _, _, each in taken if (each[2], each[5]) not in made]
    found = floor.execute(_SOURCES, ([each[5] for each in asked], [each[2] for each in asked])).fetchall()
    made |= {(each[2], each[5]): (row[1], row[2]) for each, row in zip(asked, found, strict=True)}
    runs = [
        (
            *(run_id, began.uid, *names[began.job], end.state, began.mode, began.at, end.at, 0, end.outcome),
            *(began.texts[0], end.metrics, end.warnings, began.texts[3], fact, fact),
        )
        for run_id, fact, (began, end) in zip(run_ids, fact_ids, rows, strict=True)
    ]
    _copied(
        floor,
        "run (id, uid, project_id, job_id, actor_id, state, mode, started_at, finished_at, presumed,"
        " outcome, params, metrics, warnings, capture, start_fact, finish_fact)",
        runs,
    )
    _copied(
        floor, "version (id, artifact_id, number, digest, strength, form, size_bytes, created_at)", versions
    )
    _copied(
        floor,
        "input (run_id, role, ordinal, version_id, producer_run_id, fact)",
        [(run, each[0], each[1], *made[each[2], each[5]], fact) for run, fact, each in taken],
    )
    _copied(
        floor,
        "output (run_id, role, version_id, artifact_id, fact, place, filename, format, location,"
        " described, derives)",
        outputs,
    )
    _copied(
        floor,
        "run_metric (mark, value, run_id)",
        [(*row, run_id) for run_id, (_, end) in zip(run_ids, rows, strict=True) for row in end.measured],
    )
    _copied(
        floor,
        "fact (id, uid, verb, canonical, leaf, ordinal)",
        [
            (fact, began.uid, "record", began.canonical, facts.leaf(began.canonical), ordinal)
            for fact, ordinal, (began, _) in zip(fact_ids, ordinals, rows, strict=True)
        ],
    )
    floor.execute(_BLOB, (first.at, sorted({named for _, end in rows for named in end.digests})))
    floor.execute("COMMIT")


def _numbers(floor: _Connection, sequence: str, many: int) -> list[int]:
    rows = floor.execute(
        "SELECT nextval(%s::regclass) FROM generate_series(1, %s)", (sequence, many)
    ).fetchall()
    return [row[0] for row in rows]


def _copied(floor: _Connection, into: LiteralString, rows: Sequence[raw.Row]) -> None:
    with floor.cursor().copy(f"COPY {into} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


# ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _over_http() -> Iterator[measure.Contenders]:
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as name:
        folder = Path(name)
        (folder / "ours").mkdir()
        history.copied(history.file(RUNS), folder / "ours" / "catalog.db")
        floor_file = history.copied(history.file(RUNS), folder / "floor.db")
        with (
            servers.process(str(folder / "ours"), WHENCE_REQUESTS_PER_SECOND=_UNBOUNDED) as served,
            closing(http.connect(served.url)) as ours,
            _process(floor_file) as bare,
            urllib3.PoolManager() as pool,
        ):
            places = itertools.count(RUNS), itertools.count(RUNS)

            def recorded_by_whence() -> Callable[[], object]:
                return partial(_record, ours, [_whole(next(places[0]))])

            def recorded_by_hand() -> Callable[[], object]:
                place = next(places[1])
                body = pickle.dumps(by_hand_of(place))

                def operation() -> None:
                    assert pool.request("POST", bare.url, body=body).data == empty.ANSWER

                return operation

            yield measure.Contenders(recorded_by_whence, recorded_by_hand, folder)


def create_app(path: Path) -> FastAPI:
    """An application with one handler, which writes the rows that it is given."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    connection = raw.connect(path)

    @app.post("/")
    async def record(request: Request) -> Response:
        began, end = pickle.loads(await request.body())
        with raw.writing(connection):
            raw.record(connection, began, end)
        return Response(empty.ANSWER, media_type="application/json")

    return app


@contextmanager
def _process(path: Path) -> Iterator[servers.Process]:
    started = servers.Process("", command=("-m", "benchmarks.recording_elsewhere", str(path)))
    try:
        yield started
    finally:
        started.kill()


if __name__ == "__main__":
    empty.serve(create_app(Path(sys.argv[1])))
