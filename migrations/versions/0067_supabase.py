"""Who comes with a token of a Supabase project's Auth.

Their account has the number that they have there (`auth.users.id`), so that Supabase's own `auth.uid()` is
ours.
"""

from __future__ import annotations

from alembic import op

revision = "0067"
down_revision = "0064"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE FUNCTION everystall.sign_in_from_supabase(id uuid, email text, owner boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known text;
BEGIN
    SELECT u.role INTO known FROM public.users u WHERE u.id = $1;
    IF known = 'owner' OR (FOUND AND NOT $3) THEN
        RETURN true; -- all but the first time
    END IF;
    -- takes turns with everystall.accept_invitation
    PERFORM pg_advisory_xact_lock(hashtextextended('everystall.accept_invitation', 0));
    IF EXISTS (SELECT FROM public.users u WHERE u.id = $1) THEN
        UPDATE public.users u SET role = 'owner' WHERE u.id = $1 AND $3;
        RETURN true;
    END IF;
    -- an address that has an account is never taken over
    IF $2 IS NULL OR EXISTS (SELECT FROM public.users u WHERE u.email = $2) THEN
        RETURN false;
    END IF;
    INSERT INTO public.users (id, email, role) VALUES ($1, $2, CASE WHEN $3 THEN 'owner' ELSE 'seller' END);
    RETURN true;
END
$$;
COMMENT ON FUNCTION everystall.sign_in_from_supabase IS
    'Makes the account of somebody whom Supabase knows, the first time; false: the address is another''s.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute("GRANT INSERT (id) ON users TO everystall_engine")
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(_FUNCTION.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute("DROP FUNCTION everystall.sign_in_from_supabase")
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
    op.execute("REVOKE INSERT (id) ON users FROM everystall_engine")
