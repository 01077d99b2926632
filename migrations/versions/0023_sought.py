"""A seller's inventory of thousands is sought, filtered, ordered and counted in two indexes alone.

No full-text index: under row-level security PostgreSQL asks a GIN index nothing, since `@@` is not leakproof
(docs/decisions/0012). What is filtered instead are the entries of an index that hold all that is asked for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# an entry of a B-tree holds 2,704 bytes, a character takes up to 4
_WORDS = """lower("left"(COALESCE(title, ''), 300) || ' ' || "left"(COALESCE(brand, ''), 100)
    || ' ' || "left"(COALESCE(sku, ''), 100))"""


def upgrade() -> None:
    op.add_column(
        "listings", sa.Column("words", sa.TEXT(), sa.Computed(_WORDS, persisted=True), nullable=False)
    )
    op.create_index(
        "listings_sought", "listings", ["user_id", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_include=["words", "price_cents", "quantity", "quantity_sold"],
    )  # fmt: skip
    op.create_index(
        "publications_standing", "publications", ["user_id", "listing_id", "put", "marketplace"],
        postgresql_include=["asked_at", "relist_asked_at"],
        postgresql_where=sa.text("wanted = 'live' OR put <> 'nothing'"),
    )  # fmt: skip
