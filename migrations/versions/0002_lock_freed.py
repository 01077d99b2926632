"""Who waits for an account's lock is called when it comes free.

procrastinate sends a notification when a job is inserted, and none when the one that held its lock ends or is
handed back: a wake-up that came while its account was visited would wait for the next poll, up to a second.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


#: By queueing_lock, which has an index of what waits; the lock has none. A wake-up whose transaction ends in
#: the very moment may be missed: then the poll finds it.
LOCK_FREED = """
CREATE FUNCTION procrastinate.everystall_lock_freed() RETURNS trigger
LANGUAGE plpgsql SET search_path = procrastinate, pg_catalog, pg_temp
AS $$
DECLARE
    lane text;
BEGIN
    FOR lane IN SELECT j.queue_name FROM procrastinate_jobs j WHERE j.status = 'todo'
                AND j.queueing_lock IN (OLD.lock || ':urgent', OLD.lock || ':visits')
    LOOP
        PERFORM pg_notify('procrastinate_queue_v1#' || lane, '{"type": "job_inserted", "job_id": 0}');
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER everystall_lock_freed_by_end AFTER DELETE ON procrastinate.procrastinate_jobs
    FOR EACH ROW WHEN (OLD.lock IS NOT NULL AND OLD.status = 'doing')
    EXECUTE FUNCTION procrastinate.everystall_lock_freed();
CREATE TRIGGER everystall_lock_freed_by_retry AFTER UPDATE OF status ON procrastinate.procrastinate_jobs
    FOR EACH ROW WHEN (OLD.lock IS NOT NULL AND OLD.status = 'doing' AND NEW.status <> 'doing')
    EXECUTE FUNCTION procrastinate.everystall_lock_freed();
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(LOCK_FREED)
