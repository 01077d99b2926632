"""Tries at one-time codes are counted per account, for as long as none is right. Nobody joins by an identity
provider, and nobody but the first start's link makes an account, before there is an owner. And where errors
are reported to is for who may write the environment alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

#: An owner who can sign in; before there is one, the first start's link makes one, and nobody else comes in.
_OWNER = "EXISTS (SELECT FROM public.users o WHERE o.role = 'owner' AND o.password_hash IS NOT NULL)"

_FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION everystall.first_owner(token_hash bytea) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH made AS (
        INSERT INTO public.invitations (token_hash, role, expires_at)
        SELECT $1, 'owner', now() + interval '1 day' WHERE NOT {_OWNER}
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM made)
$$;
COMMENT ON FUNCTION everystall.first_owner IS
    'The invitation of the first start; false once there is an owner who can sign in.';

CREATE OR REPLACE FUNCTION everystall.look_at_invitation(
    token_hash bytea, OUT email text, OUT role text, OUT inviter text
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.email, i.role, u.email FROM public.invitations i LEFT JOIN public.users u ON u.id = i.user_id
    WHERE i.token_hash = $1 AND i.used_at IS NULL AND i.expires_at > now()
      AND (i.user_id IS NOT NULL OR NOT {_OWNER})
$$;

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
      AND (i.user_id IS NOT NULL OR NOT {_OWNER})
    RETURNING i.id, coalesce(i.email, accept_invitation.email) AS email, i.role, i.user_id IS NULL AS first
        INTO invited;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- One whom `everystall token create` made has no password yet, and data perhaps: at the first start
    -- whoever has the terminal may take it over; no invitation of another person's may. Nor is an account
    -- taken over to which somebody signs in by a provider: they would be the owner.
    INSERT INTO public.users AS u (email, password_hash, role)
    VALUES (invited.email, accept_invitation.password_hash, invited.role)
    ON CONFLICT ON CONSTRAINT users_email_key DO UPDATE
        SET password_hash = excluded.password_hash, role = excluded.role
        WHERE u.password_hash IS NULL AND invited.first
          AND NOT EXISTS (SELECT FROM public.identities i WHERE i.user_id = u.id)
    RETURNING u.id INTO made;
    IF made IS NULL THEN
        RAISE EXCEPTION 'this address has an account already' USING ERRCODE = 'unique_violation';
    END IF;
    -- the first start's is nobody's to see, and expires
    UPDATE public.invitations i SET joined_id = made WHERE i.id = invited.id AND NOT invited.first;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION everystall.join_by_identity(issuer text, subject text, email text, domains text[])
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invited record;
    made uuid;
BEGIN
    -- takes turns with everystall.accept_invitation
    PERFORM pg_advisory_xact_lock(hashtextextended('everystall.accept_invitation', 0));
    -- who is there before the owner could choose a password, and there would never be one
    IF NOT {_OWNER} THEN
        RETURN NULL;
    END IF;
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
    'domain that is let in, or there is no owner yet.';

DELETE FROM everystall.chosen_settings WHERE name = 'sentry_dsn';
"""


def upgrade() -> None:
    op.add_column("totps", sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("totps", sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(_FUNCTIONS.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
