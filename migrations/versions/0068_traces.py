"""The trace that a job belongs to; and which migration this database is at, for processes that start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0063"
branch_labels = None
depends_on = None

_FUNCTIONS = """
CREATE FUNCTION everystall.migration() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT version_num FROM public.alembic_version $$;
COMMENT ON FUNCTION everystall.migration IS 'The newest that was applied here.';
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.TEXT(), nullable=True))
    op.execute("""
        CREATE POLICY engine ON alembic_version FOR SELECT TO everystall_engine USING (true);
        GRANT SELECT ON alembic_version TO everystall_engine;
    """)
    op.execute(f"RESET ROLE; SET ROLE everystall_engine; {_FUNCTIONS} SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("RESET ROLE; SET ROLE everystall_engine; DROP FUNCTION everystall.migration")
    op.execute("SET ROLE everystall_owner")
    op.execute("DROP POLICY engine ON alembic_version; REVOKE ALL ON alembic_version FROM everystall_engine")
    op.drop_column("jobs", "traceparent")
