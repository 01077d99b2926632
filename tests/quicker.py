"""What takes its time for good reasons in use, and has none in tests. Imported once, by tests/conftest.py."""

from __future__ import annotations

from typing import Any

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.util import LRUCache

from everystall.web import passwords

#: As sellers have it, a quarter of a second of a core each; for who tests just that.
REAL_ARGON2 = passwords.ARGON2
passwords.ARGON2 = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))

# Each test has engines of its own. What SQLAlchemy compiled for one of them is as good for the next: else
# each test would compile its statements anew, a tenth of the time of those of the API.
_COMPILED: LRUCache[Any, Any] = LRUCache(2000)
PGDialect_psycopg.__eq__ = lambda one, other: type(one) is type(other)
PGDialect_psycopg.__hash__ = lambda one: hash(type(one))


@event.listens_for(Engine, "engine_connect")
def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)
