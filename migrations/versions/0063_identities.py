"""Who somebody is at an identity provider (OpenID Connect).

An account is found by the provider's name and its own number for the person, and by nothing else. Who is new
joins by an invitation for the address that the provider has verified, or because its domain is let in.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"

_FUNCTIONS = """
CREATE FUNCTION everystall.identity_of(issuer text, subject text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT i.user_id FROM public.identities i WHERE i.issuer = $1 AND i.subject = $2 $$;
COMMENT ON FUNCTION everystall.identity_of IS 'Whose account it signs in to; null: nobody''s.';

CREATE FUNCTION everystall.join_by_identity(issuer text, subject text, email text, domains text[])
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invited record;
    made uuid;
BEGIN
    -- takes turns with everystall.accept_invitation
    PERFORM pg_advisory_xact_lock(hashtextextended('everystall.accept_invitation', 0));
    -- an address that has an account is never taken over
    IF EXISTS (SELECT FROM public.users u WHERE u.email = $3) THEN
        RAISE EXCEPTION 'this address has an account already' USING ERRCODE = 'unique_violation';
    END IF;
    UPDATE public.invitations i SET used_at = now()
    WHERE i.id = (SELECT o.id FROM public.invitations o
                  WHERE o.email = $3 AND o.user_id IS NOT NULL AND o.used_at IS NULL AND o.expires_at > now()
                  ORDER BY o.expires_at DESC, o.id LIMIT 1)
    RETURNING i.id, i.role INTO invited;
    IF NOT FOUND AND NOT split_part($3, '@', 2) = ANY ($4) THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.users (email, role) VALUES ($3, coalesce(invited.role, 'seller'))
    RETURNING id INTO made;
    INSERT INTO public.identities (user_id, issuer, subject, email) VALUES (made, $1, $2, $3);
    UPDATE public.invitations i SET joined_id = made WHERE i.id = invited.id;
    RETURN made;
END
$$;
COMMENT ON FUNCTION everystall.join_by_identity IS
    'Makes the account of somebody new, whose verified address this is; null: neither invited nor of a '
    'domain that is let in.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("issuer", sa.TEXT(), nullable=False),
        sa.Column("subject", sa.TEXT(), nullable=False),
        sa.Column("email", sa.TEXT(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("issuer", "subject", name="identities_once"),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    op.execute(f"""
        ALTER TABLE identities ENABLE ROW LEVEL SECURITY;
        ALTER TABLE identities FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT, UPDATE (email, last_used_at), DELETE ON identities TO authenticated;
        CREATE POLICY own ON identities TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        GRANT SELECT (user_id, issuer, subject), INSERT (user_id, issuer, subject, email)
            ON identities TO everystall_engine;
        CREATE POLICY engine_read ON identities FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_join ON identities FOR INSERT TO everystall_engine WITH CHECK (true);
    """)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(_FUNCTIONS.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    for name in ("join_by_identity", "identity_of"):
        op.execute(f"DROP FUNCTION everystall.{name}")
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
    op.drop_table("identities")
