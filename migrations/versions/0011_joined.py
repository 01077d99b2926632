"""Who joined by an invitation: its inviter sees them for as long as their account lives, and no longer.

Until now an invitation kept the address of whoever had used it, whatever became of the account, and lost it
when its seven days were over.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invitations", sa.Column("joined_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(None, "invitations", "users", ["joined_id"], ["id"], ondelete="CASCADE")
    op.create_index("ix_invitations_joined_id", "invitations", ["joined_id"])
    op.execute("""
        -- in this transaction, whose locks keep everybody else out: even the owner sees no seller's row
        ALTER TABLE invitations NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
        UPDATE invitations i SET joined_id = u.id FROM users u
        WHERE i.used_at IS NOT NULL AND i.user_id IS NOT NULL AND u.email = i.email;
        DELETE FROM invitations WHERE used_at IS NOT NULL AND joined_id IS NULL;
        ALTER TABLE invitations FORCE ROW LEVEL SECURITY;
        ALTER TABLE users FORCE ROW LEVEL SECURITY;
    """)
    op.create_check_constraint("joined_when_used", "invitations", "joined_id IS NULL OR used_at IS NOT NULL")
    op.execute("""
        GRANT UPDATE (joined_id) ON invitations TO everystall_engine;
        DROP POLICY engine_expire ON invitations;
        CREATE POLICY engine_expire ON invitations FOR DELETE TO everystall_engine
            USING (expires_at <= now() AND joined_id IS NULL);
    """)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


FUNCTIONS = """
CREATE OR REPLACE FUNCTION everystall.accept_invitation(
    token_hash bytea, email text, password_hash text
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invited record;
    made uuid;
BEGIN
    -- two at once take turns: the second finds it used, or an owner there
    PERFORM pg_advisory_xact_lock(hashtextextended('everystall.accept_invitation', 0));
    UPDATE public.invitations i SET used_at = now()
    WHERE i.token_hash = accept_invitation.token_hash AND i.used_at IS NULL AND i.expires_at > now()
      AND (i.user_id IS NOT NULL
           OR NOT EXISTS (SELECT FROM public.users u WHERE u.password_hash IS NOT NULL))
    RETURNING i.id, coalesce(i.email, accept_invitation.email) AS email, i.role, i.user_id IS NULL AS first
        INTO invited;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- One whom `everystall token create` made has no password yet, and data perhaps: at the first start
    -- whoever has the terminal may take it over; no invitation of another person's may.
    INSERT INTO public.users AS u (email, password_hash, role)
    VALUES (invited.email, accept_invitation.password_hash, invited.role)
    ON CONFLICT ON CONSTRAINT users_email_key DO UPDATE
        SET password_hash = excluded.password_hash, role = excluded.role
        WHERE u.password_hash IS NULL AND invited.first
    RETURNING u.id INTO made;
    IF made IS NULL THEN
        RAISE EXCEPTION 'this address has an account already' USING ERRCODE = 'unique_violation';
    END IF;
    -- the first start's is nobody's to see, and expires
    UPDATE public.invitations i SET joined_id = made WHERE i.id = invited.id AND NOT invited.first;
    RETURN made;
END
$$;
"""
