"""A ring of which this database knows no key is another installation's, or one made by mistake: a key from
SESSION_ENCRYPTION_KEY is named after itself, so it never meets another under its name."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_KNOWS = """
CREATE FUNCTION everystall.knows_ring(kids text[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('everystall.vault_keys'));  -- of two first rings one is
    RETURN NOT EXISTS (SELECT FROM everystall.vault_keys)
        OR EXISTS (SELECT FROM everystall.vault_keys k WHERE k.kid = ANY ($1));
END
$$;
COMMENT ON FUNCTION everystall.knows_ring IS
    'Does this database know one of these ring keys, or none at all yet?';
REVOKE ALL ON FUNCTION everystall.knows_ring FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_KNOWS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
