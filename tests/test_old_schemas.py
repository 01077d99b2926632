"""Every schema that ever was comes forward with its rows: one database goes through all revisions, stops at
each, and is given two sellers there, with a row in every table of that revision.

What is put in fits the revision by its own catalog, so a new migration is gone through without a line here;
what one changes in rows on purpose stands in CHANGED and GIVEN, and anything else that changed is a fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text

from everystall import db
from everystall.backup import archive
from everystall.db import Database, driver_url
from tests.filling import PAIR, Schema, fill, rows

ANYTHING: Final = object()
#: What a migration changes in a column that was there: (revision it was put in at, value then) → value now.
CHANGED: Final[dict[str, Callable[[str, Any], Any]]] = {
    "publications.needs_you": lambda put, then: None if put < "0008" else then,
    "publications.version": lambda put, then: then + 1 if put < "0043" else then,
    "connections.next_check_at": lambda put, then: ANYTHING if put < "0015" and then is None else then,
    "connections.next_list_at": lambda put, then: ANYTHING if put < "0017" else then,
}
#: What a new column says of a row from before it, other than its default: (revision, whose) → value.
GIVEN: Final[dict[str, Callable[[str, str], Any]]] = {
    "sales.told_by": lambda put, who: "page",
    "sales.counted": lambda put, who: 1 if who == "alice" else 0,  # bob's is the later of a double sale
    "sales.category": lambda put, who: "books",
    "sales.cost_cents": lambda put, who: 450 if put >= "0027" else None,
    "publications.end_by_delete": lambda put, who: True,
    "publications.version": lambda put, who: 1,  # 0043 changed them, and they count
    "invitations.joined_id": lambda put, who: ANYTHING,  # each own, below
}


def _default(connection: psycopg.Connection[Any], said: str | None) -> Any:
    """What a column says by itself; ANYTHING where that is a function: a time, an id."""
    if said is None or "(" in said:
        return said and ANYTHING
    return connection.execute(f"SELECT {said} AS it").fetchone()["it"]


@pytest.fixture
def engine(empty_database):
    engine = create_engine(driver_url(empty_database.admin))
    yield engine
    engine.dispose()


@pytest.mark.longer
async def test_every_revision_comes_forward_with_the_rows_of_its_sellers(empty_database, engine):
    login = driver_url(empty_database.login)
    put: dict[tuple[str, Any], tuple[str, dict[str, Any]]] = {}

    def go_on(revision: str) -> None:
        with engine.begin() as connection:
            db.begin(connection, login)
            db.upgrade(connection, login, revision)
        with psycopg.connect(empty_database.admin, row_factory=dict_row, autocommit=True) as connection:
            schema = Schema(connection)
            with connection.transaction():
                fill(connection, revision, schema)
            for key, row in rows(connection, schema).items():
                put.setdefault(key, (revision, row))

    with engine.begin() as connection:
        scripts = ScriptDirectory.from_config(db.migrations(connection)).walk_revisions()
        revisions = [script.revision for script in scripts][::-1]
    assert revisions[0] == "0001"
    for revision in revisions:
        await asyncio.to_thread(go_on, revision)
        # and a backup of it can be made, as before an upgrade
        async with await psycopg.AsyncConnection.connect(empty_database.admin) as looking:
            about, _ = await archive._begin(looking)
            assert about["head"] == revision
            await looking.rollback()

    with psycopg.connect(empty_database.admin, row_factory=dict_row) as connection:
        schema = Schema(connection)
        now = rows(connection, schema)
        defaults = {(table, column["column"]): _default(connection, column["default"])
                    for table, columns in schema.tables.items() for column in columns}  # fmt: skip
    whose = {row["id"]: row["email"].split()[-1] for (table, _), row in now.items() if table == "users"}
    for (table, key), (revision, then) in put.items():
        row = now[table, key]  # none is gone
        assert then.keys() <= row.keys(), (table, then.keys() - row.keys())  # no column either
        for name, value in row.items():
            column = f"{table}.{name}"
            if name in then:
                wanted = CHANGED.get(column, lambda _, then: then)(revision, then[name])
            elif column in GIVEN:
                wanted = GIVEN[column](revision, whose[row["user_id"]])
            else:
                wanted = defaults.get((table, name))
            assert wanted is ANYTHING or value == wanted, (column, revision, key)
    tables = {table for table, _ in put}
    assert tables == set(schema.tables)
    assert all(
        row["joined_id"] == row["user_id"] for (table, _), row in now.items() if table == "invitations"
    )
    people = [row for (table, _), row in now.items() if table == "users"]
    assert len(people) == len(PAIR) * len(revisions)

    database = Database(empty_database.login)
    await database.check_login()
    for person in (people[0], people[1], people[-1]):
        async with database.as_user(person["id"]) as session:
            for table in ("users", "listings", "publications", "connections", "sales"):
                own = [row for (name, _), row in now.items()
                       if name == table and person["id"] in (row.get("user_id"), row["id"])]  # fmt: skip
                seen = (await session.execute(text(f"SELECT id FROM {table}"))).scalars().all()
                assert set(seen) == {row["id"] for row in own}, table
    await database.close()
