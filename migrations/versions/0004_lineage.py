"""lineage at any scale: what was known when, and what can be searched for

Revision ID: 0004
Revises: 0003
"""

import itertools
from collections.abc import Iterator
from typing import cast

import sqlalchemy as sa
from alembic import op

from whence_catalog import digest, facts
from whence_catalog.sql import grams, labels
from whence_catalog.sql import metrics as measures

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _date_inputs()
    _keep_labels()
    _keep_presumptions()
    _end_aliases()
    _index_deployments()
    _index_metrics()
    _index_names()
    _name_artifacts()
    op.create_index("run_by_time", "run", ["started_at", "id"])
    op.create_index("version_by_time", "version", ["created_at", "id"])


def _index_metrics() -> None:
    """The last values of metrics have tables, in which ranges of them are looked up."""
    op.create_table(
        "run_metric",
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("mark", "value", "run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "output_metric",
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("mark", "value", "version_id", "run_id", "role"),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    put_of_run = sa.text("INSERT INTO run_metric (mark, value, run_id) VALUES (:mark, :value, :run)")
    runs = sa.text("SELECT id, metrics FROM run")
    for rows in connection.execute(runs, execution_options={"yield_per": 1000}).partitions():
        found = [
            {"mark": mark, "value": value, "run": run}
            for run, raw in rows
            for mark, value in _measured(digest.unframe(bytes(raw)))
        ]
        if found:
            connection.execute(put_of_run, found)
    put_of_output = sa.text(
        "INSERT INTO output_metric (mark, value, version_id, run_id, role)"
        " VALUES (:mark, :value, :version, :run, :role)"
    )
    outputs = sa.text("SELECT run_id, role, version_id, described FROM output")
    for rows in connection.execute(outputs, execution_options={"yield_per": 1000}).partitions():
        found = [
            {"mark": mark, "value": value, "version": version, "run": run, "role": role}
            for run, role, version, raw in rows
            for mark, value in _measured(cast("dict[str, object]", digest.unframe(bytes(raw)))["metrics"])
        ]
        if found:
            connection.execute(put_of_output, found)


def _index_names() -> None:
    """Names have tables in which any part of them is looked up."""
    connection = op.get_bind()
    for named in ("artifact", "job"):
        op.create_table(
            f"{named}_gram",
            sa.Column("gram", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("project_id", sa.BigInteger(), nullable=False),
            sa.Column(f"{named}_id", sa.BigInteger(), nullable=False),
            sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
            sa.ForeignKeyConstraint([f"{named}_id"], [f"{named}.id"]),
            sa.PrimaryKeyConstraint("gram", "project_id", f"{named}_id"),
            sqlite_with_rowid=False,
        )
        put = sa.text(
            f"INSERT INTO {named}_gram (gram, project_id, {named}_id) VALUES (:gram, :project, :row)"
        )
        every = sa.text(f"SELECT name, project_id, id FROM {named}")
        for some in connection.execute(every, execution_options={"yield_per": 1000}).partitions():
            connection.execute(
                put,
                [
                    dict(zip(("gram", "project", "row"), row, strict=True))
                    for one in some
                    for row in grams.rows(*one)
                ],
            )


def _name_artifacts() -> None:
    """What is said of a Version is found by its Artifact too."""
    for table in ("quarantine", "hold", "approval", "deployment"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN artifact_id BIGINT REFERENCES artifact (id)")
        op.execute(
            f"UPDATE {table} SET artifact_id ="
            f" (SELECT artifact_id FROM version WHERE version.id = {table}.version_id)"
        )
        op.create_index(f"{table}_by_artifact", table, ["artifact_id", "fact"])


def _measured(metrics: object) -> Iterator[tuple[int, float]]:
    return iter(sorted(measures.rows(cast("dict[str, float]", metrics)).items()))


def _keep_labels() -> None:
    """The labels that Runs began with have a table, in which they are looked up."""
    op.create_table(
        "label",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("fact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end_fact", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for subject in ("run", "version"):
        clause = sa.text(f"{subject}_id IS NOT NULL")
        where = {"sqlite_where": clause, "postgresql_where": clause}
        op.create_index(f"label_of_{subject}", "label", [f"{subject}_id"], **where)
        op.create_index(f"label_by_mark_of_{subject}", "label", ["mark", f"{subject}_id"], **where)
    connection = op.get_bind()
    given = sa.text(
        "SELECT run.id, run.started_at, run.start_fact, redactable.path, redactable.value FROM redactable"
        " JOIN run ON run.start_fact = redactable.fact WHERE redactable.path LIKE 'labels/%'"
    )
    put = sa.text(
        "INSERT INTO label (run_id, name, value, mark, since, fact)"
        " VALUES (:run, :name, :value, :mark, :since, :fact)"
    )
    # In parts: what is kept of a million Runs at once would take gigabytes.
    log = connection.execute(given, execution_options={"yield_per": 10_000})
    for part in log.partitions():
        rows = []
        for run, since, fact, path, raw in part:
            name, value = path.removeprefix("labels/"), str(digest.unframe(bytes(raw)))
            rows.append(
                {
                    "run": run,
                    "name": name,
                    "value": value,
                    "mark": labels.mark(name, value),
                    "since": since,
                    "fact": fact,
                }
            )
        connection.execute(put, rows)


def _date_inputs() -> None:
    """Each input names the fact that said it first."""
    if op.get_context().dialect.name == "postgresql":
        op.add_column("input", sa.Column("fact", sa.BigInteger(), nullable=True))
        op.execute("UPDATE input SET fact = run.start_fact FROM run WHERE run.id = input.run_id")
        op.alter_column("input", "fact", nullable=False)
    else:
        _remake_inputs()
    said_later = sa.text(
        "UPDATE input SET fact = :fact WHERE role = :role AND ordinal = :ordinal"
        " AND run_id = (SELECT id FROM run WHERE uid = :run)"
    )
    rows = list(_said_later())
    if rows:
        op.get_bind().execute(said_later, rows)


def _said_later() -> Iterator[dict[str, object]]:
    """The inputs that were not said when their Run began."""
    connection = op.get_bind()
    every = sa.text(
        "SELECT id, canonical FROM fact WHERE verb IN ('add', 'finish')"
        " ORDER BY position IS NULL, position, ordinal"
    )
    log = connection.execute(every, execution_options={"yield_per": 1000})
    began = sa.text(
        "SELECT fact.canonical FROM run JOIN fact ON fact.id = run.start_fact WHERE run.uid = :run"
    )
    known: dict[bytes, set[tuple[str, int]]] = {}
    for number, canonical in log:
        fact = facts.decode(bytes(canonical))
        if fact.verb == "add":
            addition = facts.read_add(fact.uid, fact.body)
            run, inputs = addition.run.bytes, addition.inputs
        else:
            report, _ = facts.read_finish(fact.uid, fact.body)
            run, inputs = report.run.bytes, report.inputs
        if not inputs:
            continue
        if run not in known:
            known[run] = _said_first(connection.execute(began, {"run": run}).scalar_one())
        for claim in inputs:
            place = (claim.role, claim.ordinal)
            if place not in known[run]:
                known[run].add(place)
                yield {"fact": number, "run": run, "role": claim.role, "ordinal": claim.ordinal}


def _said_first(canonical: bytes) -> set[tuple[str, int]]:
    fact = facts.decode(bytes(canonical))
    body = cast("facts.Body", fact.body["start"]) if fact.verb == "record" else fact.body
    return {(claim.role, claim.ordinal) for claim in facts.read_start(body).inputs}


def _remake_inputs() -> None:
    # SQLite adds no column that must not be empty.
    op.execute("ALTER TABLE input RENAME TO input_before")
    op.drop_index("input_by_version", "input_before")
    op.create_table(
        "input",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("producer_run_id", sa.BigInteger(), nullable=True),
        sa.Column("fact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["producer_run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.PrimaryKeyConstraint("run_id", "role", "ordinal"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO input (run_id, role, ordinal, version_id, producer_run_id, fact)"
        " SELECT b.run_id, b.role, b.ordinal, b.version_id, b.producer_run_id, run.start_fact"
        " FROM input_before b JOIN run ON run.id = b.run_id"
    )
    op.drop_table("input_before")
    op.create_index("input_by_version", "input", ["version_id", "run_id"])


_BY_PLACE = (
    " JOIN fact ON fact.id = {0}.fact ORDER BY {1}, fact.position IS NULL, fact.position, fact.ordinal"
)


def _keep_presumptions() -> None:
    """A Run that was presumed aborted names the fact that did, also where its own word came after."""
    op.add_column("run", sa.Column("presume_fact", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    presumed = connection.execute(sa.text("SELECT id, canonical FROM fact WHERE verb = 'presume'"))
    rows = [
        {"fact": number, "run": facts.read_presume(facts.decode(bytes(canonical)).body).bytes}
        for number, canonical in presumed
    ]
    if rows:
        connection.execute(sa.text("UPDATE run SET presume_fact = :fact WHERE uid = :run"), rows)


def _end_aliases() -> None:
    """What an alias meant names the fact that ended it, and began no later than what came after it."""
    op.add_column("alias", sa.Column("end_fact", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    moves = connection.execute(
        sa.text(
            "SELECT alias.id, artifact_id, name, since, until, fact FROM alias"
            + _BY_PLACE.format("alias", "artifact_id, name")
        )
    ).all()
    ended = sa.text("UPDATE alias SET since = :since, until = :until, end_fact = :fact WHERE id = :id")
    rows: list[dict[str, object]] = []
    since = 0
    for move, after in itertools.pairwise([*moves, None]):
        assert move is not None
        since = max(since, move.since)
        row = {"id": move.id, "since": since, "until": None, "fact": None}
        if after is not None and (after.artifact_id, after.name) == (move.artifact_id, move.name):
            row |= {"until": max(since, after.since), "fact": after.fact}
        else:
            since = 0
        rows.append(row)
    if rows:
        connection.execute(ended, rows)
    op.create_index("alias_by_name", "alias", ["artifact_id", "name", "since"])
    op.create_index("alias_by_version", "alias", ["version_id", "fact"])


def _index_deployments() -> None:
    """What served at a target began no earlier than what it took the place of."""
    connection = op.get_bind()
    served = connection.execute(
        sa.text(
            "SELECT deployment.id, project_id, target, since, until FROM deployment"
            + _BY_PLACE.format("deployment", "project_id, target")
        )
    ).all()
    moved = sa.text("UPDATE deployment SET since = :since, until = :until WHERE id = :id")
    last: dict[tuple[int, str], int] = {}
    for row in served:
        at = row.project_id, row.target
        since = max(row.since, last.get(at, row.since))
        until = None if row.until is None else max(since, row.until)
        last[at] = since if until is None else until
        if (since, until) != (row.since, row.until):
            connection.execute(moved, {"id": row.id, "since": since, "until": until})
    op.create_index("deployment_by_target", "deployment", ["project_id", "target", "id"])
