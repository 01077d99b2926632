"""This installation: its database found or started, brought to this version, its key checked against what
is there; and what only its operator does (a new seller, a new token).

Without DATABASE_URL there is an embedded PostgreSQL in EVERYSTALL_HOME: the first of us starts it, the last
ends it. A wrong key is said before anything is written.

What is heavy (SQLAlchemy, Alembic: 1.4 s) is imported where it is used, so that `up` has its children
loading before it loads anything itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from pydantic import SecretStr

from everystall.embedded import MOVED, HomeLock, Server
from everystall.errors import EverystallError, Misconfigured, NotFound
from everystall.processes import answers
from everystall.settings import Settings
from everystall.switch import Asker

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
#: Seconds between two looks whether older programs have ended.
WAIT_SECONDS: Final = 0.5


@contextmanager
def opened(settings: Settings, *, own: bool = False, prepared: bool = True) -> Iterator[Settings]:
    """The settings with the database's addresses filled in, while it is there.

    `own`: for `up`, which has the data folder to itself. `prepared`: the database is brought to this version
    and the key is checked; a database of yours is left alone, except by `up` with an admin's address.
    """
    if settings.database_url is not None:
        if own and prepared and settings.database_admin_url is not None:
            prepare(settings)
        yield settings
        return
    _check_not_moved(settings)
    with ExitStack() as stack:
        if own:
            stack.enter_context(HomeLock(settings.everystall_home, "everystall up"))
        server = stack.enter_context(Server(settings.everystall_home))
        settings = settings.model_copy(
            update={
                "database_url": SecretStr(server.login),
                "database_admin_url": SecretStr(server.admin),
                "photos_url": settings.photos_location,  # who shares this server shares its folder
            }
        )
        if prepared:
            prepare(settings)
        yield settings


def _check_not_moved(settings: Settings) -> None:
    """Two databases that both go on would post everything twice."""
    mark = settings.everystall_home / MOVED
    if mark.exists():
        raise Misconfigured(
            f"The database of {settings.everystall_home} was moved to {mark.read_text().strip()}, so the old "
            "one is not started.",
            action=f"Set DATABASE_URL_FILE={settings.everystall_home / 'database-url'} (docs/backup.md). "
            f"To go back to the old one for good, without what came since, delete {mark}.",
        )


def addresses(settings: Settings) -> dict[str, str]:
    """The database's, as environment variables for child processes."""
    urls = {"DATABASE_URL": settings.database_url, "DATABASE_ADMIN_URL": settings.database_admin_url}
    return {name: url.get_secret_value() for name, url in urls.items() if url is not None}


def prepare(settings: Settings) -> None:
    """Migrates, then checks the key. Raises Misconfigured."""
    from everystall.vault import rotation
    from everystall.vault.keyring import Keyring

    migrate(settings)
    keyring = Keyring.load(settings)

    async def check() -> None:
        async with admin(settings) as engine, engine.begin() as connection:
            await rotation.check(connection, keyring)

    asyncio.run(check())


def migrate(settings: Settings, wait: Callable[[str], None] | None = None) -> str:
    """Brings the database to this version, with a backup before where that changes somebody's data; says so
    in one line. Raises Misconfigured: then the database is as it was. `wait`: while older programs are
    connected that would not work any more, it is told so, and their end is waited for."""
    from everystall import db
    from everystall.backup.making import make_before_upgrade

    admin_url, login_url = _admin_url(settings), addresses(settings)["DATABASE_URL"]
    _unused(partial(db.check_unused, admin_url, login_url), wait)
    made = make_before_upgrade(settings)
    try:
        said = _unused(partial(db.migrate, admin_url, login_url), wait)
    except EverystallError:
        raise
    except Exception as e:  # whatever a migration stumbled over: its transaction is rolled back
        structlog.get_logger().error("upgrade.failed", exc_info=e)
        kept = f" What was here before is also in {made}." if made is not None else ""
        what = type(getattr(e, "orig", None) or e).__name__
        raise Misconfigured(
            f"The database could not be brought to this version ({what}), so it is as it was before.",
            action=f"Start the version that was here until now: it works on. Report what the log says.{kept}",
        ) from None
    return f"{said} What was here before is in {made}." if made is not None else said


def _unused(do: Callable[[], T], wait: Callable[[str], None] | None) -> T:
    """What comes of it once nobody is in its way any more; without `wait`, or InUse."""
    from everystall import db

    told = ""
    while True:
        try:
            return do()
        except db.InUse as e:
            if wait is None:
                raise
            if e.message != told:
                told = e.message
                wait(told)
        time.sleep(WAIT_SECONDS)


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The operator's own way in, which sees all sellers' rows."""
    from sqlalchemy.ext.asyncio import create_async_engine

    from everystall import db

    engine = create_async_engine(db.driver_url(_admin_url(settings)))
    try:
        yield engine
    finally:
        await engine.dispose()


def _admin_url(settings: Settings) -> str:
    if settings.database_admin_url is None:
        raise Misconfigured(
            "This needs more rights than the login role of DATABASE_URL has.",
            action="Set DATABASE_ADMIN_URL to a superuser's address of the same database.",
        )
    return settings.database_admin_url.get_secret_value()


async def make_token(settings: Settings, email: str, name: str, *, new: bool = True) -> str:
    """A new API token of the seller with that address: the one time that it can be read. `new`: who is made
    where missing; else raises NotFound."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncSession

    from everystall import db
    from everystall.web import tokens

    async with admin(settings) as engine:
        try:
            async with AsyncSession(engine) as session, session.begin():
                if not new:
                    async with tokens.lowered_wall(session):
                        known = await session.scalar(
                            text("SELECT true FROM users WHERE email = :email"),
                            {"email": tokens.checked_email(email)},
                        )
                    if not known:
                        raise NotFound(
                            f"Nobody here has the address {email.strip()[:80]!r}, so no token was made.",
                            action="Name the address of an account, or add --new to make one for programs.",
                        )
                return await tokens.make_token(session, email, name)
        except DBAPIError as e:
            raise db.unreachable(engine.url, e) from None


async def set_password(settings: Settings, email: str, password: str) -> None:
    """A new password for somebody who forgot theirs. Raises NotFound, BadRequest."""
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncSession

    from everystall import db
    from everystall.web import passwords

    async with admin(settings) as engine:
        try:
            async with AsyncSession(engine) as session, session.begin():
                await passwords.set_password(session, email, password)
        except DBAPIError as e:
            raise db.unreachable(engine.url, e) from None


async def first_owner_link(settings: Settings) -> str | None:
    """The link that makes the first account, good for a day; None once anybody can sign in."""
    from everystall.db import Database
    from everystall.web import invitations

    database = Database(addresses(settings)["DATABASE_URL"])
    try:
        token = await invitations.first_owner(database)
    finally:
        await database.close()
    return invitations.link_of(settings, token, page="first") if token else None


async def welcome(settings: Settings, asker: Asker) -> None:
    """The first account here is of somebody who has one elsewhere, with that password; and the browser that
    they use is signed in."""
    from everystall.db import Database
    from everystall.web import invitations

    database = Database(addresses(settings)["DATABASE_URL"])
    try:
        await invitations.welcome(database, asker)
    finally:
        await database.close()


def find_lack(port: int, since: float) -> str | None:
    """What it lacks, in words; None: the web answers, its database is there, and a worker reported after
    `since` (Unix time)."""
    ready = answers(f"http://127.0.0.1:{port}/readyz", seconds=10)
    if ready is None:
        return "the database" if answers(f"http://127.0.0.1:{port}/healthz") else "the web"
    seen = ready.get("workerSeenAt")
    there = isinstance(seen, str) and datetime.fromisoformat(seen).timestamp() >= since
    return None if there else "a worker"
