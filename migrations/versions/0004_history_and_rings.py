"""A job outlives its listing; a wish that crosses a take-down stays open; a foreign key ring is refused.

`unsettled` also says yes while a listing is wanted live again and its take-down may be under way: somebody
has to look which of the two came first. `everystall.vault_keys` holds, per ring key, a value derived from it
that tells nothing of it: a process with another ring under the same names is refused at its start.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNSETTLED = """(wanted = 'live' AND (put <> 'live' OR put_revision IS DISTINCT FROM wanted_revision
OR state = 'ending')) OR (wanted = 'ended' AND put = 'live')"""


def upgrade() -> None:
    _crossed_wishes()
    _history()
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(RINGS)
    op.execute("SET ROLE everystall_owner")


def _crossed_wishes() -> None:
    op.drop_index("publications_due", "publications")
    op.drop_index("publications_due_at", "publications")
    op.drop_column("publications", "unsettled")
    op.add_column(
        "publications",
        sa.Column("unsettled", sa.Boolean(), sa.Computed(UNSETTLED, persisted=True), nullable=False),
    )
    op.execute("GRANT SELECT (unsettled) ON publications TO everystall_engine")
    op.create_index(
        "publications_due",
        "publications",
        ["connection_id", "wanted", "asked_at"],
        postgresql_where=sa.text("unsettled OR looking"),
    )
    op.create_index(
        "publications_due_at",
        "publications",
        [sa.text("next_try_at NULLS FIRST")],
        postgresql_where=sa.text("looking OR (unsettled AND needs_you IS NULL)"),
    )


def _history() -> None:
    op.add_column("jobs", sa.Column("request_hash", sa.TEXT(), nullable=True))
    op.alter_column("jobs", "listing_id", nullable=True)
    op.alter_column("listing_automation_results", "publication_id", nullable=True)
    op.execute("""
        ALTER TABLE jobs DROP CONSTRAINT jobs_user_id_listing_id_fkey,
            ADD CONSTRAINT jobs_user_id_listing_id_fkey FOREIGN KEY (user_id, listing_id)
                REFERENCES listings (user_id, id) ON DELETE SET NULL (listing_id);
        ALTER TABLE listing_automation_results
            DROP CONSTRAINT listing_automation_results_user_id_publication_id_fkey,
            ADD CONSTRAINT listing_automation_results_user_id_publication_id_fkey
                FOREIGN KEY (user_id, publication_id)
                REFERENCES publications (user_id, id) ON DELETE SET NULL (publication_id);
    """)


RINGS = """
CREATE TABLE everystall.vault_keys (kid text PRIMARY KEY, check_value bytea NOT NULL);
CREATE FUNCTION everystall.know_key(kid text, check_value bytea) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO everystall.vault_keys AS k (kid, check_value) VALUES ($1, $2) ON CONFLICT DO NOTHING;
    SELECT k.check_value = $2 FROM everystall.vault_keys k WHERE k.kid = $1;
$$;
COMMENT ON FUNCTION everystall.know_key IS
    'Is this the ring key that this database knows under that name? The first one to come is.';
REVOKE ALL ON FUNCTION everystall.know_key FROM PUBLIC;
"""
