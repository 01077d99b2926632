"""People who sign in: passwords, browsers' sessions, invitations, pairing codes.

A browser's session, a paired extension and an API token are one thing, a row of api_tokens with a kind: found
by its hash, listed on the account page, revoked there. What has to be answered before a seller is known is in
nine more listed functions; tries are counted by the same UPDATE that reads what is tried.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("gen_random_uuid()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    _tables()
    _policies()
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


def _tables() -> None:
    op.add_column("users", sa.Column("password_hash", sa.TEXT(), nullable=True))
    op.add_column("users", sa.Column("role", sa.TEXT(), server_default="seller", nullable=False))
    op.add_column(
        "users", sa.Column("log_in_tries", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("users", sa.Column("log_in_since", TIME, nullable=True))
    op.create_check_constraint("role_known", "users", "role IN ('owner', 'seller')")
    op.add_column("api_tokens", sa.Column("kind", sa.TEXT(), server_default="api", nullable=False))
    op.add_column("api_tokens", sa.Column("user_agent", sa.TEXT(), nullable=True))
    op.create_check_constraint("kind_known", "api_tokens", "kind IN ('api', 'browser', 'extension')")
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("email", sa.TEXT(), nullable=True),
        sa.Column("role", sa.TEXT(), server_default="seller", nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'seller')", name="role_known"),
        sa.CheckConstraint("(user_id IS NULL) = (email IS NULL)", name="first_or_addressed"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_invitations_user_id", "invitations", ["user_id"])
    op.create_table(
        "pairings",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("handle", sa.TEXT(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("ticket_hash", sa.LargeBinary(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("looked_at", TIME, nullable=True),
        sa.Column("accepted_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("ticket_hash"),
    )
    op.create_index("ix_pairings_user_id", "pairings", ["user_id"])
    op.create_index(
        "pairings_one_open",
        "pairings",
        ["handle"],
        unique=True,
        postgresql_where=sa.text("looked_at IS NULL"),
    )
    op.create_index("pairings_by_expiry", "pairings", ["expires_at"])
    # the same photo may be two sellers' (everystall.unnamed_photos)
    op.create_index("listing_photos_by_hash", "listing_photos", ["sha256"])


def _policies() -> None:
    for table in ("invitations", "pairings"):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        -- nobody makes himself the owner
        REVOKE UPDATE ON users FROM authenticated;
        GRANT UPDATE (paused_at, password_hash, log_in_tries, log_in_since), DELETE ON users TO authenticated;

        GRANT SELECT (email, password_hash, role, log_in_tries, log_in_since),
              INSERT (email, password_hash, role),
              UPDATE (password_hash, role, log_in_tries, log_in_since) ON users TO everystall_engine;
        CREATE POLICY engine_count ON users FOR UPDATE TO everystall_engine USING (true);
        CREATE POLICY engine_invite ON users FOR INSERT TO everystall_engine WITH CHECK (true);

        GRANT SELECT (kind, created_at), INSERT (user_id, name, token_hash, scopes, kind), DELETE
            ON api_tokens TO everystall_engine;
        CREATE POLICY engine_pair ON api_tokens FOR INSERT TO everystall_engine
            WITH CHECK (kind = 'extension');
        CREATE POLICY engine_expire ON api_tokens FOR DELETE TO everystall_engine
            USING (kind = 'browser' AND expires_at <= now());

        GRANT SELECT, INSERT (token_hash, role, expires_at), UPDATE (used_at), DELETE
            ON invitations TO everystall_engine;
        CREATE POLICY engine_read ON invitations FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_first ON invitations FOR INSERT TO everystall_engine
            WITH CHECK (user_id IS NULL);
        CREATE POLICY engine_use ON invitations FOR UPDATE TO everystall_engine USING (true);
        CREATE POLICY engine_expire ON invitations FOR DELETE TO everystall_engine
            USING (expires_at <= now());

        GRANT SELECT (sha256) ON listing_photos TO everystall_engine;
        CREATE POLICY engine_read ON listing_photos FOR SELECT TO everystall_engine USING (true);

        GRANT SELECT, UPDATE (tries, looked_at, ticket_hash, accepted_at), DELETE
            ON pairings TO everystall_engine;
        CREATE POLICY engine_read ON pairings FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_try ON pairings FOR UPDATE TO everystall_engine USING (true);
        CREATE POLICY engine_expire ON pairings FOR DELETE TO everystall_engine USING (expires_at <= now());
    """)


FUNCTIONS = """
DROP FUNCTION everystall.sign_in(bytea);
CREATE FUNCTION everystall.sign_in(
    token_hash bytea, OUT user_id uuid, OUT token_id uuid, OUT scopes text[], OUT kind text
)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- stamped once a minute at most: many requests of one token shall not wait for each other's row lock
    WITH found AS (
        SELECT t.id, t.user_id, t.scopes, t.kind, t.last_used_at FROM public.api_tokens t
        WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
          AND (t.kind <> 'browser' OR coalesce(t.last_used_at, t.created_at) > now() - interval '14 days')
    ), stamped AS (
        UPDATE public.api_tokens t SET last_used_at = now() FROM found f
        WHERE t.id = f.id AND (f.last_used_at IS NULL OR f.last_used_at < now() - interval '1 minute')
    )
    SELECT f.user_id, f.id, f.scopes, f.kind FROM found f
$$;
COMMENT ON FUNCTION everystall.sign_in IS
    'Whose token this is, if it is good; a browser that did not come for 14 days is signed out.';

CREATE FUNCTION everystall.begin_log_in(email text, OUT user_id uuid, OUT password_hash text)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE public.users u SET
        log_in_tries = CASE WHEN u.log_in_since > now() - interval '15 minutes'
                            THEN u.log_in_tries + 1 ELSE 1 END,
        log_in_since = CASE WHEN u.log_in_since > now() - interval '15 minutes'
                            THEN u.log_in_since ELSE now() END
    WHERE u.email = $1 AND u.password_hash IS NOT NULL
      AND (u.log_in_tries < 10 OR u.log_in_since IS NULL OR u.log_in_since <= now() - interval '15 minutes')
    RETURNING u.id, u.password_hash
$$;
COMMENT ON FUNCTION everystall.begin_log_in IS
    'Counts a try and tells what to compare with; nothing after 10 tries in 15 minutes, or for nobody.';

CREATE FUNCTION everystall.first_owner(token_hash bytea) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH made AS (
        INSERT INTO public.invitations (token_hash, role, expires_at)
        SELECT $1, 'owner', now() + interval '1 day'
        WHERE NOT EXISTS (SELECT FROM public.users u WHERE u.password_hash IS NOT NULL)
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM made)
$$;
COMMENT ON FUNCTION everystall.first_owner IS
    'The invitation of the first start; false once anybody can sign in.';

CREATE FUNCTION everystall.look_at_invitation(
    token_hash bytea, OUT email text, OUT role text, OUT inviter text
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.email, i.role, u.email FROM public.invitations i LEFT JOIN public.users u ON u.id = i.user_id
    WHERE i.token_hash = $1 AND i.used_at IS NULL AND i.expires_at > now()
      AND (i.user_id IS NOT NULL
           OR NOT EXISTS (SELECT FROM public.users p WHERE p.password_hash IS NOT NULL))
$$;
COMMENT ON FUNCTION everystall.look_at_invitation IS 'Whom an invitation is for, while it is good.';

CREATE FUNCTION everystall.accept_invitation(token_hash bytea, email text, password_hash text) RETURNS uuid
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
    RETURNING coalesce(i.email, accept_invitation.email) AS email, i.role, i.user_id IS NULL AS first
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
    RETURN made;
END
$$;
COMMENT ON FUNCTION everystall.accept_invitation IS
    'Makes the account that an invitation is for, once; null if it is not good (any more).';

CREATE FUNCTION everystall.look_at_pairing(
    handle text, secret_hash bytea, ticket_hash bytea, OUT email text, OUT expires_at timestamptz
)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH tried AS (
        UPDATE public.pairings p SET
            tries = p.tries + 1,
            looked_at = CASE WHEN p.secret_hash = $2 THEN now() END,
            ticket_hash = CASE WHEN p.secret_hash = $2 THEN $3 END
        WHERE p.handle = $1 AND p.looked_at IS NULL AND p.expires_at > now() AND p.tries < 5
        RETURNING p.user_id, p.looked_at, p.expires_at
    )
    SELECT u.email, t.expires_at FROM tried t JOIN public.users u ON u.id = t.user_id
    WHERE t.looked_at IS NOT NULL
$$;
COMMENT ON FUNCTION everystall.look_at_pairing IS
    'Spends a pairing code for a ticket; whose account, until when. Five tries per code, right or wrong.';

CREATE FUNCTION everystall.accept_pairing(ticket_hash bytea, token_hash bytea, name text) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH accepted AS (
        UPDATE public.pairings p SET accepted_at = now()
        WHERE p.ticket_hash = $1 AND p.accepted_at IS NULL AND p.expires_at > now()
        RETURNING p.user_id
    )
    INSERT INTO public.api_tokens (user_id, name, token_hash, scopes, kind)
    SELECT a.user_id, $3, $2, ARRAY['sessions:write'], 'extension' FROM accepted a
    RETURNING user_id
$$;
COMMENT ON FUNCTION everystall.accept_pairing IS
    'Makes the extension''s token for the ticket of a spent code, once; null if it is not good.';

CREATE FUNCTION everystall.is_last_owner() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    caller constant uuid := (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
BEGIN
    -- two owners who leave at once take turns: the second is the last
    PERFORM pg_advisory_xact_lock(hashtextextended('everystall.accept_invitation', 0));
    RETURN EXISTS (SELECT FROM public.users u WHERE u.id = caller AND u.role = 'owner')
       AND EXISTS (SELECT FROM public.users u WHERE u.id <> caller)
       AND NOT EXISTS (SELECT FROM public.users u WHERE u.id <> caller AND u.role = 'owner'
                       AND u.password_hash IS NOT NULL);
END
$$;
COMMENT ON FUNCTION everystall.is_last_owner IS
    'Whether the others would have nobody who invites, were this one to go. Locks until the commit.';

CREATE FUNCTION everystall.unnamed_photos(hashes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h FROM unnest($1) h WHERE NOT EXISTS (SELECT FROM public.listing_photos p WHERE p.sha256 = h)
$$;
COMMENT ON FUNCTION everystall.unnamed_photos IS
    'Which of these photos no listing of anybody has; asked after an account was deleted.';

CREATE OR REPLACE FUNCTION everystall.expire() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM public.user_marketplace_sessions s WHERE s.expires_at <= now() RETURNING s.id),
    codes AS (DELETE FROM public.pairings p WHERE p.expires_at <= now()),
    invitations AS (DELETE FROM public.invitations i WHERE i.expires_at <= now()),
    browsers AS (DELETE FROM public.api_tokens t WHERE t.kind = 'browser' AND t.expires_at <= now())
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION everystall.expire IS 'Deletes what has expired; how many sessions at marketplaces.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
GRANT EXECUTE ON FUNCTION everystall.is_last_owner TO authenticated;
"""
