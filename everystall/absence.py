"""That PostgreSQL is away, said once by each process and not by all who stumble over it: why, again ever more
rarely, and that it is back. Never says an address with its password.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import structlog

log = structlog.get_logger()

#: Seconds between two looks whether it is back, and until it is said again that it is not. After that it is
#: said each time that this has doubled.
LOOK_SECONDS, AGAIN_SECONDS = 1.0, 60.0
#: Seconds after it is back in which connections that ended before, and who waited for one, are no news.
AFTER_SECONDS = 60.0
#: Classes of SQLSTATE, or whole ones: the connection, what may only be read, too many connections, and a
#: server that ends or starts.
_AWAY = ("08", "25006", "53300", "57P")
_NOT_YET = ("is starting up", "is shutting down", "in recovery mode", "not yet accepting connections")


class Absence:
    """Of one process and database. `url` is libpq's, `where` what may be shown of it."""

    def __init__(self, url: str, where: str) -> None:
        self._url, self._where = url, where
        self._looking: asyncio.Task[None] | None = None
        #: By time.monotonic(): when it was back.
        self.back_at = -AFTER_SECONDS

    @property
    def suspected(self) -> bool:
        """Somebody could not reach it, and it has not been reached since."""
        return self._looking is not None and not self._looking.done()

    def suspect(self, error: BaseException) -> bool:
        """Somebody met this error. If it may be that the database is away, it is looked after until it is
        there; whether it may."""
        if not may_be_away(error):
            return False
        if not self.suspected:
            # in a context of its own: the lines are nobody's request or visit
            looking = self._look(type(_cause(error)).__name__)
            self._looking = asyncio.create_task(looking, name="absence", context=contextvars.Context())
        return True

    async def close(self) -> None:
        """Looks no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self, error: str) -> None:
        began, again = time.monotonic(), 0.0
        while (why := await self._try()) is not None:
            seconds = time.monotonic() - began
            if again == 0.0:
                log.error("database.away", database=self._where, why=why)
                again = AGAIN_SECONDS
            elif seconds >= again:
                log.warning("database.still_away", database=self._where, why=why, seconds=round(seconds))
                again = 2 * seconds
            await asyncio.sleep(LOOK_SECONDS)
        if again:
            self.back_at = time.monotonic()
            log.info("database.back", database=self._where, seconds=round(self.back_at - began, 1))
        elif began - self.back_at > AFTER_SECONDS:  # one was ended, or all by a restart that is over
            log.warning("database.connection_lost", database=self._where, error=error)

    async def _try(self) -> str | None:
        """Why it is away."""
        try:
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=10
            ) as connection:
                found = await (await connection.execute("SHOW transaction_read_only")).fetchone()
        except (psycopg.Error, OSError) as e:
            return why_of(e)
        return "it may only be read: a standby, or told to be" if found == ("on",) else None


@contextmanager
def ends_with_it() -> Iterator[None]:
    """What comes to an end because the database is away ends quietly: a tick finds it again."""
    try:
        yield
    except Exception as e:
        if not may_be_away(e):
            raise


def may_be_away(error: BaseException) -> bool:
    """psycopg's own, or SQLAlchemy's or procrastinate's of it."""
    cause = _cause(error)
    if isinstance(cause, psycopg.errors.Error) and cause.sqlstate is not None:
        return cause.sqlstate.startswith(_AWAY)
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)


def _cause(error: BaseException) -> BaseException:
    found = getattr(error, "orig", None) or error
    if not isinstance(found, psycopg.Error) and isinstance(error.__cause__, psycopg.Error):
        return error.__cause__
    return found if isinstance(found, BaseException) else error


def why_of(error: BaseException) -> str:
    """What a failed connection says, without where it was to and libpq's hints (they begin with a tab)."""
    cause = _cause(error)
    lines = [line for line in str(cause).splitlines() if line.strip() and not line[0].isspace()]
    said = re.sub(r"^.*\bfailed: ", "", lines[-1]) if lines else type(cause).__name__
    return said.removeprefix("FATAL:").strip()


def lets_nobody_in(error: BaseException) -> bool:
    """Nobody answered there, or a server that is not ready: it was not about who came."""
    said = str(_cause(error))
    asked_for = "no password supplied" in said
    return ("FATAL:" not in said and not asked_for) or any(words in said for words in _NOT_YET)
