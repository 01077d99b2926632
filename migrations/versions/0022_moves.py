"""What moves is told at once: each change of a publication counts its version up, and who listens hears whose
and of which listings, with the commit. And what waits for its seller is found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# A NOTIFY carries less than 8,000 bytes; of more than 100 listings it says `*`. Any login of the database may
# hear it: it holds ids only.
# The functions are the engine's, as all of ours that run inside the database (decision 7): they read nothing
# but the rows that were changed. Who makes a trigger needs rights on them; who only changes a row does not.
_FUNCTIONS = """
CREATE FUNCTION everystall.publication_counts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION everystall.publication_counts IS
    'Counts a publication''s version up with each change.';

CREATE FUNCTION everystall.publications_move() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('everystall_moves', m.user_id || ' ' || m.listings) FROM (
        SELECT moved.user_id, CASE WHEN count(DISTINCT moved.listing_id) > 100 THEN '*'
                                   ELSE string_agg(DISTINCT moved.listing_id::text, ' ') END AS listings
        FROM moved GROUP BY moved.user_id
    ) m;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION everystall.publications_move IS
    'Tells, with the commit, whose publications changed and of which listings.';
REVOKE ALL ON FUNCTION everystall.publication_counts, everystall.publications_move FROM PUBLIC;
GRANT USAGE ON SCHEMA everystall TO everystall_owner;
GRANT EXECUTE ON FUNCTION everystall.publication_counts, everystall.publications_move TO everystall_owner;
"""
_NO_MORE = """
REVOKE ALL ON FUNCTION everystall.publication_counts, everystall.publications_move FROM everystall_owner;
REVOKE ALL ON SCHEMA everystall FROM everystall_owner;
"""
_TRIGGERS = """
CREATE TRIGGER publication_counts BEFORE UPDATE ON publications
    FOR EACH ROW EXECUTE FUNCTION everystall.publication_counts();
CREATE TRIGGER publications_appear AFTER INSERT ON publications REFERENCING NEW TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION everystall.publications_move();
CREATE TRIGGER publications_move AFTER UPDATE ON publications REFERENCING NEW TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION everystall.publications_move();
CREATE TRIGGER publications_go AFTER DELETE ON publications REFERENCING OLD TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION everystall.publications_move();
"""


def upgrade() -> None:
    op.add_column(
        "publications", sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    op.create_index(
        "publications_that_wait",
        "publications",
        ["user_id", sa.text("updated_at DESC")],
        postgresql_where=sa.text("needs_you IS NOT NULL"),
    )
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_FUNCTIONS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
    op.execute(_TRIGGERS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_NO_MORE)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
