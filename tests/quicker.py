"""What takes its time for good reasons in use, and has none in tests. Imported once, by tests/conftest.py."""

from __future__ import annotations

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from everystall.web import passwords

#: As sellers have it, a quarter of a second of a core each; for who tests just that.
REAL_ARGON2 = passwords.ARGON2
passwords.ARGON2 = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
