"""Alembic's entry. Only `everystall.db.migrate` runs it: it opens the connection (DATABASE_ADMIN_URL), makes
the roles and commits; here is nothing but the run itself."""

from alembic import context

from everystall.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=False,  # one transaction around everything: the caller's
)
context.run_migrations()
