"""Which places accounts ask for, and how many workers stand there: for whoever runs the installation."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_FUNCTIONS = """
CREATE FUNCTION everystall.place_numbers(
    away_seconds double precision, OUT place text, OUT accounts bigint, OUT workers bigint
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.place, count(*) FILTER (WHERE f.asks), count(*) FILTER (WHERE NOT f.asks) FROM (
        SELECT c.place, true AS asks FROM public.connections c
        WHERE c.needs_you ->> 'reason' IS DISTINCT FROM 'disconnected'
        UNION ALL
        SELECT w.place, false FROM everystall.workers w
        WHERE w.seen_at > now() - make_interval(secs => $1)) f
    WHERE f.place IS NOT NULL GROUP BY f.place ORDER BY f.place
$$;
COMMENT ON FUNCTION everystall.place_numbers IS
    'The places that accounts ask for or workers stand at, and how many of each; whose they are is not said.';
REVOKE ALL ON FUNCTION everystall.place_numbers FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_FUNCTIONS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
