"""What a restore must change in what it restored: the rows are of then, the marketplaces of now.

What was posted since is live there and unknown here; what waited then to be posted may long be live. So
nothing that would be posted stays due, everybody's posting is paused, and what is in doubt is looked at or
asked, as ever (docs/backup.md goes through the cases). Never makes anything due that was not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

#: Those that would be posted, and have no click behind them that nobody looked after.
_TAKEN_BACK: Final = """
CREATE TEMPORARY TABLE taken_back ON COMMIT DROP AS
SELECT p.id, p.put = 'nothing' AND NOT EXISTS (
           SELECT FROM attempts a WHERE a.publication_id = p.id AND a.armed_at IS NOT NULL) AS untouched
FROM publications p WHERE p.wanted = 'live' AND p.put <> 'live' AND NOT p.looking
"""

_STATEMENTS: Final = (
    # a post that waited: its job says so for ever, and the listing is not on that account, as far as we know;
    # without a row it can be linked with what comes in from there
    """UPDATE listing_automation_results r SET state = 'cancelled', needs_you = NULL, finished_at = now()
       FROM taken_back t WHERE r.publication_id = t.id AND r.finished_at IS NULL""",
    """UPDATE jobs j SET status = 'cancelled', finished_at = now()
       WHERE j.finished_at IS NULL AND NOT EXISTS (SELECT FROM listing_automation_results r
           WHERE r.user_id = j.user_id AND r.job_id = j.id AND r.finished_at IS NULL)""",
    "DELETE FROM publications p USING taken_back t WHERE p.id = t.id AND t.untouched",
    """UPDATE publications p SET wanted = 'ended', relist = NULL, needs_you = NULL, next_try_at = NULL,
           finished_at = now(),
           state = CASE WHEN p.put IN ('ended', 'sold') THEN p.put ELSE 'cancelled' END
       FROM taken_back t WHERE p.id = t.id""",
    """UPDATE attempts SET outcome = 'draft_only', finished_at = now()
       WHERE outcome IS NULL AND armed_at IS NULL
         AND publication_id IN (SELECT id FROM taken_back)""",
    # nor is an old try looked for: what would be found is wanted ended, and may be what was posted since
    """UPDATE attempts SET next_look_at = NULL
       WHERE outcome = 'unresolved' AND publication_id IN (SELECT id FROM taken_back)""",
    # live, and about to go down to be posted anew: it stays. Where a click took it down, its page says so
    """UPDATE publications SET relist = NULL, state = CASE WHEN looking THEN state ELSE 'live' END
       WHERE relist IS NOT NULL AND wanted = 'live' AND put = 'live'""",
    # "Post again" was said then, not now
    "UPDATE attempts SET repost_asked_at = NULL WHERE outcome IS NULL",
    # what a rule took down stays down until the seller says otherwise
    "DELETE FROM blind_ends",
    "UPDATE take_downs SET settled_at = now() WHERE settled_at IS NULL",
    # a grace time begins when we begin to look
    "UPDATE connections SET blind_since = now(), blind_ended_at = NULL WHERE blind_since IS NOT NULL",
    "UPDATE connections SET lease_holder = NULL, lease_until = NULL, next_check_at = now()",
    # they were told, or are not to be told by now
    """UPDATE webhook_deliveries SET status = 'failed', claimed_until = NULL,
           last_error = 'not sent: it waited when the backup was made that was restored'
       WHERE status = 'waiting'""",
    """UPDATE notice_deliveries SET status = 'failed', claimed_until = NULL,
           last_error = 'not sent: it waited when the backup was made that was restored'
       WHERE status = 'waiting'""",
    # nobody sits there any more
    """UPDATE sittings SET ended_at = now(), outcome = 'failed', address = NULL, ticket_hash = NULL
       WHERE ended_at IS NULL""",
    # signed out, used up or taken back since: nobody can say
    "DELETE FROM api_tokens WHERE kind = 'browser'",
    "DELETE FROM invitations WHERE used_at IS NULL",
    "DELETE FROM pairings",
    "DELETE FROM recovery_codes",
)


#: Of what is known of the marketplaces' pages the newer stands: what an owner rejected since stays rejected.
_HEALED: Final = (
    """INSERT INTO everystall.looks AS h SELECT * FROM pg_temp.known_looks
       ON CONFLICT (marketplace, target, layout) DO UPDATE
       SET look = excluded.look, seen_at = excluded.seen_at WHERE excluded.seen_at > h.seen_at""",
    """INSERT INTO everystall.locators AS h SELECT * FROM pg_temp.known_locators
       ON CONFLICT (marketplace, target, layout, locator) DO UPDATE
       SET state = excluded.state, verified = excluded.verified, changed_at = excluded.changed_at
       WHERE excluded.changed_at > h.changed_at""",
)


def keep_healed(connection: Connection) -> None:
    """What is here now of it, before the tables go; for `settle`."""
    for name in ("looks", "locators"):
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": f"everystall.{name}"}).scalar_one():
            kept = f"CREATE TEMPORARY TABLE known_{name} ON COMMIT DROP AS SELECT * FROM everystall.{name}"
            connection.execute(text(kept))


#: What signs somebody in: table → what it is known by, and since when it is. There is one second factor each.
_WAYS: Final = {
    "passkeys": ("id", "created_at"),
    "identities": ("id", "created_at"),
    "totps": ("user_id", "made_at"),
    "api_tokens": ("token_hash", "created_at"),
}
#: Removed here since the backup: it stays so. What an earlier restore took away was not removed by anybody.
_REMOVED: Final = """
DELETE FROM {table} w USING pg_temp.known_users u
WHERE w.user_id = u.id AND (u.restored_to IS NULL OR w.{since} < u.restored_to)
  AND NOT EXISTS (SELECT FROM pg_temp.known_{table} k WHERE k.known = w.{known})
"""
#: What came back nobody removed, as far as this machine knows; whether its seller did, they alone can say.
_TOLD: Final = """
WITH back AS (
    SELECT u.id AS user_id, concat_ws(', ', (SELECT 'A second factor' FROM totps t WHERE t.user_id = u.id),
        (SELECT 'passkeys: ' || string_agg(p.name, ', ' ORDER BY p.created_at, p.name, p.id) FROM passkeys p
         WHERE p.user_id = u.id HAVING count(*) > 0),
        (SELECT 'at a provider: ' || string_agg(coalesce(i.email, i.issuer), ', ' ORDER BY i.created_at, i.id)
         FROM identities i WHERE i.user_id = u.id HAVING count(*) > 0)) AS about
    FROM users u
), written AS (
    INSERT INTO sign_in_changes (user_id, what, about)
    SELECT user_id, 'restored', about FROM back WHERE about <> '' RETURNING user_id, about
), happened AS (
    INSERT INTO events (user_id, type, data)
    SELECT user_id, 'account.sign_in_changed', jsonb_build_object('what', 'restored', 'about', about)
    FROM written RETURNING user_id, id
)
INSERT INTO notices (user_id, event_id) SELECT user_id, id FROM happened
"""


def keep_ways(connection: Connection) -> None:
    """By what people who are here now sign in, before the tables go; for `settle`."""
    kept = "CREATE TEMPORARY TABLE known_{} ON COMMIT DROP AS SELECT {} FROM public.{}"
    if connection.execute(text("SELECT to_regclass('public.users')")).scalar_one() is None:
        return
    restored = "CAST(to_jsonb(users) ->> 'restored_to' AS timestamptz) AS restored_to"
    connection.execute(text(kept.format("users", f"id, {restored}", "users")))
    for table, (known, _) in _WAYS.items():
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": f"public.{table}"}).scalar_one():
            connection.execute(text(kept.format(table, f"{known} AS known", table)))


def settle(connection: Connection, made: datetime, fence: int, revoked: list[bytes]) -> None:
    """`made`: when the archive was. Of what was here before: the highest `fence` of a lease, so that no
    worker of then can write, and the hashes of tokens that were `revoked`, so that none lives again."""
    connection.execute(text(_TAKEN_BACK))
    for statement in _STATEMENTS:
        connection.execute(text(statement))
    if connection.execute(text("SELECT to_regclass('pg_temp.known_locators')")).scalar_one():
        for statement in _HEALED:
            connection.execute(text(statement))
    for table, (known, since) in _WAYS.items():
        if connection.execute(
            text("SELECT to_regclass(:name)"), {"name": f"pg_temp.known_{table}"}
        ).scalar_one():
            connection.execute(text(_REMOVED.format(table=table, known=known, since=since)))
    connection.execute(text(_TOLD))
    connection.execute(
        text("UPDATE connections SET lease_fence = greatest(lease_fence, :fence) + 1"), {"fence": fence}
    )
    connection.execute(
        text(
            "UPDATE api_tokens SET revoked_at = now() WHERE revoked_at IS NULL AND token_hash = ANY(:hashes)"
        ),
        {"hashes": revoked},
    )
    connection.execute(
        text("UPDATE users SET paused_at = coalesce(paused_at, now()), restored_to = :made"), {"made": made}
    )
