"""The trace that a job belongs to; which migration this database is at, for processes that start; and
figures of what goes wrong, for alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None

_FUNCTIONS = """
CREATE FUNCTION everystall.migration() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT version_num FROM public.alembic_version $$;
COMMENT ON FUNCTION everystall.migration IS 'The newest that was applied here.';

CREATE FUNCTION everystall.trouble_numbers(
    budget bigint, OUT blind bigint, OUT late bigint, OUT spent bigint
)
RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        (SELECT count(*) FROM public.connections c
         WHERE (c.needs_you IS NOT NULL OR c.watch_told_at IS NOT NULL OR c.blind_since IS NOT NULL)
           AND c.blind_since IS NOT NULL AND c.needs_you ->> 'reason' IS DISTINCT FROM 'disconnected'),
        (SELECT count(*) FROM public.take_downs t JOIN public.publications p ON p.id = t.publication_id
         WHERE t.gone_at IS NULL AND t.asked_at < now() - interval '5 minutes' AND p.wanted = 'ended'),
        (SELECT count(*) FROM (
             SELECT FROM public.model_answers m WHERE m.asked_at >= date_trunc('month', now(), 'UTC')
             GROUP BY m.user_id HAVING sum(m.cost) >= $1) AS sellers)
$$;
COMMENT ON FUNCTION everystall.trouble_numbers IS
    'Accounts whose sales are not seen, take-downs of more than five minutes, sellers who used up a budget.';
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.TEXT(), nullable=True))
    op.create_index(
        "take_downs_open", "take_downs", ["asked_at"], postgresql_where=sa.text("gone_at IS NULL")
    )
    op.execute("""
        CREATE POLICY engine ON alembic_version FOR SELECT TO everystall_engine USING (true);
        GRANT SELECT ON alembic_version TO everystall_engine;
        CREATE POLICY engine_read ON model_answers FOR SELECT TO everystall_engine USING (true);
        GRANT SELECT (user_id, asked_at, cost) ON model_answers TO everystall_engine;
    """)
    op.execute(f"RESET ROLE; SET ROLE everystall_engine; {_FUNCTIONS} SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("RESET ROLE; SET ROLE everystall_engine; DROP FUNCTION everystall.migration")
    op.execute("DROP FUNCTION everystall.trouble_numbers")
    op.execute("SET ROLE everystall_owner")
    op.execute("DROP POLICY engine ON alembic_version; REVOKE ALL ON alembic_version FROM everystall_engine")
    op.execute("DROP POLICY engine_read ON model_answers; REVOKE ALL ON model_answers FROM everystall_engine")
    op.drop_index("take_downs_open", "take_downs")
    op.drop_column("jobs", "traceparent")
