"""What a language model answered: kept, so that the same is asked and paid once, and counted by seller and
month; and whether its copy is used without a look.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.create_table(
        "model_answers",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.TEXT(), nullable=False),
        sa.Column("content_hash", sa.TEXT(), nullable=False),
        sa.Column("asked_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("model", sa.TEXT(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("answer", postgresql.JSONB(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("model_answers_asked", "model_answers", ["user_id", "asked_at"])
    op.create_index("model_answers_same", "model_answers", ["user_id", "content_hash"])
    op.execute(f"""
        ALTER TABLE model_answers ENABLE ROW LEVEL SECURITY;
        ALTER TABLE model_answers FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT, UPDATE, DELETE ON model_answers TO authenticated;
        CREATE POLICY own ON model_answers TO authenticated USING ({MINE}) WITH CHECK ({MINE});
    """)
    op.add_column(
        "users", sa.Column("copy_at_once", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.execute("GRANT UPDATE (copy_at_once) ON users TO authenticated")


def downgrade() -> None:
    op.drop_column("users", "copy_at_once")
    op.drop_table("model_answers")
