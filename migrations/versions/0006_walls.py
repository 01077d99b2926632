"""What the attacks of docs/security.md found missing in the database: indexes under three foreign keys, and a
limit to what the queue takes.

A wake-up names an account and a lane. Arguments that are no object stay with procrastinate's worker for
ever, and long ones are written to its log whole: neither gets in.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # deleting an account, a listing or a publication looks here for what points at it
    op.create_index("publications_by_connection", "publications", ["user_id", "connection_id"])
    op.create_index("jobs_by_listing", "jobs", ["user_id", "listing_id"])
    op.create_index("results_by_publication", "listing_automation_results", ["user_id", "publication_id"])
    op.execute("RESET ROLE")
    op.execute("""
        ALTER TABLE procrastinate.procrastinate_jobs ADD CONSTRAINT everystall_small_args
            CHECK (jsonb_typeof(args) = 'object' AND octet_length(args::text) <= 4096)
    """)
    op.execute("SET ROLE everystall_owner")
