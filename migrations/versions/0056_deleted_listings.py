"""What a seller deleted, as it was: it may be restored for thirty days, then it goes with its photos.

No table of the living is other by it: a deleted listing is none, wherever listings are sought, brought in,
compared or exported.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.create_table(
        "deleted_listings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("deleted_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("described", postgresql.JSONB(), nullable=False),
        sa.Column(
            "photos",
            postgresql.JSONB(),
            sa.Computed("jsonb_path_query_array(described, '$.listing_photos[*].sha256')", persisted=True),
            nullable=False,
        ),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "deleted_listings_newest",
        "deleted_listings",
        ["user_id", sa.text("deleted_at DESC"), sa.text("id DESC")],
    )
    op.create_index("deleted_listings_by_age", "deleted_listings", ["deleted_at"])
    op.create_index("deleted_listings_by_photo", "deleted_listings", ["photos"], postgresql_using="gin")
    op.execute(f"""
        ALTER TABLE deleted_listings ENABLE ROW LEVEL SECURITY;
        ALTER TABLE deleted_listings FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT, DELETE ON deleted_listings TO authenticated;
        CREATE POLICY own ON deleted_listings TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        GRANT SELECT (id, deleted_at, photos), DELETE ON deleted_listings TO everystall_engine;
        CREATE POLICY engine_read ON deleted_listings FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_clean ON deleted_listings FOR DELETE TO everystall_engine
            USING (deleted_at < now() - interval '31 days');
    """)
    op.execute(f"RESET ROLE; SET ROLE everystall_engine; {_FUNCTIONS} SET ROLE everystall_owner")


#: Restored until 30 days, its photos kept for twelve hours more, the row until 31 days: so no photo goes of
#: what is just being restored, and none stays that nobody was asked about.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION everystall.unnamed_photos(hashes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h FROM unnest($1) h WHERE NOT EXISTS (SELECT FROM public.listing_photos p WHERE p.sha256 = h)
      AND NOT EXISTS (SELECT FROM public.deleted_listings d
                      WHERE d.photos ? h AND d.deleted_at > now() - interval '30 days 12 hours')
    EXCEPT SELECT photo ->> 'sha256'
    FROM public.import_rows r, jsonb_array_elements(r.originals) photo
    WHERE r.outcome IS NULL OR r.to_fetch <> '{}'
    EXCEPT SELECT jsonb_array_elements_text(m.undo_photos) FROM public.matches m WHERE m.state = 'linked'
$$;

CREATE OR REPLACE FUNCTION everystall.spent_photos(job_days integer) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- what everystall.clean deletes next, and what is an hour younger: so none goes that was not asked for
    WITH imports AS (
        SELECT o.user_id, o.id FROM public.imports o
        WHERE o.finished_at < now() - make_interval(days => $1) + interval '1 hour'
        ORDER BY o.finished_at LIMIT 2
    ), deleted AS (
        SELECT o.photos FROM public.deleted_listings o
        WHERE o.deleted_at < now() - interval '30 days 12 hours' ORDER BY o.deleted_at LIMIT 100
    ), came AS (
        SELECT photo ->> 'sha256' AS hash
        FROM imports i JOIN public.import_rows r ON r.user_id = i.user_id AND r.import_id = i.id
        CROSS JOIN LATERAL jsonb_array_elements(r.originals) photo
        UNION SELECT jsonb_array_elements_text(d.photos) FROM deleted d
    )
    SELECT everystall.unnamed_photos(c.hashes) FROM (SELECT array_agg(hash) AS hashes FROM came) c
    WHERE c.hashes IS NOT NULL
$$;
COMMENT ON FUNCTION everystall.spent_photos IS
    'Photos of the next imports and deleted listings to go that nobody has; asked before they are.';

CREATE OR REPLACE FUNCTION everystall.clean(event_days integer, job_days integer, most integer) RETURNS bigint
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
    ), imports AS (
        -- a few at once: each may have 20,000 rows
        DELETE FROM public.imports i WHERE i.id IN (
            SELECT o.id FROM public.imports o WHERE o.finished_at < now() - make_interval(days => $2)
            ORDER BY o.finished_at LIMIT 2)
        RETURNING i.id
    ), receipts AS (
        DELETE FROM public.webhook_receipts r WHERE r.id IN (
            SELECT o.id FROM public.webhook_receipts o WHERE o.received_at < now() - interval '1 day'
            ORDER BY o.received_at LIMIT $3)
        RETURNING r.id
    ), deleted AS (
        -- no more than spent_photos asks about
        DELETE FROM public.deleted_listings d WHERE d.id IN (
            SELECT o.id FROM public.deleted_listings o WHERE o.deleted_at < now() - interval '31 days'
            ORDER BY o.deleted_at LIMIT 100)
        RETURNING d.id
    )
    SELECT greatest((SELECT count(*) FROM events), (SELECT count(*) FROM jobs),
                    (SELECT count(*) FROM imports), (SELECT count(*) FROM receipts),
                    (SELECT count(*) FROM deleted))
$$;
COMMENT ON FUNCTION everystall.clean IS
    'Deletes a batch of each that is over: events and their deliveries, jobs and their pairs, imports and '
    'their rows, receipts, listings that were deleted a month ago; how many of the most frequent. Listings, '
    'publications and attempts stay.';
"""
