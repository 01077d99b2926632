"""What a job came to is found by its seller first, as row-level security asks: beside an index that began
with the job PostgreSQL read all of a seller's."""

from __future__ import annotations

from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _once("user_id", "job_id", "publication_id")


def downgrade() -> None:
    _once("job_id", "publication_id")


def _once(*columns: str) -> None:
    op.drop_constraint("results_once", "listing_automation_results")
    op.create_unique_constraint("results_once", "listing_automation_results", list(columns))
