"""An owner's secret setting (a mail server's address, a model's key) is kept sealed, as an object that only
the key ring opens; who changed what says of it that it was set, and no more."""

from __future__ import annotations

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

_CHOOSE = """
CREATE OR REPLACE FUNCTION everystall.choose_setting(by uuid, name text, value jsonb) RETURNS void
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
    INSERT INTO everystall.setting_changes (name, before, after, by) VALUES (
        $2, CASE WHEN jsonb_typeof(was) = 'object' THEN '"set"' ELSE was END,
        CASE WHEN jsonb_typeof($3) = 'object' THEN '"set"' ELSE $3 END, $1
    );
END
$$;
"""


def upgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_CHOOSE)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
