"""The pool of connections: a restarted server costs nobody an error, one just used is not asked first."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from everystall import db as db_module

WHO = text("SELECT pg_backend_pid()")


async def _pid(db):
    async with db.as_app() as session:
        return (await session.execute(WHO)).scalar_one()


@pytest.mark.parametrize("rested", [False, True])
async def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(
    db, admin, monkeypatch, rested
):
    if rested:
        monkeypatch.setattr(db_module, "REST_SECONDS", 0.0)
    before = await _pid(db)
    await admin.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
    assert await _pid(db) != before


async def test_a_connection_is_asked_whether_it_is_there_only_after_a_rest(db, monkeypatch):
    asked = []
    ping = type(db.engine.dialect).do_ping
    monkeypatch.setattr(
        type(db.engine.dialect), "do_ping", lambda self, one: asked.append(one) or ping(self, one)
    )
    assert await _pid(db) == await _pid(db)
    before = len(asked)
    monkeypatch.setattr(db_module, "REST_SECONDS", 600.0)
    assert await _pid(db) == await _pid(db)
    assert len(asked) == before
    monkeypatch.setattr(db_module, "REST_SECONDS", 0.0)
    await _pid(db)
    assert len(asked) == before + 1
