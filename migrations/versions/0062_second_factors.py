"""A second factor, recovery codes, passkeys, and what was changed in how somebody signs in.

A sign-in that has begun (the password was right, a passkey is asked for, an identity provider has the
browser) is nobody's yet: its row belongs to the engine, is known by the hash of a random word, and is gone
once it was taken or is over.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0060"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"

_BEGUN = """
CREATE TABLE everystall.begun_sign_ins (
    hash bytea PRIMARY KEY, what jsonb NOT NULL, until timestamptz NOT NULL
);
CREATE INDEX begun_sign_ins_until ON everystall.begun_sign_ins (until);

CREATE FUNCTION everystall.begin_sign_in(hash bytea, what jsonb, seconds integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM everystall.begun_sign_ins b WHERE b.until <= now();
    INSERT INTO everystall.begun_sign_ins (hash, what, until)
    VALUES ($1, $2, now() + $3 * interval '1 second');
$$;
COMMENT ON FUNCTION everystall.begin_sign_in IS 'Keeps what a sign-in needs to go on, for so long.';

CREATE FUNCTION everystall.look_at_sign_in(hash bytea) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT b.what FROM everystall.begun_sign_ins b WHERE b.hash = $1 AND b.until > now() $$;
COMMENT ON FUNCTION everystall.look_at_sign_in IS 'What was kept; null: unknown, taken, over.';

CREATE FUNCTION everystall.take_sign_in(hash bytea) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ DELETE FROM everystall.begun_sign_ins b WHERE b.hash = $1 AND b.until > now() RETURNING b.what $$;
COMMENT ON FUNCTION everystall.take_sign_in IS 'The same, for one caller only: it is gone then.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
"""


def _user_id() -> sa.Column[object]:
    return sa.Column("user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "totps",
        _user_id(),
        sa.Column("dek_version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("made_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "recovery_codes",
        _user_id(),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "code_hash"),
    )
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        _user_id(),
        sa.Column("name", sa.TEXT(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "credential_id", name="passkeys_once"),
    )
    op.create_table(
        "sign_in_changes",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        _user_id(),
        sa.Column("at", TIME, server_default=NOW, nullable=False),
        sa.Column("what", sa.TEXT(), nullable=False),
        sa.Column("about", sa.TEXT(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sign_in_changes_by_time", "sign_in_changes", ["user_id", "at"])
    for table in ("totps", "recovery_codes", "passkeys", "sign_in_changes"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    for table in ("totps", "recovery_codes", "passkeys"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO authenticated")
        op.execute(f"CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE})")
    op.execute(f"""
        GRANT SELECT, INSERT ON sign_in_changes TO authenticated;
        CREATE POLICY own_read ON sign_in_changes FOR SELECT TO authenticated USING ({MINE});
        CREATE POLICY own_write ON sign_in_changes FOR INSERT TO authenticated WITH CHECK ({MINE});
    """)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(_BEGUN.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


def downgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    for name in ("begin_sign_in", "look_at_sign_in", "take_sign_in"):
        op.execute(f"DROP FUNCTION everystall.{name}")
    op.execute("DROP TABLE everystall.begun_sign_ins")
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")
    for table in ("sign_in_changes", "passkeys", "recovery_codes", "totps"):
        op.drop_table(table)
