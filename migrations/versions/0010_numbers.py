"""What the figures of docs/benchmarks.md asked for: a lease taken in one statement, indexes of what is read
most and none of what is not, and a clean-up in batches of what is over.

`take_lease` takes the place of `connection_owner`. `clean` takes events and receipts over from `expire`,
which keeps what has to go at its hour; how old is old comes from the settings, the policies hold the floor.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

#: Another index of the table begins with user_id.
SECOND_TO_ANOTHER = (
    "api_tokens",
    "connections",
    "events",
    "jobs",
    "listing_automation_results",
    "listing_photos",
    "listings",
    "publications",
    "user_keys",
    "vault_audit",
    "webhook_deliveries",
    "webhook_endpoints",
)


def upgrade() -> None:
    _indexes()
    _policies()
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


def _indexes() -> None:
    for table in SECOND_TO_ANOTHER:
        op.drop_index(f"ix_{table}_user_id", table)
    # with the seller, whom row-level security asks for: else a second index is read for all of the seller's
    op.drop_index("publications_due", "publications")
    op.create_index(
        "publications_due",
        "publications",
        ["user_id", "connection_id", "wanted", "asked_at"],
        postgresql_where=sa.text("unsettled OR looking"),
    )
    # by the id too, as the lists are ordered: what came in one transaction has one time
    for table in ("listings", "jobs"):
        op.drop_index(f"{table}_by_user", table)
        op.create_index(
            f"{table}_by_user", table, ["user_id", sa.text("created_at DESC"), sa.text("id DESC")]
        )
    op.create_index(
        "jobs_by_status", "jobs", ["user_id", "status", sa.text("created_at DESC"), sa.text("id DESC")]
    )
    op.create_index(
        "jobs_by_end", "jobs", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    # an account's posts of the last day, among all that it ever had
    op.create_index(
        "attempts_by_armed",
        "attempts",
        ["connection_id", sa.text("armed_at DESC")],
        postgresql_where=sa.text("armed_at IS NOT NULL"),
    )
    # next to none are there: a worker deletes what it finishes
    op.execute("""
        CREATE INDEX everystall_jobs_over ON procrastinate.procrastinate_jobs (id)
            WHERE status IN ('succeeded', 'failed', 'cancelled', 'aborted')
    """)


def _policies() -> None:
    op.execute("""
        GRANT SELECT (lease_fence), UPDATE (lease_fence, lease_holder, lease_until, next_check_at)
            ON connections TO everystall_engine;
        CREATE POLICY engine_lease ON connections FOR UPDATE TO everystall_engine USING (true);

        DROP POLICY engine_read ON events;
        DROP POLICY engine_expire ON events;
        -- a message is tried for a day: an event has to be there so long
        CREATE POLICY engine_read ON events FOR SELECT TO everystall_engine
            USING (created_at < now() - interval '2 days');
        CREATE POLICY engine_clean ON events FOR DELETE TO everystall_engine
            USING (created_at < now() - interval '2 days');

        GRANT SELECT (id, finished_at), DELETE ON jobs TO everystall_engine;
        CREATE POLICY engine_read ON jobs FOR SELECT TO everystall_engine
            USING (finished_at < now() - interval '7 days');
        CREATE POLICY engine_clean ON jobs FOR DELETE TO everystall_engine
            USING (finished_at < now() - interval '7 days');
    """)


FUNCTIONS = """
DROP FUNCTION everystall.connection_owner(uuid);
CREATE FUNCTION everystall.take_lease(
    id uuid, holder text, seconds double precision, place text, OUT user_id uuid, OUT fence bigint
)
RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.connections c SET lease_fence = c.lease_fence + 1, lease_holder = $2,
        lease_until = clock_timestamp() + make_interval(secs => $3)
    WHERE c.id = $1 AND (c.lease_until IS NULL OR c.lease_until < clock_timestamp())
      AND (c.place IS NULL OR c.place = $4)
    RETURNING c.user_id, c.lease_fence INTO user_id, fence;
    IF FOUND THEN
        RETURN NEXT;
    ELSE
        UPDATE public.connections c SET next_check_at = least(c.next_check_at, c.lease_until)
        WHERE c.id = $1 AND c.lease_until >= clock_timestamp();
    END IF;
END
$$;
COMMENT ON FUNCTION everystall.take_lease IS
    'The right to visit an account, and as whom; nothing while another visit has it (it is due again at its '
    'end), or where it is to be visited from another place.';

CREATE FUNCTION everystall.clean(event_days integer, job_days integer, most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH events AS (
        DELETE FROM public.events e WHERE e.id IN (
            SELECT o.id FROM public.events o WHERE o.created_at < now() - make_interval(days => $1)
            ORDER BY o.created_at LIMIT $3)
        RETURNING e.id
    ), jobs AS (
        DELETE FROM public.jobs j WHERE j.id IN (
            SELECT o.id FROM public.jobs o WHERE o.finished_at < now() - make_interval(days => $2)
            ORDER BY o.finished_at LIMIT $3)
        RETURNING j.id
    ), receipts AS (
        DELETE FROM public.webhook_receipts r WHERE r.id IN (
            SELECT o.id FROM public.webhook_receipts o WHERE o.received_at < now() - interval '1 day'
            ORDER BY o.received_at LIMIT $3)
        RETURNING r.id
    )
    SELECT greatest((SELECT count(*) FROM events), (SELECT count(*) FROM jobs),
                    (SELECT count(*) FROM receipts))
$$;
COMMENT ON FUNCTION everystall.clean IS
    'Deletes a batch of each that is over: events and their deliveries, jobs and their pairs, receipts; how '
    'many of the most frequent. Publications and attempts stay.';

CREATE OR REPLACE FUNCTION everystall.expire() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM public.user_marketplace_sessions s WHERE s.expires_at <= now() RETURNING s.id),
    codes AS (DELETE FROM public.pairings p WHERE p.expires_at <= now()),
    invitations AS (DELETE FROM public.invitations i WHERE i.expires_at <= now()),
    browsers AS (DELETE FROM public.api_tokens t WHERE t.kind = 'browser' AND t.expires_at <= now()),
    networks AS (
        DELETE FROM public.log_in_networks n WHERE n.since < now() - interval '1 day'
          AND (n.good_at IS NULL OR n.good_at < now() - interval '60 days')
    )
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""
