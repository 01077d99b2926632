"""A healed locator may be an agent's find (browser/agent.py): other than what a model named, it was used
before it was looked for."""

from __future__ import annotations

from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        RESET ROLE;
        SET ROLE everystall_engine;
        ALTER TABLE everystall.locators DROP CONSTRAINT locators_by_check,
            ADD CONSTRAINT locators_by_check CHECK (by IN ('likeness', 'model', 'agent', 'file'));
        RESET ROLE;
        SET ROLE everystall_owner;
    """)


def downgrade() -> None:
    op.execute("""
        RESET ROLE;
        SET ROLE everystall_engine;
        UPDATE everystall.locators SET by = 'model' WHERE by = 'agent';
        ALTER TABLE everystall.locators DROP CONSTRAINT locators_by_check,
            ADD CONSTRAINT locators_by_check CHECK (by IN ('likeness', 'model', 'file'));
        RESET ROLE;
        SET ROLE everystall_owner;
    """)
