"""The way to PostgreSQL: one transaction as a seller or as the login role, and the migrations.

Row-level security is the wall between sellers, so nothing here ever sets a role or a claim for longer than
one transaction (psycopg's pool would hand them to the next caller), and nothing acts as a seller without
claims. Nobody else commits: leaving the block does.
"""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, ExceptionContext, Row, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from everystall import compatibility, traces
from everystall.absence import Absence, lets_nobody_in, why_of
from everystall.compatibility import find_mismatch, folder
from everystall.errors import Misconfigured, listed

# Alembic is loaded by who migrates: a web and a worker have no use for it, and it is a sixteenth of what
# their start costs.
if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

OWNER, ENGINE, SELLER = "everystall_owner", "everystall_engine", "authenticated"
#: Supabase's Data API logs in by this role, and becomes `authenticated` for whoever brings a user's token.
DATA_API = "authenticator"
#: PostgreSQL 15: `security_invoker` views, MERGE and column lists that later migrations count on.
MINIMUM_VERSION = 15
#: Seconds that a transaction may rest between two statements: then PostgreSQL ends it. None of ours is open
#: while a browser works; one that rests is a frozen process, and what it locked would stop everybody.
RESTING_SECONDS = 10
#: Under this name a session knows whether the operator's back end is told.
TELLS_OPERATOR = "everystall.tells_operator"
#: What to do where roles, tables or functions are missing.
SET_UP = (
    "Run `everystall migrate` once, with DATABASE_ADMIN_URL set to a superuser's address of this database: "
    "it makes tables and roles, the one of DATABASE_URL too."
)
#: Where Supabase's poolers speak for a transaction at a time: the shared one, and the project's own.
_TRANSACTION_POOLER, _SUPABASE = 6543, (".supabase.com", ".supabase.co")
#: So long a migration waits for a table, and who asks for that table next waits with it. (After 1 s
#: PostgreSQL looks for deadlocks, and would end a seller's request.) Then it begins anew: how often, after
#: how many seconds.
LOCK_TIMEOUT, LOCK_TRIES, LOCK_AGAIN_SECONDS = "500ms", 120, 1.0
#: Held while migrating, so that two `migrate` at once take turns. Any number, as long as it stays.
_MIGRATING = 0x65766572


class Database:
    """One pool of connections for one process; `login_url` is DATABASE_URL's. `tells_operator`: what its
    transactions record is told to the operator's back end too (notify/messages.py)."""

    def __init__(self, login_url: str, *, tells_operator: bool = False) -> None:
        self._info = {TELLS_OPERATOR: tells_operator}
        self.engine: AsyncEngine = create_async_engine(
            driver_url(login_url),
            # none above the pool's: those are closed when they come back, and a burst that opens new ones,
            # each with a process of the server's and a password's hash, makes itself longer
            pool_size=20,
            max_overflow=0,
            isolation_level="AUTOCOMMIT",  # a transaction is what our own BEGIN begins
            hide_parameters=True,  # a message of an error may reach a log
            connect_args={"connect_timeout": 10, "options": session_options()},
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_ended)
        url = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        #: Knows, and says, when it is away.
        self.absence = Absence(url, place(self.engine.url))
        event.listen(self.engine.sync_engine, "handle_error", self._failed)

    def _failed(self, failure: ExceptionContext) -> None:
        self.absence.suspect(failure.original_exception)

    @asynccontextmanager
    async def as_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        """One transaction as this seller: commits on a clean exit, rolls back on any error. What is logged
        meanwhile says whose it is."""
        # in one message, because most requests are this and one more. Without the BEGIN there would be no
        # role either, and the login's own reads nothing.
        begin = (
            f"BEGIN; SELECT set_config('role', '{SELLER}', true), "
            f"set_config('request.jwt.claims', '{_claims(user_id)}', true)"
        )
        with structlog.contextvars.bound_contextvars(user_id=str(user_id)):
            async with self._transaction(begin) as session:
                yield session

    @asynccontextmanager
    async def as_app(self) -> AsyncIterator[AsyncSession]:
        """One transaction as the login role itself, before a seller is known. It sees no seller's table,
        only the functions of schema `everystall`."""
        async with self._transaction("BEGIN") as session:
            yield session

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[AsyncSession]:
        async with (
            AsyncSession(self.engine, expire_on_commit=False, info=self._info) as session,
            session.begin(),
        ):
            connection = await session.connection()
            if (trace := traces.traceparent()) is not None:  # what is wished for remembers it (0069)
                begin += f"; SELECT set_config('everystall.traceparent', '{trace}', true)"
            await connection.exec_driver_sql(begin, execution_options={"no_parameters": True})
            yield session

    async def ask(self, statement: str, **values: Any) -> Row[Any] | None:
        """The first row of one statement as the login role, which is a transaction of its own without a BEGIN
        and a COMMIT to wait for; `values` by psycopg's `%(name)s`. For the functions of schema `everystall`
        that each request begins with."""
        async with self.engine.connect() as connection:
            return (await connection.exec_driver_sql(statement, values)).first()

    async def check_login(self) -> None:
        """Raises Misconfigured if this login could read past row-level security, or cannot work at all."""
        name, where = role_of(self.engine.url), place(self.engine.url)
        try:
            async with self.engine.connect() as connection:
                version = (await connection.execute(text("SHOW server_version_num"))).scalar_one()
                wrong = (await connection.execute(text(_PAST_THE_WALL))).scalars().all()
                ready = (await connection.execute(text(_READY))).scalar_one()
                mismatch = await find_mismatch(connection) if ready else None
        except (DBAPIError, OSError) as e:
            refused = unreachable(self.engine.url, e)
            new = "" if lets_nobody_in(e) else f" Is it new? {SET_UP}"
            raise Misconfigured(refused.message, action=f"{refused.action}{new}") from None
        if int(version) // 10_000 < MINIMUM_VERSION:
            raise _too_old(int(version))
        if wrong:
            raise Misconfigured(
                f"DATABASE_URL logs in as {name!r}, which could read past row-level security "
                f"({', '.join(wrong)}), so nothing was started.",
                action="Name a login role of its own in DATABASE_URL (for example everystall_app) and run "
                "`everystall migrate` with DATABASE_ADMIN_URL set to this one: it makes the role.",
            )
        if not ready:
            raise Misconfigured(
                f"The database at {where} has not been set up for {name!r}, or not for this version.",
                action=SET_UP,
            )
        if mismatch is not None:
            raise Misconfigured(
                f"The database at {where} {mismatch.said}, so nothing was started.", action=mismatch.action
            )

    async def close(self) -> None:
        await self.absence.close()
        await self.engine.dispose()


def _refuse_ended(raw: Any, *_: Any) -> None:
    """A restarted server costs nobody an error, and a living one no question. Nobody speaks on a connection
    that rests: what can be read there is the server's farewell, or the end."""
    if raw.driver_connection.closed:
        raise DisconnectionError
    poll = select.poll()
    poll.register(raw.driver_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


async def become(session: AsyncSession, user_id: UUID) -> None:
    """From here on this transaction is this seller's; there is no way back in it. What is logged says so."""
    structlog.contextvars.bind_contextvars(user_id=str(user_id))
    await session.execute(
        text("SELECT set_config('role', :role, true), set_config('request.jwt.claims', :claims, true)"),
        {"role": SELLER, "claims": _claims(user_id)},
    )


def _claims(user_id: UUID) -> str:
    return json.dumps({"sub": str(user_id), "role": SELLER})


def session_options(**more: str) -> str:
    """What each connection of ours asks of PostgreSQL, in libpq's words."""
    asked = {"idle_in_transaction_session_timeout": f"{RESTING_SECONDS}s", **more}
    return " ".join(f"-c {name}={value}" for name, value in asked.items())


def driver_url(url: str) -> URL:
    """`postgres://…` in any of its spellings, as SQLAlchemy with psycopg wants it."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Misconfigured(
            "DATABASE_URL or DATABASE_ADMIN_URL is not a database address.",
            action="Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise Misconfigured(
            f"Everystall needs PostgreSQL, not {parsed.get_backend_name()}.",
            action="Set DATABASE_URL to a PostgreSQL, or unset it: then one comes with Everystall.",
        )
    if parsed.port == _TRANSACTION_POOLER and (parsed.host or "").endswith(_SUPABASE):
        raise _pooled(parsed)
    return parsed.set(drivername="postgresql+psycopg")


def role_of(url: URL) -> str:
    """Who logs in there. Supabase's shared pooler wants to be told the project too: `role.project`."""
    name = url.username or ""
    return name.rpartition(".")[0] or name if _by_shared_pooler(url) else name


def named_like(url: URL, role: str) -> str:
    """The role as it is called in an address that leads the same way as `url`."""
    project = (url.username or "").rpartition(".")[2]
    return f"{role}.{project}" if _by_shared_pooler(url) else role


def _by_shared_pooler(url: URL) -> bool:
    return (url.host or "").endswith(".pooler.supabase.com")


def _pooled(url: URL) -> Misconfigured:
    """LISTEN is a session's, as are the settings that each connection of ours begins with."""
    return Misconfigured(
        f"{place(url)} is a pooler that gives a session away after each transaction. Everystall listens to "
        "its database, and so needs sessions of its own.",
        action="In DATABASE_URL (and DATABASE_ADMIN_URL), name the database itself, or a pooler in session "
        "mode. At Supabase that is the direct connection, or the session pooler: port 5432 instead of 6543.",
    )


def place(url: URL) -> str:
    """Host, port and database: what may be shown of an address."""
    return f"{url.host or 'the local socket'}:{url.port or 5432}/{url.database or ''}"


def unreachable(url: URL, error: Exception) -> Misconfigured:
    """What to say of a database that we cannot use; never the address with its password."""
    cause = getattr(error, "orig", None) or error
    if "unsupported startup parameter" in str(cause):  # as PgBouncer says it
        return _pooled(url)
    if re.search(r'database ".*" does not exist', str(cause)):
        return Misconfigured(
            f"There is no database {url.database!r} at {url.host or 'the local socket'}:{url.port or 5432}.",
            action=f'Create it (as its superuser: CREATE DATABASE "{url.database}"), then run '
            "`everystall migrate`.",
        )
    if lets_nobody_in(error):
        return Misconfigured(
            f"No database answers at {place(url)}: {why_of(error)}.",
            action="Check that it runs there, and host and port in DATABASE_URL (and DATABASE_ADMIN_URL).",
        )
    return Misconfigured(
        f"The database at {place(url)} does not let {url.username or 'us'!r} in: {why_of(error)}.",
        action="Check user and password in DATABASE_URL (and DATABASE_ADMIN_URL).",
    )


def _too_old(version: int) -> Misconfigured:
    return Misconfigured(
        f"This is PostgreSQL {version // 10_000}; Everystall needs {MINIMUM_VERSION} or newer.",
        action="Upgrade it, or unset DATABASE_URL: then one comes with Everystall.",
    )


#: Why this login must not be used: what it is, or may become by SET ROLE.
_PAST_THE_WALL = f"""
SELECT DISTINCT CASE WHEN r.rolname = session_user THEN '' ELSE 'may become ' || r.rolname || ', ' END
       || CASE WHEN r.rolsuper THEN 'a superuser' WHEN r.rolbypassrls THEN 'BYPASSRLS'
               WHEN r.rolcreaterole THEN 'CREATEROLE' -- may make itself a member of others
               WHEN r.rolname = '{ENGINE}' THEN 'the engine' ELSE 'the owner of tables' END
FROM pg_roles r
WHERE pg_has_role(session_user, r.oid, 'MEMBER')
  AND (NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) OR r.rolname = session_user)
  AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolname IN ('{OWNER}', '{ENGINE}')
       OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                  AND c.relkind IN ('r', 'p') AND c.relowner = r.oid))
"""

#: A ring that sealed nothing is not held on to (a first start without SESSION_ENCRYPTION_KEY, say), nor a
#: photo store without photos (one without PHOTOS_URL), unless somebody works who may use it in a moment.
_FORGET = """
DELETE FROM everystall.{what}
WHERE (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
  AND NOT EXISTS (SELECT FROM public.{unless})
  AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = :login)
"""

#: The tables' owner cannot name what is in a schema `auth` that is there already.
_KEPT_FROM_AUTH = """
SELECT 1 FROM pg_namespace n WHERE n.nspname = 'auth' AND NOT has_schema_privilege(%(owner)s, n.oid, 'USAGE')
"""

#: Where there is Supabase's Data API, no table of ours is reached by it. It would show a seller's own rows to
#: that seller only, and let them write into these past all that the web checks first.
_NOT_BY_DATA_API = f"""
DO $$
DECLARE
    behind regclass;
BEGIN
    FOR behind IN
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relrowsecurity
          AND pg_get_userbyid(c.relowner) = '{OWNER}'
          AND EXISTS (SELECT FROM pg_roles WHERE rolname = '{DATA_API}')
          AND NOT EXISTS (SELECT FROM pg_policy p
                          WHERE p.polrelid = c.oid AND p.polname = 'not_by_data_api')
    LOOP
        EXECUTE format('CREATE POLICY not_by_data_api ON %s AS RESTRICTIVE TO {SELLER} '
                       'USING (session_user <> ''{DATA_API}'')', behind);
    END LOOP;
END
$$
"""

#: What the login role needs.
_READY = f"""
SELECT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
               WHERE n.nspname = 'everystall' AND f.proname = 'know_photo_store'
                 AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(f.oid, 'EXECUTE'))
   AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'procrastinate' AND c.relname = 'procrastinate_jobs'
                 AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT'))
   AND EXISTS (SELECT FROM pg_roles WHERE rolname = '{SELLER}' AND pg_has_role(session_user, oid, 'MEMBER'))
"""


# ---- migrations -----------------------------------------------------------------------------------


class InUse(Misconfigured):
    """Programs are connected that do not work with what a migration makes."""


def migrate(admin_url: str, login_url: str) -> str:
    """Brings the database to this version in one transaction: roles, tables, policies, functions, the
    login role that `login_url` names. Safe to repeat, and while programs run. Returns what it did, in one
    line for a person. `admin_url` is a superuser's, or one that owns the database and may create roles.
    Raises InUse while older programs are connected that would not work any more."""
    admin, login = driver_url(admin_url), driver_url(login_url)
    if not login.username or role_of(login) == role_of(admin):
        raise Misconfigured(
            f"DATABASE_URL logs in as {role_of(login) or 'nobody'!r}, who also migrates. The web and the "
            "worker need a role of their own, which can not read past row-level security.",
            action="Name another user in DATABASE_URL (for example everystall_app, with a password): "
            "`everystall migrate` makes the role. DATABASE_ADMIN_URL keeps the one you have now.",
        )
    engine = create_engine(admin, hide_parameters=True, connect_args={"connect_timeout": 10})
    try:
        for _ in range(LOCK_TRIES):
            with suppress(_Held):
                before, head = _migrate(engine, login)
                done = f"already at {head}" if before == head else f"now at {head}"
                return f"The database at {place(admin)} is {done}; {role_of(login)} may log in."
            time.sleep(LOCK_AGAIN_SECONDS)
    except (DBAPIError, psycopg.Error) as e:
        raise refusal(admin, e) or e from None
    finally:
        engine.dispose()
    raise Misconfigured(
        "Somebody holds a table that a migration changes, and did not let it go: the database is as it was.",
        action="See who, as its owner (SELECT pid, application_name, xact_start, query FROM pg_stat_activity "
        "ORDER BY xact_start): a backup, perhaps. Migrate again once that has ended.",
    )


class _Held(Exception):
    """A table was not to be had at once. Who waits for one lets nobody else have it meanwhile."""


def _migrate(engine: Engine, login: URL) -> tuple[str | None, str | None]:
    """The migrations that the database was at and is at."""
    try:
        with engine.begin() as connection:
            check_version(connection)
            begin(connection, login)
            connection.execute(text("SELECT set_config('lock_timeout', :most, true)"), {"most": LOCK_TIMEOUT})
            connection.execute(text(f"SET ROLE {OWNER}"))
            before = _revision(connection)
            _check_unused(connection, login, before)
            head = upgrade(connection, login)
            for what, unless in (("vault_keys", "user_keys"), ("photo_store", "listing_photos")):
                there = connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"everystall.{what}"})
                if there is not None:
                    statement = _FORGET.format(what=what, unless=unless)
                    connection.execute(text(statement), {"login": role_of(login)})
            return before, head
    except (DBAPIError, psycopg.Error) as e:
        cause = getattr(e, "orig", None) or e
        if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
            raise _Held from None
        raise


def check_unused(admin_url: str, login_url: str) -> None:
    """Raises InUse as `migrate` would, before anything is done."""
    engine = create_engine(driver_url(admin_url), connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            before = _revision(connection)
            _check_unused(connection, driver_url(login_url), before)
    except DBAPIError:
        pass  # who migrates comes to it next, and says so
    finally:
        engine.dispose()


def _check_unused(connection: Connection, login: URL, before: str | None) -> None:
    scripts = _scripts(connection)
    head = scripts.get_current_head()
    if before is None or head is None:
        return
    oldest = compatibility.oldest_at(scripts, head, before)
    if oldest is None:
        return
    if broken := compatibility.find_broken(connection, role_of(login), oldest):
        raise InUse(
            f"Migration {oldest} changes what programs of the version before work with, and such are "
            f"connected: {listed(broken)}.",
            action="Stop them and migrate again, or have it wait for their end: `everystall migrate --wait`. "
            "The database is as it was.",
        )


def check_version(connection: Connection) -> None:
    """Raises Misconfigured for a PostgreSQL that is too old."""
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version // 10_000 < MINIMUM_VERSION:
        raise _too_old(version)


def refusal(admin: URL, error: DBAPIError | psycopg.Error) -> Misconfigured | None:
    """What to say of a database that cannot be set up, where it does not let us; None: that is not why."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.OperationalError):
        return unreachable(admin, error)
    if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return None
    return Misconfigured(
        f"{admin.username!r} may not set up the database: {str(cause).splitlines()[0]}.",
        action="Set DATABASE_ADMIN_URL to a superuser, or to the owner of the database with CREATEROLE.",
    )


def begin(connection: Connection, login: URL) -> None:
    """In this transaction nobody else migrates; the roles are there."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATING})
    _make_roles(connection, login)


def upgrade(connection: Connection, login: URL, revision: str = "head") -> str | None:
    """Brings the tables to a revision and lets the login role in; the newest that there is. After `begin`."""
    from alembic import command

    connection.execute(text(f"SET ROLE {OWNER}"))
    command.upgrade(migrations(connection), revision)
    scripts = _scripts(connection)
    connection.execute(text(f"SET ROLE {ENGINE}"))
    compatibility.keep(connection, scripts, revision)
    _let_in(connection, role_of(login))
    connection.execute(text(f"SET ROLE {OWNER}"))
    connection.execute(text(_NOT_BY_DATA_API))
    connection.execute(text("RESET ROLE"))
    return scripts.get_current_head()


def knows(connection: Connection, revision: str) -> bool:
    """Whether it is one of this version's migrations."""
    scripts = _scripts(connection).walk_revisions()
    return any(script.revision == revision for script in scripts)


def revisions(connection: Connection) -> tuple[str | None, str | None]:
    """The one that this database is at, and this version's newest."""
    scripts = _scripts(connection)
    return _revision(connection), scripts.get_current_head()


def clear(connection: Connection) -> None:
    """Drops all that is ours, tables and functions and queue; what others put beside it stays, and keeps it
    from being dropped where it hangs on it."""
    connection.execute(text("DROP SCHEMA IF EXISTS everystall CASCADE"))
    connection.execute(text("DROP SCHEMA IF EXISTS procrastinate CASCADE"))
    found = connection.execute(
        text(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
            "AND c.relkind = 'r' AND c.relowner = CAST(:owner AS regrole)"
        ),
        {"owner": OWNER},
    )
    tables = found.scalars().all()
    if tables:
        connection.execute(text(f"DROP TABLE {', '.join(tables)}"))


def migrations(connection: Connection) -> Config:
    """Alembic's configuration for this open connection; env.py takes the connection from it."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder()))
    config.attributes["connection"] = connection
    return config


def _scripts(connection: Connection) -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(migrations(connection))


def _revision(connection: Connection) -> str | None:
    """The one that this database is at."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _make_roles(connection: Connection, login: URL) -> None:
    """The three nologin roles and the login role, where missing; and the admin may act as the first two."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    run = raw.execute

    def exists(role: str) -> bool:
        return run("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None

    for role in (OWNER, ENGINE, SELLER):
        if not exists(role):
            run(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    role = role_of(login)
    name = sql.Identifier(role)
    if not exists(role):
        # The server gets a SCRAM verifier, so the password itself never shows in its log.
        password = raw.pgconn.encrypt_password(
            str(login.password or "").encode(), role.encode(), b"scram-sha-256"
        ).decode()
        run(
            sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(
                name, sql.Literal(password if login.password else None)
            )
        )
    else:
        inherits = run("SELECT rolinherit FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if inherits and inherits[0]:
            run(sql.SQL("ALTER ROLE {} NOINHERIT").format(name))
    member = run("SELECT pg_has_role(%s, %s, 'MEMBER')", [role, SELLER]).fetchone()
    if member and not member[0]:
        run(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SELLER), name))
    if _by_shared_pooler(login):  # which passes on nothing of `session_options`
        resting = sql.Literal(f"{RESTING_SECONDS}s")
        run(sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = {}").format(name, resting))
        run(sql.SQL('ALTER ROLE {} SET search_path = "$user", public, procrastinate').format(name))
    me = run("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if me and not me[0]:
        for role in (OWNER, ENGINE, SELLER):  # the last for the keys' rotation, which acts as each seller
            run(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    database = sql.Identifier(raw.info.dbname)
    run(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, sql.Identifier(OWNER)))
    run(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(sql.Identifier(OWNER)))
    run(
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}, {}").format(
            sql.Identifier(SELLER), sql.Identifier(ENGINE)
        )
    )
    if run(_KEPT_FROM_AUTH, {"owner": OWNER}).fetchone():
        # policies name auth.uid(), and Supabase's `postgres` may use that schema, but let nobody in itself
        run(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SELLER), sql.Identifier(OWNER)))


def _let_in(connection: Connection, login: str) -> None:
    """What the login role may: procrastinate's tables, and the listed functions. No seller's table."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    name = sql.Identifier(login)
    for role, statement in (
        (OWNER, "GRANT USAGE ON SCHEMA procrastinate TO {}"),
        (OWNER, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA procrastinate TO {}"),
        (OWNER, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA procrastinate TO {}"),
        (OWNER, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA procrastinate TO {}"),
        (ENGINE, "GRANT USAGE ON SCHEMA everystall TO {}"),
        (ENGINE, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA everystall TO {}"),
    ):
        raw.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        raw.execute(sql.SQL(statement).format(name))
