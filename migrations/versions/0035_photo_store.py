"""A photo store that is not this database's is another installation's, or a folder of one host alone: both
have the same id, the store in its everystall.json (content/photo_store.py)."""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_STORE = """
CREATE TABLE everystall.photo_store (one boolean PRIMARY KEY DEFAULT true CHECK (one), id uuid NOT NULL);
CREATE FUNCTION everystall.know_photo_store(id uuid, OUT known uuid, OUT photos text[])
RETURNS record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO everystall.photo_store AS s (id) VALUES ($1) ON CONFLICT DO NOTHING;
    SELECT s.id, ARRAY(SELECT DISTINCT p.sha256 FROM public.listing_photos p ORDER BY p.sha256 LIMIT 20)
    FROM everystall.photo_store s;
$$;
COMMENT ON FUNCTION everystall.know_photo_store IS
    'The id of this database''s photo store: the first one to come is. And some photos that it must have; '
    'whose they are is not said.';
REVOKE ALL ON FUNCTION everystall.know_photo_store FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_STORE)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
