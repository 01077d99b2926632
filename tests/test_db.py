"""The pool of connections: a restarted server costs nobody an error."""

from __future__ import annotations

from sqlalchemy import text

WHO = text("SELECT pg_backend_pid()")


async def _pid(db):
    async with db.as_app() as session:
        return (await session.execute(WHO)).scalar_one()


async def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(db, admin):
    before = await _pid(db)
    await admin.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
    assert await _pid(db) != before
