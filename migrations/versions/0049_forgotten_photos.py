"""Which photos are being deleted, as nobody has them, and which were just now: so that no transaction is open
while the store is asked (content/photos.py)."""

from __future__ import annotations

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

#: Who names photos holds the lock with others until the commit; who begins to delete one has it alone.
_FORGETTING = """
CREATE TABLE everystall.forgotten_photos (
    sha256 text PRIMARY KEY, begun_at timestamptz NOT NULL, done_at timestamptz
);
CREATE INDEX forgotten_photos_by_age ON everystall.forgotten_photos (begun_at);

CREATE FUNCTION everystall.begin_forgetting(hash text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    begun timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('everystall.photos'));
    DELETE FROM everystall.forgotten_photos f WHERE f.begun_at < clock_timestamp() - interval '1 hour';
    IF EXISTS (SELECT FROM everystall.unnamed_photos(ARRAY[$1])) THEN
        INSERT INTO everystall.forgotten_photos AS f VALUES ($1, clock_timestamp())
        ON CONFLICT (sha256) DO UPDATE SET begun_at = excluded.begun_at, done_at = NULL
        WHERE f.done_at IS NOT NULL OR f.begun_at < clock_timestamp() - interval '5 minutes'
        RETURNING f.begun_at INTO begun;
    END IF;
    RETURN begun;
END
$$;
COMMENT ON FUNCTION everystall.begin_forgetting IS
    'The photo may be deleted from the store, from now on; null: somebody has it, or is at it already.';

CREATE FUNCTION everystall.end_forgetting(hash text, begun timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE everystall.forgotten_photos SET done_at = clock_timestamp() WHERE sha256 = $1 AND begun_at = $2
$$;
COMMENT ON FUNCTION everystall.end_forgetting IS 'The photo is deleted.';

CREATE FUNCTION everystall.hold_photos(hashes text[], since timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('everystall.photos'));
    RETURN QUERY SELECT h FROM unnest($1) h
    WHERE $2 < clock_timestamp() - interval '30 minutes' OR EXISTS (
        SELECT FROM everystall.forgotten_photos f WHERE f.sha256 = h
        AND (f.done_at >= $2 OR f.done_at IS NULL AND f.begun_at > clock_timestamp() - interval '5 minutes'));
END
$$;
COMMENT ON FUNCTION everystall.hold_photos IS
    'Which of these photos are being deleted, or were since then; no other is before the transaction ends. '
    'All, where that is longer ago than is known.';

REVOKE ALL ON FUNCTION everystall.begin_forgetting, everystall.end_forgetting, everystall.hold_photos
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION everystall.hold_photos TO authenticated;
"""


def upgrade() -> None:
    op.execute(f"RESET ROLE; SET ROLE everystall_engine; {_FORGETTING} SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("""
        RESET ROLE; SET ROLE everystall_engine;
        DROP FUNCTION everystall.hold_photos, everystall.end_forgetting, everystall.begin_forgetting;
        DROP TABLE everystall.forgotten_photos;
        SET ROLE everystall_owner
    """)
