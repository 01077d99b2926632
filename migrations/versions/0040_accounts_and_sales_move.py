"""What becomes of an account, and of a sale, is told to open pages with the commit, as publications are; and
a look that failed has its picture."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

# By row, unlike those of migration 0022: a trigger that sees all rows of a statement may not name columns,
# and would run with each renewal of a lease. PostgreSQL tells the same word once per transaction.
_FUNCTION = """
CREATE FUNCTION everystall.pages_move() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('everystall_moves', NEW.user_id || ' ' || TG_ARGV[0]);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION everystall.pages_move IS
    'Tells, with the commit, whose accounts or sales changed.';
REVOKE ALL ON FUNCTION everystall.pages_move FROM PUBLIC;
GRANT USAGE ON SCHEMA everystall TO everystall_owner;
GRANT EXECUTE ON FUNCTION everystall.pages_move TO everystall_owner;
"""
_NO_MORE = """
REVOKE ALL ON FUNCTION everystall.pages_move FROM everystall_owner;
REVOKE ALL ON SCHEMA everystall FROM everystall_owner;
"""
# A visit that ended changes one page, how an account stands changes what every page counts: two words.
_TRIGGERS = """
CREATE TRIGGER accounts_appear AFTER INSERT ON connections
    FOR EACH ROW EXECUTE FUNCTION everystall.pages_move('accounts');
CREATE TRIGGER accounts_move
    AFTER UPDATE OF needs_you, paused_at, session_seq, refresh_asked_at, blind_since, watch_told_at
    ON connections FOR EACH ROW WHEN (
        (OLD.needs_you, OLD.paused_at, OLD.session_seq,
         OLD.refresh_asked_at, OLD.blind_since, OLD.watch_told_at) IS DISTINCT FROM
        (NEW.needs_you, NEW.paused_at, NEW.session_seq,
         NEW.refresh_asked_at, NEW.blind_since, NEW.watch_told_at))
    EXECUTE FUNCTION everystall.pages_move('accounts');
CREATE TRIGGER accounts_visited AFTER UPDATE OF last_visit_at ON connections
    FOR EACH ROW EXECUTE FUNCTION everystall.pages_move('visits');
CREATE TRIGGER sales_move AFTER INSERT OR UPDATE ON sales
    FOR EACH ROW EXECUTE FUNCTION everystall.pages_move('sales');
CREATE TRIGGER take_downs_move AFTER INSERT OR UPDATE OF started_at, gone_at, told_at ON take_downs
    FOR EACH ROW EXECUTE FUNCTION everystall.pages_move('sales');
"""


def upgrade() -> None:
    op.add_column("connections", sa.Column("watch_evidence", postgresql.JSONB(), nullable=True))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_FUNCTION)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
    op.execute(_TRIGGERS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_NO_MORE)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
