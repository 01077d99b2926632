"""What the marketplaces' pages looked like when a step worked, and the locators that were found since.

Nothing in it is a seller's: what was written into a page is cut out before (browser/heal.py). The tables
belong to the engine. Workers read them whole, remember looks and note how a healed locator did; the
installation's owner sees them, rejects, and takes in those of another installation. The web and the workers
log in as one role: who is the owner is asked in `reject_locator` and `take_locators`, as in `choose_setting`.
"""

from __future__ import annotations

from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

_HEALED = """
CREATE TABLE everystall.looks (
    marketplace text, target text, layout text, look jsonb NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (marketplace, target, layout)
);
CREATE TABLE everystall.locators (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    marketplace text NOT NULL, target text NOT NULL, layout text NOT NULL, locator text NOT NULL,
    state text NOT NULL CHECK (state IN ('candidate', 'promoted', 'demoted', 'rejected')),
    verified integer NOT NULL DEFAULT 0, by text NOT NULL CHECK (by IN ('likeness', 'model', 'file')),
    before jsonb NOT NULL DEFAULT '{}', after jsonb NOT NULL DEFAULT '{}', picture bytea,
    found_at timestamptz NOT NULL DEFAULT now(), changed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (marketplace, target, layout, locator)
);

CREATE FUNCTION everystall.known_targets(marketplace text, OUT looks jsonb, OUT locators jsonb)
RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT coalesce(jsonb_agg(jsonb_build_array(l.target, l.layout, l.look)), '[]')
            FROM everystall.looks l WHERE l.marketplace = $1),
           (SELECT coalesce(jsonb_agg(jsonb_build_array(h.target, h.layout, h.locator, h.state, h.by)
                                      ORDER BY h.changed_at DESC), '[]')
            FROM everystall.locators h WHERE h.marketplace = $1)
$$;
COMMENT ON FUNCTION everystall.known_targets IS
    'What a marketplace''s targets looked like, and the healed locators, the latest first.';

CREATE FUNCTION everystall.remember_look(marketplace text, target text, layout text, look jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO everystall.looks AS l (marketplace, target, layout, look) VALUES ($1, $2, $3, $4)
    ON CONFLICT ON CONSTRAINT looks_pkey DO UPDATE SET look = $4, seen_at = now()
$$;
COMMENT ON FUNCTION everystall.remember_look IS 'What a target looked like when its own locators found it.';

CREATE FUNCTION everystall.note_heal(
    marketplace text, target text, layout text, locator text, worked boolean, by text, before jsonb,
    after jsonb, picture bytea
)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO everystall.locators AS h
        (marketplace, target, layout, locator, state, verified, by, before, after, picture)
    VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN 'candidate' ELSE 'demoted' END, $5::int, $6, $7, $8, $9)
    ON CONFLICT ON CONSTRAINT locators_marketplace_target_layout_locator_key DO UPDATE SET
        state = CASE WHEN h.state IN ('rejected', 'demoted') THEN h.state
                     WHEN NOT $5 THEN 'demoted'
                     WHEN h.verified + 1 >= 3 THEN 'promoted'
                     ELSE h.state END,
        verified = CASE WHEN h.state IN ('rejected', 'demoted') THEN h.verified
                        WHEN NOT $5 THEN 0
                        ELSE least(h.verified + 1, 3) END,
        picture = coalesce(h.picture, $9),
        before = CASE WHEN h.before = '{}' THEN $7 ELSE h.before END,
        after = CASE WHEN h.after = '{}' THEN $8 ELSE h.after END,
        changed_at = now()
$$;
COMMENT ON FUNCTION everystall.note_heal IS
    'A run with this locator was verified, or the locator was wrong. Three verified runs promote it; one '
    'failure demotes it for good; what the owner rejected stays rejected.';

CREATE FUNCTION everystall.healed_locators(
    OUT id uuid, OUT marketplace text, OUT target text, OUT layout text, OUT locator text, OUT state text,
    OUT verified integer, OUT by text, OUT before jsonb, OUT after jsonb, OUT pictured boolean,
    OUT found_at timestamptz, OUT changed_at timestamptz
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.id, h.marketplace, h.target, h.layout, h.locator, h.state, h.verified, h.by, h.before, h.after,
           h.picture IS NOT NULL, h.found_at, h.changed_at
    FROM everystall.locators h ORDER BY h.changed_at DESC, h.id LIMIT 500
$$;
COMMENT ON FUNCTION everystall.healed_locators IS 'All of them, for the owner; the latest first.';

CREATE FUNCTION everystall.healed_picture(id uuid) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT h.picture FROM everystall.locators h WHERE h.id = $1 $$;
COMMENT ON FUNCTION everystall.healed_picture IS 'Where on the page it was found, as JPEG.';

CREATE FUNCTION everystall.reject_locator(by uuid, id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.users u WHERE u.id = $1 AND u.role = 'owner') THEN
        RAISE EXCEPTION 'only an owner rejects a locator' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE everystall.locators h SET state = 'rejected', verified = 0, changed_at = now() WHERE h.id = $2;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION everystall.reject_locator IS 'It is never used again. False: there is no such one.';

CREATE FUNCTION everystall.take_locators(by uuid, locators jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken integer;
BEGIN
    IF NOT EXISTS (SELECT FROM public.users u WHERE u.id = $1 AND u.role = 'owner') THEN
        RAISE EXCEPTION 'only an owner takes locators in' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO everystall.locators (marketplace, target, layout, locator, state, by)
    SELECT o ->> 'marketplace', o ->> 'target', o ->> 'layout', o ->> 'locator', 'candidate', 'file'
    FROM jsonb_array_elements($2) o ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION everystall.take_locators IS
    'From a file, as candidates; one that is known here already stays as it is. How many are new.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(_HEALED.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    for name in ("known_targets", "remember_look", "note_heal", "healed_locators", "healed_picture",
                 "reject_locator", "take_locators"):  # fmt: skip
        op.execute(f"DROP FUNCTION everystall.{name}")
    op.execute("DROP TABLE everystall.locators, everystall.looks")
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
