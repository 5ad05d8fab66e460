"""The floor: what someone would write by hand against the same tables, with nothing but the driver.

It does what the answers need and no more: it checks nothing that a careful client gets right, and makes
no values of what it reads. Its facts come with their bytes made; it computes their leaves. What it
writes is what a catalog would have written: `whence_catalog.sql.check` finds no fault in it.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from whence_catalog import digest, facts, model
from whence_catalog.sql import grams, metrics, sqlite

Row: TypeAlias = tuple[Any, ...]

_PRAGMAS = ("synchronous", "temp_store", "cache_size", "mmap_size")
_LEASE = 60_000_000
_RUNS_FROM = "FROM json_each(?) AS wanted JOIN run ON run.id = wanted.value"

FACT = """
    INSERT INTO fact (uid, sequenced_at, verb, canonical, leaf, position)
    SELECT ?, ?, ?, ?, ?, coalesce(max(position), 0) + 1 FROM fact"""
REDACTABLE = "INSERT INTO redactable (fact, path, salt, value) VALUES (?, ?, ?, ?)"
NAMES = """
    SELECT project.id, job.id, actor.id FROM project
    JOIN job ON job.project_id = project.id AND job.name = ?
    JOIN actor ON actor.name = ? AND actor.authenticated = 0
    WHERE project.name = ?"""
RUN = """
    INSERT INTO run (uid, project_id, job_id, actor_id, state, mode, key, origin_id, started_at, finished_at,
                     presumed, outcome, params, metrics, warnings, capture, start_fact, finish_fact)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)"""
RUN_ENDS = """
    UPDATE run SET state = ?, finished_at = ?, outcome = ?, metrics = ?, warnings = ?, finish_fact = ?
    WHERE id = ?"""
INPUT = """
    INSERT INTO input (run_id, fact, role, ordinal, version_id, producer_run_id)
    SELECT ?, ?, ?, ?, version.id, (SELECT id FROM run WHERE uid = ?) FROM project
    JOIN artifact ON artifact.project_id = project.id AND artifact.kind = ? AND artifact.name = ?
    JOIN version ON version.artifact_id = artifact.id AND version.digest = ?
    WHERE project.name = ?"""
METRIC = "INSERT INTO run_metric (mark, value, run_id) VALUES (?, ?, ?)"
COMPONENT = "INSERT INTO component (run_id, place, name, kind, digest, ignored) VALUES (?, ?, ?, ?, ?, ?)"
ARTIFACT = """
    SELECT artifact.id FROM artifact JOIN project ON project.id = artifact.project_id
    WHERE project.name = ? AND artifact.kind = ? AND artifact.name = ?"""
VERSION = """
    INSERT INTO version (artifact_id, number, digest, strength, form, size_bytes, created_at)
    SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM version WHERE artifact_id = ?1
    ON CONFLICT (artifact_id, digest) DO UPDATE SET digest = excluded.digest
    RETURNING id, number"""
OUTPUT = """
    INSERT INTO output (run_id, role, version_id, artifact_id, fact, place, filename, format, location,
                        described, derives)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, 0)"""
BLOB = """
    INSERT INTO blob (project_id, digest, known_at) VALUES (1, ?, ?)
    ON CONFLICT (project_id, digest) DO UPDATE SET known_at = excluded.known_at"""
LOOK_UP = """
    SELECT cache_entry.run_id, run.uid, cache_entry.created_at, cache_entry.validated_at,
           output.role, version.digest, version.form, blob.known_at
    FROM cache_entry JOIN run ON run.id = cache_entry.run_id
    LEFT JOIN output ON output.run_id = run.id
    LEFT JOIN version ON version.id = output.version_id
    LEFT JOIN blob ON blob.project_id = run.project_id AND blob.digest = version.digest
    WHERE cache_entry.key = ? AND cache_entry.superseded_at IS NULL"""
ENTER = """
    INSERT INTO cache_entry (key, run_id, job_id, created_at, validated_at)
    SELECT ?, id, job_id, ?, ? FROM run WHERE id = ?"""
TAKE = """
    INSERT INTO reservation (key, owner, run_uid, reason, token, since, until) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET
        owner = excluded.owner, run_uid = excluded.run_uid, reason = excluded.reason,
        token = max(reservation.token + 1, excluded.token), since = excluded.since, until = excluded.until
    WHERE reservation.owner = excluded.owner OR reservation.until <= excluded.since
    RETURNING token"""
RELEASE = "UPDATE reservation SET owner = '', until = 0 WHERE key = ? AND owner = ? AND token = ?"
EXTEND = "UPDATE reservation SET until = ? WHERE run_uid = ? AND owner <> ''"
LET_GO = "UPDATE reservation SET owner = '', until = 0 WHERE key = ? AND run_uid = ?"
BEAT_AGAIN = """
    INSERT INTO beat (run_uid, until) VALUES (?, ?)
    ON CONFLICT (run_uid) DO UPDATE SET until = excluded.until"""
BEAT = "INSERT INTO beat (run_uid, until) VALUES (?, ?)"
UNBEAT = "DELETE FROM beat WHERE run_uid = ?"
RUN_ID = "SELECT id FROM run WHERE uid = ?"
LEVEL_TAKEN = f"""
    SELECT run.id, run.start_fact, run.origin_id, input.version_id, input.role, input.ordinal,
           input.producer_run_id
    {_RUNS_FROM} LEFT JOIN input ON input.run_id = run.id"""
LEVEL_MADE = """
    SELECT run_id, version_id, role, fact, derives FROM output
    WHERE run_id IN (SELECT value FROM json_each(?))"""
RUNS = f"SELECT run.id, run.uid, job.name, run.state, run.started_at {_RUNS_FROM} JOIN job ON job.id = run.job_id"
VERSIONS = """
    SELECT version.id, project.name, artifact.kind, artifact.name, version.number, version.created_at
    FROM json_each(?) AS wanted JOIN version ON version.id = wanted.value
    JOIN artifact ON artifact.id = version.artifact_id
    JOIN project ON project.id = artifact.project_id"""

LEVEL_NARROW = """
    SELECT version_id, producer_run_id FROM input WHERE run_id IN (SELECT value FROM json_each(?))"""
RUN_UIDS = "SELECT uid FROM run WHERE id IN (SELECT value FROM json_each(?))"
VERSION_NUMBERS = """
    SELECT artifact_id, number FROM version WHERE id IN (SELECT value FROM json_each(?))"""
ARTIFACT_NAMES = """
    SELECT artifact.id, project.name, artifact.kind, artifact.name FROM artifact
    JOIN project ON project.id = artifact.project_id"""


# ── connections ──────────────────────────────────────────────────────────────────────────────────


def connect(path: Path, synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection to a catalog's file, with the pragmas that whence gives its own."""
    database = sqlite.SqliteEngine(path, synchronous=synchronous)
    with database.reading() as tx:
        pragmas = [(name, tx.script(f"PRAGMA {name}")[0][0]) for name in _PRAGMAS]
    database.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    for name, value in pragmas:
        connection.execute(f"PRAGMA {name}={value}")
    return connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction, committed at its end."""
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")


def sync(path: Path) -> None:
    """Have what is in the file on the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


# ── what a client knows, as the driver wants it ──────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Begun:
    """The start of a run, or the whole of a reused one."""

    uid: bytes
    at: int
    project: str
    job: str
    actor: str
    owner: str
    mode: str
    key: str | None
    texts: tuple[bytes, bytes, bytes, bytes]  # params, metrics, warnings, capture
    inputs: Sequence[Row]
    components: Sequence[Row]
    redactables: Sequence[Row]
    canonical: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a run."""

    uid: bytes
    run: bytes
    at: int
    state: str
    owner: str
    key: str | None
    outcome: str
    metrics: bytes
    measured: Sequence[Row]
    warnings: bytes
    outputs: Sequence[tuple[Row, Row, Row]]  # what names its Artifact, its Version, its making
    digests: Sequence[bytes]
    canonical: bytes


def begun(call: model.Call, at: datetime) -> Begun:
    """What `start` says."""
    redactor = facts.Redactor(_salt)
    canonical = facts.encode("start", call.run, at, call.actor, facts.start(call, redactor))
    return _begun(call, at, canonical, redactor, call.capture)


def reused(call: model.Call, origin: UUID, at: datetime) -> Begun:
    """What `reuse` says."""
    redactor = facts.Redactor(_salt)
    canonical = facts.encode("reuse", call.run, at, call.actor, facts.reuse(call, origin, redactor))
    capture = model.Capture(because="it is made again by making its origin again")
    return _begun(call, at, canonical, redactor, capture)


def recorded(call: model.Call, report: model.Report, at: datetime) -> tuple[Begun, Ended]:
    """What `record` says: one fact, which lies with the start."""
    redactor = facts.Redactor(_salt)
    nothing = model.Publication(model.Outcome.NONE)
    body = facts.record(facts.start(call, redactor), facts.finish(report, nothing, redactor))
    canonical = facts.encode("record", call.run, at, call.actor, body)
    began = _begun(call, at, canonical, redactor, call.capture)
    return began, _ended(report, at, b"", nothing, call)


def ended(report: model.Report, at: datetime, call: model.Call) -> Ended:
    """What `finish` says, of a run that enters the cache."""
    redactor = facts.Redactor(_salt)
    entered = model.Publication(model.Outcome.ENTERED)
    canonical = facts.encode("finish", report.uid, at, report.actor, facts.finish(report, entered, redactor))
    return _ended(report, at, canonical, entered, call)


def _salt(_: str) -> bytes:
    return os.urandom(16)


def _begun(
    call: model.Call, at: datetime, canonical: bytes, redactor: facts.Redactor, capture: model.Capture
) -> Begun:
    return Begun(
        uid=call.run.bytes,
        at=model.microseconds(at),
        project=call.project,
        job=call.job,
        actor=call.actor.name,
        owner=call.owner,
        mode=call.mode.value,
        key=call.key,
        texts=(
            digest.frame(dict(call.params)),
            digest.frame({}),
            digest.frame(list(call.uncacheable)),
            digest.frame(facts.capture(capture)),
        ),
        inputs=[_input(claim) for claim in call.inputs],
        components=[
            (place, part.name, part.kind, part.digest, int(part.ignored))
            for place, part in enumerate(call.components)
        ],
        redactables=list(redactor.opened),
        canonical=canonical,
    )


def _input(claim: model.InputClaim) -> Row:
    named = claim.source.artifact
    producer = None if claim.source.producer is None else claim.source.producer.bytes
    content = claim.source.digest.raw
    return claim.role, claim.ordinal, producer, named.kind, named.name, content, named.project


def _ended(
    report: model.Report, at: datetime, canonical: bytes, outcome: model.Publication, call: model.Call
) -> Ended:
    return Ended(
        uid=report.uid.bytes,
        run=report.run.bytes,
        at=model.microseconds(at),
        state=report.state.value,
        owner=report.owner,
        key=call.key,
        outcome=str(outcome),
        metrics=digest.frame(dict(report.metrics)),
        measured=list(metrics.rows(report.metrics).items()),
        warnings=digest.frame(list(report.warnings)),
        outputs=[_output(claim, at) for claim in report.outputs],
        digests=[claim.content.digest.raw for claim in report.outputs],
        canonical=canonical,
    )


def _output(claim: model.OutputClaim, at: datetime) -> tuple[Row, Row, Row]:
    named, content = claim.artifact, claim.content
    described: Mapping[str, digest.Framed] = {
        "metadata": dict(claim.metadata),
        "metrics": dict(claim.metrics),
    }
    return (
        (named.project, named.kind, named.name),
        (
            content.digest.raw,
            content.strength.value,
            content.form.value,
            content.size_bytes,
            model.microseconds(at),
        ),
        (claim.role, claim.filename, claim.format, digest.frame(described)),
    )


# ── writing, inside `writing` ────────────────────────────────────────────────────────────────────


def name(connection: sqlite3.Connection, project: str, actor: str, jobs: Sequence[str]) -> None:
    """Make a project, an actor and jobs, once."""
    connection.execute("INSERT INTO project (name) VALUES (?)", (project,))
    connection.execute("INSERT INTO actor (name, authenticated) VALUES (?, 0)", (actor,))
    connection.executemany(
        "INSERT INTO job (project_id, name) SELECT id, ? FROM project", [(job,) for job in jobs]
    )
    _name_parts(connection, "job")


def _name_parts(connection: sqlite3.Connection, what: str) -> None:
    """Index the parts of all names of jobs or artifacts."""
    named = connection.execute(f"SELECT name, project_id, id FROM {what}").fetchall()
    connection.executemany(
        f"INSERT INTO {what}_gram (gram, project_id, {what}_id) VALUES (?, ?, ?)",
        [row for each in named for row in grams.rows(*each)],
    )


def name_artifacts(connection: sqlite3.Connection, artifacts: Sequence[model.Artifact]) -> None:
    """Make Artifacts in the one project there is."""
    connection.executemany(
        "INSERT INTO artifact (project_id, kind, name) SELECT id, ?, ? FROM project",
        [(artifact.kind, artifact.name) for artifact in artifacts],
    )
    _name_parts(connection, "artifact")


def record(connection: sqlite3.Connection, began: Begun, end: Ended) -> list[Row]:
    """A whole run; answers the versions it made."""
    fact = _append(connection, began.uid, began.at, "record", began.canonical)
    names = connection.execute(NAMES, (began.job, began.actor, began.project)).fetchone()
    run_id = connection.execute(
        RUN,
        (
            *(began.uid, *names, end.state, began.mode, began.key, None, began.at, end.at, end.outcome),
            *(began.texts[0], end.metrics, end.warnings, began.texts[3], fact, fact),
        ),
    ).lastrowid
    connection.executemany(INPUT, [(run_id, fact, *taken) for taken in began.inputs])
    connection.executemany(METRIC, [(*row, run_id) for row in end.measured])
    return _put_outputs(connection, run_id, fact, end)


def reserve(connection: sqlite3.Connection, began: Begun) -> int:
    """Look up the key, find nothing, take the lease and begin the run; answers the token."""
    assert not look_up(connection, began.key), "a step that executes finds no entry"
    (token,) = connection.execute(
        TAKE, (began.key, began.owner, began.uid, "no entry", began.at, began.at, began.at + _LEASE)
    ).fetchone()
    fact = _append(connection, began.uid, began.at, "start", began.canonical)
    connection.executemany(REDACTABLE, [(fact, *row) for row in began.redactables])
    run_id = _put_run(connection, began, "running", None, None, fact)
    connection.executemany(INPUT, [(run_id, fact, *taken) for taken in began.inputs])
    connection.executemany(COMPONENT, [(run_id, *part) for part in began.components])
    connection.execute(BEAT, (began.uid, began.at + _LEASE))
    return int(token)


def finish(connection: sqlite3.Connection, end: Ended, token: int) -> list[Row]:
    """End the run and enter its outputs under its key; answers the versions it made."""
    (run_id,) = connection.execute(RUN_ID, (end.run,)).fetchone()
    held = connection.execute(RELEASE, (end.key, end.owner, token)).rowcount
    assert held, "the lease is still held"
    fact = _append(connection, end.uid, end.at, "finish", end.canonical)
    connection.execute(RUN_ENDS, (end.state, end.at, end.outcome, end.metrics, end.warnings, fact, run_id))
    connection.executemany(METRIC, [(*row, run_id) for row in end.measured])
    connection.execute(ENTER, (end.key, end.at, end.at, run_id))
    connection.execute(UNBEAT, (end.run,))
    return _put_outputs(connection, run_id, fact, end)


def reuse(connection: sqlite3.Connection, began: Begun) -> list[Row]:
    """Look up the key and record the run that stands for not running; answers the outputs."""
    made = look_up(connection, began.key)
    fact = _append(connection, began.uid, began.at, "reuse", began.canonical)
    _put_run(connection, began, "reused", made[0][0], began.at, fact)
    return made


def _append(connection: sqlite3.Connection, uid: bytes, at: int, verb: str, canonical: bytes) -> int | None:
    leaf = hashlib.sha256(b"\x00" + canonical).digest()
    return connection.execute(FACT, (uid, at, verb, canonical, leaf)).lastrowid


def _put_run(
    connection: sqlite3.Connection,
    began: Begun,
    state: str,
    origin_id: int | None,
    finished_at: int | None,
    fact: int | None,
) -> int | None:
    names = connection.execute(NAMES, (began.job, began.actor, began.project)).fetchone()
    return connection.execute(
        RUN,
        (
            *(began.uid, *names, state, began.mode, began.key, origin_id, began.at, finished_at, None),
            *(*began.texts, fact, None),
        ),
    ).lastrowid


def _put_outputs(
    connection: sqlite3.Connection, run_id: int | None, fact: int | None, end: Ended
) -> list[Row]:
    versions = []
    for place, (named, content, (role, filename, form, described)) in enumerate(end.outputs):
        (artifact_id,) = connection.execute(ARTIFACT, named).fetchone()
        version_id, number = connection.execute(VERSION, (artifact_id, *content)).fetchone()
        connection.execute(
            OUTPUT,
            (run_id, role, version_id, artifact_id, fact, place, filename, form, described),
        )
        versions.append((role, number))
    connection.executemany(BLOB, [(named, end.at) for named in end.digests])
    return versions


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def look_up(connection: sqlite3.Connection, key: str | None) -> list[Row]:
    """The entry under a key, with each output that it hands out; nothing where there is no entry."""
    return connection.execute(LOOK_UP, (key,)).fetchall()


@dataclass(frozen=True, slots=True)
class Ancestry:
    """All that a run came from, as rows."""

    taken: list[Row]
    made: list[Row]
    runs: list[Row]
    versions: list[Row]


def upstream(connection: sqlite3.Connection, uid: bytes, depth: int | None) -> Ancestry:
    """What a run came from, level by level, in a history where every input names its producer."""
    connection.execute("BEGIN")
    (root,) = connection.execute(RUN_ID, (uid,)).fetchone()
    seen, level, levels = {root}, [root], 0
    taken: list[Row] = []
    made: list[Row] = []
    while level:
        ids = json.dumps(level)
        rows = connection.execute(LEVEL_TAKEN, (ids,)).fetchall()
        taken += rows
        made += connection.execute(LEVEL_MADE, (ids,)).fetchall()
        found = {row[6] for row in rows} | {row[2] for row in rows}
        found.discard(None)
        found -= seen
        seen |= found  # of the deepest level too: its inputs name them
        level, levels = list(found) if levels != depth else [], levels + 1
    versions = {row[3] for row in taken}
    versions.discard(None)
    answer = Ancestry(
        taken,
        [row for row in made if row[1] in versions],
        connection.execute(RUNS, (json.dumps(list(seen)),)).fetchall(),
        connection.execute(VERSIONS, (json.dumps(list(versions)),)).fetchall(),
    )
    connection.execute("ROLLBACK")
    return answer


def closure(connection: sqlite3.Connection, uid: bytes) -> tuple[list[Row], list[Row], list[Row]]:
    """What names all Runs, Versions and Artifacts that a run came from, where every input names its producer.

    Level by level: a recursive query finds the Runs a little faster, and then has the Versions to look for.
    """
    connection.execute("BEGIN")
    (root,) = connection.execute(RUN_ID, (uid,)).fetchone()
    seen, level = {root}, [root]
    versions: set[int] = set()
    while level:
        rows = connection.execute(LEVEL_NARROW, (json.dumps(level),)).fetchall()
        found: set[int | None] = set()
        if rows:
            taken, producers = zip(*rows, strict=True)
            versions.update(taken)
            found = set(producers) - seen
            found.discard(None)
        seen |= found
        level = list(found)
    answer = (
        connection.execute(RUN_UIDS, (json.dumps(sorted(seen)),)).fetchall(),
        connection.execute(VERSION_NUMBERS, (json.dumps(sorted(versions)),)).fetchall(),
        connection.execute(ARTIFACT_NAMES).fetchall(),
    )
    connection.execute("ROLLBACK")
    return answer
