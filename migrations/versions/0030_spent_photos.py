"""Originals that came with an import and are nobody's once it is forgotten: which these are.

One more listed function, since the rows are of all sellers.
"""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        GRANT SELECT (user_id, import_id) ON import_rows TO everystall_engine;
        ALTER POLICY engine_read ON import_rows USING (true);
        -- a little younger than what engine_clean lets it delete
        ALTER POLICY engine_read ON imports
            USING (status = 'running' OR finished_at < now() - interval '6 days');
        RESET ROLE;
        SET ROLE everystall_engine;
    """)
    op.execute(_FUNCTION)
    op.execute("RESET ROLE; SET ROLE everystall_owner")


_FUNCTION = """
CREATE FUNCTION everystall.spent_photos(job_days integer) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- what everystall.clean deletes next, and what is an hour younger: so none goes that was not asked for
    WITH imports AS (
        SELECT o.user_id, o.id FROM public.imports o
        WHERE o.finished_at < now() - make_interval(days => $1) + interval '1 hour'
        ORDER BY o.finished_at LIMIT 2
    ), came AS (
        SELECT array_agg(DISTINCT photo ->> 'sha256') AS hashes
        FROM imports i JOIN public.import_rows r ON r.user_id = i.user_id AND r.import_id = i.id
        CROSS JOIN LATERAL jsonb_array_elements(r.originals) photo
    )
    SELECT everystall.unnamed_photos(c.hashes) FROM came c WHERE c.hashes IS NOT NULL
$$;
COMMENT ON FUNCTION everystall.spent_photos IS
    'Photos that came with the next imports to be deleted and that nobody has; asked before they are.';

REVOKE ALL ON FUNCTION everystall.spent_photos FROM PUBLIC;
"""
