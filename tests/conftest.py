"""What all tests stand on: a real PostgreSQL with a fresh migrated database per test, and two sellers.

The server is the embedded one (fsync off, a folder of its own), or the one that EVERYSTALL_TEST_ADMIN_URL
names, as a superuser. One database is migrated per run and copied for each test that asks for one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import make_url

from everystall.db import Database, migrate
from everystall.embedded import Server
from everystall.models import Connection, Listing
from tests import quicker  # noqa: F401 (what it sets holds for all tests)
from tests.selling import publish
from tests.supabase import make_project, make_roles

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a script began this in the background: what the tests start would take no Ctrl-C either
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Transactions that are open in this database, but for the one that asks.
OPEN_ONES = """SELECT query FROM pg_stat_activity WHERE datname = current_database()
               AND backend_type = 'client backend' AND xact_start < now()"""


@dataclass(frozen=True)
class Urls:
    """A database's two addresses: DATABASE_URL and DATABASE_ADMIN_URL."""

    login: str
    admin: str

    def named(self, database: str) -> Urls:
        return Urls(_named(self.login, database), _named(self.admin, database))


@pytest.fixture(scope="session")
def server() -> Iterator[Urls]:
    """The server's addresses; the login role is made by the first `migrate`, and goes with the run."""
    role, password = f"everystall_test_{secrets.token_hex(4)}", secrets.token_hex(16)
    outside = os.environ.get("EVERYSTALL_TEST_ADMIN_URL")
    embedded, home = None, None
    if outside is None:
        home = Path(tempfile.mkdtemp(prefix="everystall-test-"))
        embedded = Server(home, fsync=False)
        outside = embedded.start().admin
    login = make_url(outside).set(username=role, password=password)
    try:
        yield Urls(login.render_as_string(hide_password=False), outside)
        with psycopg.connect(outside, autocommit=True) as connection:
            connection.execute(f"DROP ROLE IF EXISTS {role}")
    finally:
        if embedded is not None and home is not None:
            embedded.stop()
            shutil.rmtree(home)


@pytest.fixture(scope="session")
def template(server: Urls) -> Iterator[str]:
    """The name of a migrated database that each test gets a copy of."""
    name = f"everystall_template_{secrets.token_hex(4)}"
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            urls = server.named(name)
            # roles belong to the whole server, which the processes of one run may share
            connection.execute("SELECT pg_advisory_lock(6849)")
            migrate(urls.admin, urls.login)
            connection.execute("SELECT pg_advisory_unlock(6849)")
            yield name
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def copier(server: Urls, template: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.admin, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_urls(server: Urls, template: str, copier: psycopg.Connection) -> Iterator[Urls]:
    """A migrated database of this test's own."""
    name = f"everystall_test_{secrets.token_hex(6)}"
    copier.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield server.named(name)
    copier.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def empty_database(server: Urls) -> Iterator[Urls]:
    """A database of this test's own with nothing in it."""
    name = f"everystall_empty_{secrets.token_hex(6)}"
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.named(name)
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def supabase_project() -> Iterator[tuple[str, Urls]]:
    """A server of its own with Supabase's roles: its superuser, and a project's database that is set up."""
    home = Path(tempfile.mkdtemp(prefix="everystall-test-"))
    embedded = Server(home, fsync=False)
    try:
        superuser = embedded.start().admin
        make_roles(superuser)
        project = make_project(superuser, "everystall_project")
        login = make_url(project).set(username="everystall_app", password="its-word")
        urls = Urls(login.render_as_string(hide_password=False), project)
        migrate(urls.admin, urls.login)
        yield superuser, urls
    finally:
        embedded.stop()
        shutil.rmtree(home)


@pytest.fixture
def supabase_urls(supabase_project: tuple[str, Urls]) -> Iterator[Urls]:
    """A Supabase project's database of this test's own: as `everystall_app`, and as its `postgres`."""
    superuser, urls = supabase_project
    name = f"everystall_test_{secrets.token_hex(6)}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE everystall_project OWNER postgres "
                           "STRATEGY file_copy")  # fmt: skip
        yield urls.named(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def db(database_urls: Urls) -> AsyncIterator[Database]:
    database = Database(database_urls.login)
    yield database
    await database.close()


Admin = psycopg.AsyncConnection[dict[str, Any]]


@pytest.fixture
async def admin(database_urls: Urls) -> AsyncIterator[Admin]:
    """As superuser: for looking and for setting the stage, never for acting. Rows are dicts."""
    async with await psycopg.AsyncConnection.connect(
        database_urls.admin,
        autocommit=True,
        row_factory=dict_row,
        options="-c search_path=public,procrastinate",  # procrastinate's triggers name no schema
    ) as connection:
        yield connection


async def _seller(admin: Admin, name: str) -> UUID:
    made = await admin.execute("INSERT INTO users (email) VALUES (%s) RETURNING id", [f"{name}@example.com"])
    row = await made.fetchone()
    assert row is not None
    return UUID(str(row["id"]))


@pytest.fixture
async def alice(admin: Admin) -> UUID:
    return await _seller(admin, "alice")


@pytest.fixture
async def bob(admin: Admin) -> UUID:
    return await _seller(admin, "bob")


@pytest.fixture
def make_listing(db: Database) -> Callable[..., Awaitable[Listing]]:
    """`await make_listing(alice, title=…)`: a listing that lacks nothing, through the seller's own rights."""

    async def make(user_id: UUID, **fields: Any) -> Listing:
        listing = Listing(
            user_id=user_id,
            **{
                "title": "Linen shirt, hardly worn",
                "description": "A light linen shirt. Worn twice, washed cold, no flaws that I can see.",
                "brand": "Levi's",
                "category": "men.shirts.casual",
                "size": "M",
                "condition": "good",
                "colors": ["blue"],
                "price_cents": 2500,
                "original_price_cents": 6000,
                "sku": "A-17",
                "package": {"weight_oz": 12, "length_in": 12, "width_in": 9, "height_in": 2},
                "ships_from_zip": "94110",
                "shipping_payer": "buyer",
                **fields,
            },
        )
        async with db.as_user(user_id) as session:
            session.add(listing)
        return listing

    return make


@pytest.fixture
def make_connection(db: Database) -> Callable[..., Awaitable[Connection]]:
    """`await make_connection(alice, "mercari", base_url=…)`: an account, without a session."""

    async def make(user_id: UUID, marketplace: str = "poshmark", **fields: Any) -> Connection:
        account = uuid4().hex[:12]
        connection = Connection(
            user_id=user_id,
            **{
                "public_id": f"bp_{marketplace}_{account}",
                "marketplace": marketplace,
                "account_id": account,
                "account_name": "seller",
                "base_url": f"http://{marketplace}.localhost:1",
                **fields,
            },
        )
        async with db.as_user(user_id) as session:
            session.add(connection)
        return connection

    return make


@pytest.fixture
async def stand(db, admin, alice, make_listing, make_connection):
    """Puts a listing live on some accounts, where it is called `r-` and a number; the accounts."""
    made = []

    async def stand(*marketplaces, quantity=1, outcome="live"):
        listing = await make_listing(alice)
        await admin.execute(
            "UPDATE listings SET quantity = %s, quantity_sold = 0 WHERE id = %s", [quantity, listing.id]
        )
        accounts = []
        for marketplace in marketplaces:
            account = await make_connection(alice, marketplace)
            accounts.append(account)
            made.append(account)
            await publish(db, alice, listing, account, f"r-{len(made)}", outcome, quantity)
        return listing, accounts

    return stand


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
