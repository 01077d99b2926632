"""What a seller keeps of a thing for themselves: where it lies, what it cost, labels. Views that are kept,
templates, and by how much a photo is turned.

Places and labels are found by indexes: `=` of text is leakproof, so it is asked behind row-level security too
(docs/decisions/0012).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"
NEWEST = (sa.text("created_at DESC"), sa.text("id DESC"))


def upgrade() -> None:
    op.add_column("listings", sa.Column("location", sa.TEXT(), nullable=True))
    op.add_column("listings", sa.Column("cost_cents", sa.BigInteger(), nullable=True))
    op.add_column(
        "listings",
        sa.Column("labels", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_check_constraint("cost_not_negative", "listings", "cost_cents >= 0")
    op.create_index(
        "listings_by_location", "listings", ["user_id", "location", *NEWEST],
        postgresql_where=sa.text("location IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "listings_labelled", "listings", ["user_id", *NEWEST],
        postgresql_include=["labels"], postgresql_where=sa.text("labels <> '{}'"),
    )  # fmt: skip
    op.add_column(
        "listing_photos", sa.Column("turn", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.create_check_constraint("turn_known", "listing_photos", "turn IN (0, 90, 180, 270)")
    _table("saved_views", sa.Column("query", sa.TEXT(), nullable=False))
    _table("listing_templates", sa.Column("facts", postgresql.JSONB(), nullable=False))


def _table(name: str, what: sa.Column[str] | sa.Column[dict[str, object]]) -> None:
    """Something that a seller gave a name."""
    op.create_table(
        name,
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.TEXT(), nullable=False),
        what,
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "name", name=f"{name}_once"),
    )
    op.execute(f"""
        ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {name} FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO authenticated;
        CREATE POLICY own ON {name} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
    """)
