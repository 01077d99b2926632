"""Tries at a password are counted per account and network: guessing from elsewhere keeps nobody out.

Ten in 15 minutes from one network; a hundred from all those together from which nobody signed in to the
account before. The networks from which somebody did (kept for 60 days) have their own ten, whatever others
do.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.create_table(
        "log_in_networks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.TEXT(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("since", TIME, server_default=NOW, nullable=False),
        sa.Column("good_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "network"),
    )
    op.execute(f"""
        ALTER TABLE log_in_networks ENABLE ROW LEVEL SECURITY;
        ALTER TABLE log_in_networks FORCE ROW LEVEL SECURITY;
        GRANT SELECT, UPDATE (tries, good_at) ON log_in_networks TO authenticated;
        CREATE POLICY own ON log_in_networks TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        GRANT SELECT, INSERT (user_id, network, tries, since), UPDATE (tries, since), DELETE
            ON log_in_networks TO everystall_engine;
        CREATE POLICY engine_read ON log_in_networks FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_add ON log_in_networks FOR INSERT TO everystall_engine
            WITH CHECK (good_at IS NULL);
        CREATE POLICY engine_count ON log_in_networks FOR UPDATE TO everystall_engine USING (true);
        CREATE POLICY engine_expire ON log_in_networks FOR DELETE TO everystall_engine
            USING (since < now() - interval '1 day');
    """)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


FUNCTIONS = """
DROP FUNCTION everystall.begin_log_in(text);
CREATE FUNCTION everystall.begin_log_in(
    email text, network text, OUT user_id uuid, OUT password_hash text
)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH who AS (
        SELECT u.id, u.password_hash FROM public.users u
        LEFT JOIN public.log_in_networks n ON n.user_id = u.id AND n.network = $2
        WHERE u.email = $1 AND u.password_hash IS NOT NULL
          -- who will be refused below leaves no row either
          AND (n.good_at IS NOT NULL OR u.log_in_tries < 100 OR u.log_in_since IS NULL
               OR u.log_in_since <= now() - interval '15 minutes')
    ), near AS (
        INSERT INTO public.log_in_networks AS n (user_id, network, tries, since)
        SELECT w.id, $2, 1, now() FROM who w
        ON CONFLICT ON CONSTRAINT log_in_networks_pkey DO UPDATE SET
            tries = CASE WHEN n.since > now() - interval '15 minutes' THEN n.tries + 1 ELSE 1 END,
            since = CASE WHEN n.since > now() - interval '15 minutes' THEN n.since ELSE now() END
        WHERE n.tries < 10 OR n.since <= now() - interval '15 minutes'
        RETURNING n.user_id, n.good_at
    ), strange AS (
        UPDATE public.users u SET
            log_in_tries = CASE WHEN u.log_in_since > now() - interval '15 minutes'
                                THEN u.log_in_tries + 1 ELSE 1 END,
            log_in_since = CASE WHEN u.log_in_since > now() - interval '15 minutes'
                                THEN u.log_in_since ELSE now() END
        FROM near
        WHERE u.id = near.user_id AND near.good_at IS NULL
          AND (u.log_in_tries < 100 OR u.log_in_since IS NULL
               OR u.log_in_since <= now() - interval '15 minutes')
        RETURNING u.id
    )
    SELECT w.id, w.password_hash FROM who w JOIN near ON near.user_id = w.id
    WHERE near.good_at IS NOT NULL OR EXISTS (SELECT FROM strange)
$$;
COMMENT ON FUNCTION everystall.begin_log_in IS
    'Counts a try and tells what to compare with; nothing for nobody, after 10 tries in 15 minutes from this '
    'network, or 100 from all those from which nobody signed in before.';

CREATE OR REPLACE FUNCTION everystall.expire() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM public.user_marketplace_sessions s WHERE s.expires_at <= now() RETURNING s.id),
    codes AS (DELETE FROM public.pairings p WHERE p.expires_at <= now()),
    invitations AS (DELETE FROM public.invitations i WHERE i.expires_at <= now()),
    browsers AS (DELETE FROM public.api_tokens t WHERE t.kind = 'browser' AND t.expires_at <= now()),
    events AS (DELETE FROM public.events e WHERE e.created_at < now() - interval '30 days'),
    receipts AS (DELETE FROM public.webhook_receipts r WHERE r.received_at < now() - interval '1 day'),
    networks AS (
        DELETE FROM public.log_in_networks n WHERE n.since < now() - interval '1 day'
          AND (n.good_at IS NULL OR n.good_at < now() - interval '60 days')
    )
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""
