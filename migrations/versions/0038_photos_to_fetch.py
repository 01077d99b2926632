"""Photos that a file names by their addresses are fetched by a worker: which are left."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0038"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "import_rows",
        sa.Column("to_fetch", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_index(
        "import_rows_to_fetch", "import_rows", ["import_id", "line"],
        postgresql_where=sa.text("to_fetch <> '{}'"),
    )  # fmt: skip
    op.execute(f"""
        GRANT SELECT (to_fetch) ON import_rows TO everystall_engine;
        RESET ROLE; SET ROLE everystall_engine; {UNNAMED} SET ROLE everystall_owner
    """)


#: As in 0020; of a row whose photos are being fetched, those that came wait for the others.
UNNAMED = """
CREATE OR REPLACE FUNCTION everystall.unnamed_photos(hashes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h FROM unnest($1) h WHERE NOT EXISTS (SELECT FROM public.listing_photos p WHERE p.sha256 = h)
    EXCEPT SELECT photo ->> 'sha256'
    FROM public.import_rows r, jsonb_array_elements(r.originals) photo
    WHERE r.outcome IS NULL OR r.to_fetch <> '{}'
    EXCEPT SELECT jsonb_array_elements_text(m.undo_photos) FROM public.matches m WHERE m.state = 'linked'
$$;
"""
