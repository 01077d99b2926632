"""A worker's turn at the files that are brought in."""

from __future__ import annotations

from typing import Any

from everystall.content.addresses import Fetcher
from everystall.errors import PhotoRefused
from everystall.inventory import imports


class Nowhere(Fetcher):
    """No address leads anywhere."""

    def __init__(self) -> None:
        """It needs nothing."""

    async def fetch(self, url: str) -> bytes:
        raise PhotoRefused("Nobody is reached there.")


class NoStore:
    """Nothing is kept in it."""

    async def put(self, data: bytes) -> Any:
        raise AssertionError("nothing was fetched")

    async def look_for(self, db: Any, hashes: Any) -> None:
        assert not hashes

    async def hold(self, session: Any, found: Any) -> None:
        pass

    async def forget_unnamed(self, db: Any, hashes: Any) -> None:
        assert not hashes


async def bring_in(database: Any, stopping: Any, store: Any = None, fetcher: Fetcher | None = None) -> None:
    """All that is due, with its photos."""
    while await imports.bring_in(database, stopping, store or NoStore(), fetcher or Nowhere()):
        pass
