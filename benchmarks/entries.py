"""Catalogs that hold very many cache entries, loaded by the databases themselves.

What a look-up and a reuse go by is there as `history` would have recorded it (runs, their outputs, Versions,
inputs, Blobs, entries, in the same names), each run taking the tables of three runs shortly before it.
Components and facts are not: neither a look-up nor a reuse reads those of others. A server takes a key only
with the components that make it: of the runs that are asked for again, spread evenly, the keys are made so.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import history, raw
from tests import postgres
from whence_catalog import cache, digest, model
from whence_catalog.sql.catalog import SqlCatalog

_JOBS = 20
_ROLES = ("table", "model")
_BEGAN = model.microseconds(history.at(0))
_NUMBERED = ("project", "actor", "job", "artifact", "version", "run", "cache_entry")

# How many places before its own the runs lie from which a run takes.
_BACK = (7, 37, 211)
_FURTHEST = max(_BACK)
_ASKED = 20_000

# Of the run at each place n, whose row is the n + 1st. What is hashed is what `history` hashes.
_STATEMENTS = (
    """INSERT INTO run (id, uid, project_id, job_id, actor_id, state, mode, key, started_at, finished_at,
                        presumed, outcome, params, metrics, warnings, capture, start_fact, finish_fact)
       SELECT n + 1, bench_uid({began} / 1000 + n * 1000, n), 1, n % {jobs} + 1, 1, 'complete', 'reuse', bench_key(n),
              {began} + n * 1000000, {began} + n * 1000000, 0, 'entered', {nothing}, {nothing}, {none}, {capture},
              2 * n + 1, 2 * n + 2
       FROM ({places}) AS places""",
    *(
        f"""INSERT INTO version (id, artifact_id, number, digest, strength, form, size_bytes, created_at)
            SELECT 2 * n + {which}, 2 * (n % {{jobs}}) + {which}, n / {{jobs}} + 1, bench_hash('{role}', n),
                   'content', 'file', 1000 + n, {{began}} + n * 1000000
            FROM ({{places}}) AS places"""
        for which, role in enumerate(_ROLES, 1)
    ),
    *(
        f"""INSERT INTO output (run_id, role, version_id, artifact_id, fact, place, filename, format, described, derives)
            SELECT n + 1, '{role}', 2 * n + {which}, 2 * (n % {{jobs}}) + {which}, 2 * n + 2, {which} - 1,
                   '{role}.bin', 'bytes', {{described}}, 0
            FROM ({{places}}) AS places"""
        for which, role in enumerate(_ROLES, 1)
    ),
    *(
        f"""INSERT INTO input (run_id, role, ordinal, version_id, producer_run_id, fact)
            SELECT n + 1, 'input-{which}', 0, 2 * (n - {back}) + 1, n - {back} + 1, 2 * n + 1
            FROM ({{places}}) AS places WHERE n >= {_FURTHEST}"""
        for which, back in enumerate(_BACK)
    ),
    """INSERT INTO blob (project_id, digest, known_at)
       SELECT 1, version.digest, version.created_at FROM version WHERE true""",
    """INSERT INTO cache_entry (id, key, run_id, job_id, created_at, validated_at)
       SELECT id, key, id, job_id, finished_at, finished_at FROM run""",
)
_UPDATES = ("UPDATE run SET key = %s WHERE id = %s", "UPDATE cache_entry SET key = %s WHERE id = %s")
_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
_FUNCTIONS = (
    """CREATE FUNCTION bench_hash(text, bigint) RETURNS bytea LANGUAGE sql IMMUTABLE
       AS $$ SELECT sha256(convert_to($1 || ' ' || $2, 'UTF8')) $$""",
    """CREATE FUNCTION bench_key(bigint) RETURNS text LANGUAGE sql IMMUTABLE
       AS $$ SELECT 'wk1:' || encode(bench_hash('key', $1), 'hex') $$""",
    """CREATE FUNCTION bench_uid(bigint, bigint) RETURNS bytea LANGUAGE sql IMMUTABLE
       AS $$ SELECT substring(int8send($1) from 3) || substring(bench_hash('run', $2) for 10) $$""",
)


def asked(entries: int) -> Sequence[int]:
    """The places of the runs that can be asked for again: at most 20,000."""
    return range(0, entries, -(-entries // _ASKED))


def call(origin: int, place: int) -> model.Call:
    """The call of the run at `origin`, made once more, as the run at `place`."""
    components = _components(origin)
    sources = [history.source(origin - back, "table") for back in _BACK] if origin >= _FURTHEST else []
    return dataclasses.replace(
        history.call(origin, 0),
        run=history.uid(place),
        inputs=tuple(model.InputClaim(f"input-{n}", source) for n, source in enumerate(sources)),
        components=components,
        key=cache.key(components),
    )


def _components(origin: int) -> tuple[model.Component, ...]:
    project = history.call(origin, 0).project
    return (cache.component("scope", project, preview=project), *history.components(origin)[1:])


def _keys(entries: int) -> list[tuple[str, int]]:
    return [(cache.key(_components(place)), place + 1) for place in asked(entries)]


def file(entries: int) -> Path:
    """The SQLite file of so many entries: made once on a machine for each schema, and never written again."""
    return history.kept(f"entries-{entries}", lambda path: write(path, entries))


def write(path: Path, entries: int) -> None:
    """Make a catalog at `path` that holds so many entries."""
    SqlCatalog.open(path).close()
    with closing(raw.connect(path, "OFF")) as connection:
        connection.create_function("bench_hash", 2, _hash, deterministic=True)
        connection.create_function("bench_key", 1, history.key, deterministic=True)
        connection.create_function("bench_uid", 2, _uid, deterministic=True)
        connection.execute("PRAGMA cache_size=-1000000")
        connection.execute("PRAGMA journal_mode=OFF")  # if this is cut short, there is no file
        indexes = connection.execute(_INDEXES).fetchall()
        with raw.writing(connection):
            for name, _ in indexes:
                connection.execute(f"DROP INDEX {name}")
            _name(lambda sql, rows: connection.executemany(sql.replace("%s", "?"), rows))
            for statement in _STATEMENTS:
                connection.execute(_told(statement, entries, "X'{}'"))
            keys = _keys(entries)
            for update in _UPDATES:
                connection.executemany(update.replace("%s", "?"), keys)
            for _, made in indexes:  # to sort once is faster than to insert a million times
                connection.execute(made)
        connection.execute("ANALYZE")
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def database(entries: int) -> Iterator[str]:
    """The URL of a PostgreSQL database of one's own that holds so many entries."""
    with postgres.server() as started:
        started.prepare()
        with psycopg.connect(started.url(postgres.TEMPLATE), autocommit=True) as connection:
            connection.execute(
                "SET session_replication_role = replica"
            )  # what is loaded refers to what is there
            for made in _FUNCTIONS:
                connection.execute(made)
            with connection.transaction(), connection.cursor() as cursor:
                _name(cursor.executemany)
                for statement in _STATEMENTS:
                    cursor.execute(_told(statement, entries, "'\\x{}'::bytea").encode())
                keys = _keys(entries)
                for update in _UPDATES:
                    cursor.executemany(update, keys)
            for table in _NUMBERED:
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}".encode()
                )
            connection.execute("VACUUM ANALYZE")
        yield started.url(postgres.TEMPLATE)


def _name(many: Any) -> None:
    project, actor = history.artifact(0, "table").project, history.call(0, 0).actor.name
    many("INSERT INTO project (id, name) VALUES (%s, %s)", [(1, project)])
    many("INSERT INTO actor (id, name, authenticated) VALUES (1, %s, 0)", [(actor,)])
    many(
        "INSERT INTO job (id, project_id, name) VALUES (%s, 1, %s)", _numbered(map(history.job, range(_JOBS)))
    )
    artifacts = (history.artifact(place, role) for place in range(_JOBS) for role in _ROLES)
    many(
        "INSERT INTO artifact (id, project_id, kind, name) VALUES (%s, 1, %s, %s)",
        [(number, named.kind, named.name) for number, named in enumerate(artifacts, 1)],
    )


def _numbered(names: Iterator[str]) -> list[tuple[int, str]]:
    return list(enumerate(names, 1))


def _told(statement: str, entries: int, literal: str) -> str:
    """The statement with its numbers, and the bytes that are the same in every row."""
    report = history.report(0)
    described = raw.ended(report, history.at(0), history.call(0, 0)).outputs[0][2][3]
    began = raw.begun(history.call(0, 0), history.at(0))
    told = {
        "nothing": digest.frame({}),
        "none": digest.frame([]),
        "capture": began.texts[3],
        "described": described,
    }
    places = (
        f"WITH RECURSIVE place(n) AS (SELECT CAST(0 AS bigint) UNION ALL SELECT n + 1 FROM place WHERE n + 1 < {entries})"
        " SELECT n FROM place"
    )
    return statement.format(
        places=places,
        began=_BEGAN,
        jobs=_JOBS,
        **{name: literal.format(value.hex()) for name, value in told.items()},
    )


def _hash(label: str, place: int) -> bytes:
    return hashlib.sha256(f"{label} {place}".encode()).digest()


def _uid(milliseconds: int, place: int) -> bytes:
    return milliseconds.to_bytes(6, "big") + _hash("run", place)[:10]
