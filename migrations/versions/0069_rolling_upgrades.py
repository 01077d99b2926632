"""Which versions of the program work with this database, for those that run while it is migrated
(everystall/compatibility.py, docs/operations.md); and the trace in which something was wished for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None
backward_compatible = True

_FUNCTIONS = """
CREATE FUNCTION everystall.oldest_program() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT '0068' $$;
COMMENT ON FUNCTION everystall.oldest_program IS
    'The newest migration that a program has to know to work with this database; written by each migrate.';

CREATE FUNCTION everystall.wish_remembers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT'
        OR (NEW.wanted, NEW.wanted_revision, NEW.asked_at, NEW.relist_asked_at, NEW.lower_asked_at)
        IS DISTINCT FROM
           (OLD.wanted, OLD.wanted_revision, OLD.asked_at, OLD.relist_asked_at, OLD.lower_asked_at)
    THEN
        NEW.traceparent := nullif(current_setting('everystall.traceparent', true), '');
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION everystall.wish_remembers IS
    'Keeps the trace (of the request, or the step of a visit) in which a publication was wanted otherwise.';
REVOKE ALL ON FUNCTION everystall.oldest_program, everystall.wish_remembers FROM PUBLIC;
GRANT USAGE ON SCHEMA everystall TO everystall_owner;
GRANT EXECUTE ON FUNCTION everystall.wish_remembers TO everystall_owner;
"""
_NO_MORE = """
REVOKE ALL ON FUNCTION everystall.wish_remembers FROM everystall_owner;
REVOKE ALL ON SCHEMA everystall FROM everystall_owner;
"""
_TRIGGER = """
CREATE TRIGGER wish_remembers BEFORE INSERT OR UPDATE ON publications
    FOR EACH ROW EXECUTE FUNCTION everystall.wish_remembers();
"""


def _as_engine(statements: str) -> None:
    op.execute(f"RESET ROLE; SET ROLE everystall_engine; {statements} RESET ROLE; SET ROLE everystall_owner")


def upgrade() -> None:
    op.add_column("publications", sa.Column("traceparent", sa.TEXT(), nullable=True))
    _as_engine(_FUNCTIONS)
    op.execute(_TRIGGER)
    _as_engine(_NO_MORE)


def downgrade() -> None:
    op.execute("DROP TRIGGER wish_remembers ON publications")
    _as_engine("DROP FUNCTION everystall.wish_remembers; DROP FUNCTION everystall.oldest_program;")
    op.drop_column("publications", "traceparent")
