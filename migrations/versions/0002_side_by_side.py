"""writers side by side: facts have numbers of their own, and tokens

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateSequence

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# (table, what its column was called, what it is called now)
_RENAMED = (
    ("run", "start_position", "start_fact"),
    ("run", "finish_position", "finish_fact"),
    ("output", "position", "fact"),
    ("alias", "position", "fact"),
    ("series", "position", "fact"),
)


def upgrade() -> None:
    is_shared = op.get_context().dialect.name == "postgresql"
    op.execute("ALTER TABLE fact RENAME COLUMN position TO id")
    op.add_column("fact", sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=True))
    op.add_column("fact", sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=True))
    op.execute("ALTER TABLE fact RENAME COLUMN sequenced_at TO sequenced_before")
    op.add_column("fact", sa.Column("sequenced_at", sa.BigInteger(), autoincrement=False, nullable=True))
    op.execute("UPDATE fact SET position = id, sequenced_at = sequenced_before")
    op.execute("ALTER TABLE fact DROP COLUMN sequenced_before")
    op.create_index("fact_by_position", "fact", ["position"], unique=True)
    op.create_index(
        "fact_unsequenced",
        "fact",
        ["ordinal"],
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")

    op.execute("ALTER TABLE redactable RENAME TO redactable_before")
    if is_shared:
        op.execute("ALTER INDEX redactable_pkey RENAME TO redactable_before_pkey")
    op.create_table(
        "redactable",
        sa.Column("fact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("fact", "path"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO redactable (fact, path, salt, value) SELECT fact.id, b.path, b.salt, b.value"
        " FROM redactable_before b JOIN fact ON fact.uid = b.fact_uid"
    )
    op.drop_table("redactable_before")

    # What was known of Blobs is not carried over: it costs one look at each of them.
    op.drop_table("blob")
    op.create_table(
        "blob",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("known_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("project_id", "digest"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "token",
        sa.Column("uid", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("grants", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("hash"),
        sqlite_with_rowid=False,
    )

    if is_shared:
        op.execute("DROP SEQUENCE fact_position_seq CASCADE")
        op.execute(CreateSequence(sa.Sequence("fact_number", increment=50)))
        op.execute(CreateSequence(sa.Sequence("fact_ordinal")))
        for index, column in (("run_by_origin", "origin_id"), ("run_by_parent", "parent")):
            op.drop_index(index, "run")
            op.create_index(index, "run", [column], postgresql_where=sa.text(f"{column} IS NOT NULL"))
        op.drop_index("run_running", "run")
        op.create_index("run_running", "run", ["state"], postgresql_where=sa.text("state = 'running'"))
