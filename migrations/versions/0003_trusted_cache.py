"""what a cache is trusted for: what runs were seen to touch, why they ran, and an inventory

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _traces_and_places()
    op.add_column("run", sa.Column("reason", sa.Text(), nullable=True))
    op.create_table(
        "observed",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarantine",
        *_interval(),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
    )
    op.create_index("quarantine_by_version", "quarantine", ["version_id"])
    op.create_index("quarantine_standing", "quarantine", ["version_id"], **_STANDING)
    op.create_table(
        "taint",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("quarantine_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.ForeignKeyConstraint(["quarantine_id"], ["quarantine.id"]),
        sa.PrimaryKeyConstraint("run_id", "version_id", "quarantine_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("taint_by_version", "taint", ["version_id"])
    op.create_index("taint_by_quarantine", "taint", ["quarantine_id"])
    op.create_table(
        "hold",
        *_interval(),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
    )
    op.create_index("hold_by_version", "hold", ["version_id"])
    op.create_table(
        "approval",
        *_said(),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
    )
    op.create_index("approval_by_version", "approval", ["version_id"])
    op.create_table(
        "deployment",
        *_interval(),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("replaced_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.ForeignKeyConstraint(["replaced_id"], ["version.id"]),
    )
    op.create_index("deployment_by_version", "deployment", ["version_id"])
    op.create_index("deployment_standing", "deployment", ["project_id", "target"], unique=True, **_STANDING)
    _index_hits()
    _take_inventory()


_STANDING = {"sqlite_where": sa.text("until IS NULL"), "postgresql_where": sa.text("until IS NULL")}


def _said() -> tuple[sa.schema.SchemaItem, ...]:
    """What each judgement has: its row, its uid, its fact, and who said it."""
    return (
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(), nullable=False),
        sa.Column("fact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["actor_id"], ["actor.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid"),
    )


def _interval() -> tuple[sa.schema.SchemaItem, ...]:
    """What one that stands from when to when has too."""
    return (
        *_said(),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("end_fact", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("end_actor_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["end_actor_id"], ["actor.id"]),
    )


_ENTRY_NEW = ("revoked_at", "evicted_at", "withdrawn")
_IS_LIVE = "superseded_at IS NULL AND evicted_at IS NULL"


def _index_hits() -> None:
    op.drop_index("run_by_origin", "run")
    op.create_index(
        "run_by_origin",
        "run",
        ["origin_id", "started_at"],
        sqlite_where=sa.text("origin_id IS NOT NULL"),
        postgresql_where=sa.text("origin_id IS NOT NULL"),
    )


def _take_inventory() -> None:
    op.drop_index("cache_entry_live", "cache_entry")
    if op.get_context().dialect.name == "postgresql":
        op.add_column("cache_entry", sa.Column("job_id", sa.BigInteger(), nullable=True))
        op.execute("UPDATE cache_entry SET job_id = run.job_id FROM run WHERE run.id = cache_entry.run_id")
        op.alter_column("cache_entry", "job_id", nullable=False)
        op.create_foreign_key(None, "cache_entry", "job", ["job_id"], ["id"])
        for name in _ENTRY_NEW:
            op.add_column("cache_entry", sa.Column(name, sa.BigInteger(), nullable=True))
    else:
        _remake_entries()
    op.create_index(
        "cache_entry_live",
        "cache_entry",
        ["key"],
        unique=True,
        sqlite_where=sa.text(_IS_LIVE),
        postgresql_where=sa.text(_IS_LIVE),
    )
    op.create_index("cache_entry_by_key", "cache_entry", ["key", "id"])
    op.create_index("cache_entry_by_job", "cache_entry", ["job_id", "id"])
    op.create_index("divergence_by_key", "divergence", ["key"])


def _remake_entries() -> None:
    # SQLite adds no column that must not be empty.
    op.execute("ALTER TABLE cache_entry RENAME TO cache_entry_before")
    op.create_table(
        "cache_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("validated_at", sa.BigInteger(), nullable=False),
        sa.Column("superseded_at", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in _ENTRY_NEW),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(
        "INSERT INTO cache_entry (id, key, run_id, job_id, created_at, validated_at, superseded_at)"
        " SELECT b.id, b.key, b.run_id, run.job_id, b.created_at, b.validated_at, b.superseded_at"
        " FROM cache_entry_before b JOIN run ON run.id = b.run_id"
    )
    op.drop_table("cache_entry_before")


def _traces_and_places() -> None:
    op.create_table(
        "trace",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("whole", sa.Text(), nullable=False),
        sa.Column("arguments", sa.LargeBinary(), nullable=False),
        sa.Column("observations", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index("trace_by_base", "trace", ["base"])
    op.create_index("trace_by_whole", "trace", ["whole"])
    op.create_table(
        "place",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("project_id", "location"),
        sqlite_with_rowid=False,
    )
