"""What whoever runs an installation reads of it, and sets in it: how posts went, what failed, what waits, who
works, and the settings that may change while everything runs.

None of it is a seller's: the tables hold counts, machines and settings, and belong to the engine; the
functions give sums. Who may see them is the caller's to ask (web/deps.py), and of a change once more in
`choose_setting`.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_READS = """
GRANT SELECT (marketplace, state, created_at, started_at, finished_at) ON listing_automation_results
    TO everystall_engine;
CREATE POLICY engine_read ON listing_automation_results FOR SELECT TO everystall_engine
    USING (finished_at > now() - interval '8 days');
GRANT SELECT (asked_at) ON publications TO everystall_engine;
GRANT SELECT (marketplace) ON connections TO everystall_engine;
"""

_FUNCTIONS = """
CREATE FUNCTION everystall.post_numbers(
    hours integer, OUT marketplace text, OUT live bigint, OUT stopped bigint, OUT median double precision,
    OUT p95 double precision, OUT at_work double precision
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.marketplace, count(*) FILTER (WHERE r.state = 'live'),
           count(*) FILTER (WHERE r.state NOT IN ('live', 'ended', 'sold', 'cancelled')),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY r.took) FILTER (WHERE r.state = 'live'),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY r.took) FILTER (WHERE r.state = 'live'),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY r.worked) FILTER (WHERE r.state = 'live')
    FROM (SELECT o.marketplace, o.state, extract(epoch FROM o.finished_at - o.created_at) AS took,
                 extract(epoch FROM o.finished_at - o.started_at) AS worked
          FROM public.listing_automation_results o
          WHERE o.finished_at > now() - make_interval(hours => $1)) r
    GROUP BY r.marketplace
$$;
COMMENT ON FUNCTION everystall.post_numbers IS
    'Of the posts that ended lately, at most 8 days ago: how many are live and how many stopped for their '
    'seller, seconds from the wish to live (half, 95 in 100) and at work.';

CREATE FUNCTION everystall.post_history(
    hours integer, step integer, OUT at timestamptz, OUT marketplace text, OUT live bigint, OUT stopped bigint
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT date_bin(make_interval(hours => $2), r.finished_at, timestamptz '2026-01-01 00:00Z'),
           r.marketplace, count(*) FILTER (WHERE r.state = 'live'),
           count(*) FILTER (WHERE r.state NOT IN ('live', 'ended', 'sold', 'cancelled'))
    FROM public.listing_automation_results r
    WHERE r.finished_at > now() - make_interval(hours => $1) GROUP BY 1, 2
$$;
COMMENT ON FUNCTION everystall.post_history IS 'The same counts, by so many hours.';

CREATE TABLE everystall.failures (
    hour timestamptz, marketplace text, step text, code text, number bigint NOT NULL DEFAULT 1,
    last_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (hour, marketplace, step, code)
);

CREATE FUNCTION everystall.note_failure(marketplace text, step text, code text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM everystall.failures f WHERE f.hour < now() - interval '31 days';
    INSERT INTO everystall.failures AS f (hour, marketplace, step, code)
    VALUES (date_trunc('hour', now()), $1, $2, $3)
    ON CONFLICT (hour, marketplace, step, code) DO UPDATE SET number = f.number + 1, last_at = now()
$$;
COMMENT ON FUNCTION everystall.note_failure IS
    'Counts that a step failed, by its code; whose it was is not written down.';

CREATE FUNCTION everystall.failure_numbers(
    hours integer, OUT marketplace text, OUT code text, OUT steps text[], OUT number bigint,
    OUT last_at timestamptz
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.marketplace, f.code, array_agg(DISTINCT f.step ORDER BY f.step), sum(f.number)::bigint,
           max(f.last_at)
    FROM everystall.failures f WHERE f.hour > now() - make_interval(hours => $1)
    GROUP BY f.marketplace, f.code ORDER BY 4 DESC, 1, 2
$$;
COMMENT ON FUNCTION everystall.failure_numbers IS 'Failed steps of the last hours, by marketplace and code.';

CREATE FUNCTION everystall.queue_numbers(OUT due bigint, OUT urgent bigint, OUT oldest timestamptz)
RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*), count(*) FILTER (WHERE d.ends), min(d.since) FROM (
        SELECT p.wanted = 'ended' AND p.put = 'live' AS ends, coalesce(p.next_try_at, p.asked_at) AS since
        FROM public.publications p
        JOIN public.connections c ON c.id = p.connection_id JOIN public.users u ON u.id = p.user_id
        WHERE (p.looking OR (p.unsettled AND (p.needs_you IS NULL OR (p.put = 'live'
                  AND p.needs_you ->> 'reason' IN ('sold_twice', 'sale_cancelled')))))
          AND (p.next_try_at IS NULL OR p.next_try_at <= now()) AND c.needs_you IS NULL
          AND (p.wanted = 'ended' OR p.looking OR (c.paused_at IS NULL AND u.paused_at IS NULL))
        LIMIT 100000) d
$$;
COMMENT ON FUNCTION everystall.queue_numbers IS
    'Publications with something to do now (100,000 at most are counted), those to be taken down among them, '
    'and since when the oldest is due.';

CREATE FUNCTION everystall.account_numbers(OUT marketplace text, OUT accounts bigint, OUT waiting bigint)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.marketplace, count(*), count(*) FILTER (WHERE c.needs_you IS NOT NULL)
    FROM public.connections c GROUP BY c.marketplace
$$;
COMMENT ON FUNCTION everystall.account_numbers IS 'Accounts, and those that wait for their seller.';

CREATE TABLE everystall.workers (
    id uuid PRIMARY KEY, host text NOT NULL, pid integer NOT NULL, place text, version text NOT NULL,
    slots integer NOT NULL, running integer NOT NULL, started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION everystall.stand_worker(
    id uuid, host text, pid integer, place text, version text, slots integer, running integer
)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM everystall.workers w WHERE w.seen_at < now() - interval '1 day';
    INSERT INTO everystall.workers AS w (id, host, pid, place, version, slots, running)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (id) DO UPDATE SET running = $7, seen_at = now()
$$;
COMMENT ON FUNCTION everystall.stand_worker IS 'A worker is alive, and has so many visits under way.';

CREATE FUNCTION everystall.leave_worker(id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ DELETE FROM everystall.workers w WHERE w.id = $1 $$;
COMMENT ON FUNCTION everystall.leave_worker IS 'A worker ended as it should.';

CREATE FUNCTION everystall.standing_workers(
    OUT host text, OUT pid integer, OUT place text, OUT version text, OUT slots integer, OUT running integer,
    OUT started_at timestamptz, OUT seen_at timestamptz
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w.host, w.pid, w.place, w.version, w.slots, w.running, w.started_at, w.seen_at
    FROM everystall.workers w ORDER BY w.host, w.started_at
$$;
COMMENT ON FUNCTION everystall.standing_workers IS
    'The workers; one that was killed stands for a day with the last time that it was heard of.';

CREATE TABLE everystall.chosen_settings (name text PRIMARY KEY, value jsonb NOT NULL);
CREATE TABLE everystall.setting_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, before jsonb, after jsonb,
    by uuid NOT NULL, at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION everystall.chosen_settings() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(jsonb_object_agg(c.name, c.value), '{}') FROM everystall.chosen_settings c $$;
COMMENT ON FUNCTION everystall.chosen_settings IS 'What the owner chose, by name.';

CREATE FUNCTION everystall.choose_setting(by uuid, name text, value jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was jsonb;
BEGIN
    IF NOT EXISTS (SELECT FROM public.users u WHERE u.id = $1 AND u.role = 'owner') THEN
        RAISE EXCEPTION 'only an owner changes settings' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('everystall.choose_setting'));
    SELECT c.value INTO was FROM everystall.chosen_settings c WHERE c.name = $2;
    IF was IS NOT DISTINCT FROM $3 THEN
        RETURN;
    END IF;
    IF $3 IS NULL THEN
        DELETE FROM everystall.chosen_settings c WHERE c.name = $2;
    ELSE
        INSERT INTO everystall.chosen_settings AS c (name, value) VALUES ($2, $3)
        ON CONFLICT ON CONSTRAINT chosen_settings_pkey DO UPDATE SET value = $3;
    END IF;
    INSERT INTO everystall.setting_changes (name, before, after, by) VALUES ($2, was, $3, $1);
END
$$;
COMMENT ON FUNCTION everystall.choose_setting IS
    'An owner sets it, or takes it back (null); who, when, and what it was are written down.';

CREATE FUNCTION everystall.setting_changes(
    most integer, OUT name text, OUT before jsonb, OUT after jsonb, OUT email text, OUT at timestamptz
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name, s.before, s.after, u.email, s.at FROM everystall.setting_changes s
    LEFT JOIN public.users u ON u.id = s.by ORDER BY s.id DESC LIMIT $1
$$;
COMMENT ON FUNCTION everystall.setting_changes IS 'Who changed which setting when, the latest first.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def upgrade() -> None:
    op.create_index(
        "results_by_end",
        "listing_automation_results",
        ["finished_at"],
        postgresql_where=text("finished_at IS NOT NULL"),
    )
    op.execute(_READS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(_FUNCTIONS.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
