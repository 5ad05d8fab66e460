"""what a cache is trusted for: what runs were seen to touch

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
    op.add_column("run", sa.Column("reason", sa.Text(), nullable=True))
    op.create_table(
        "observed",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
