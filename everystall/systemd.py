"""What systemd is told, where it asks (`Type=notify`, `WatchdogSec=`): that this process is ready, that it
ends, and every so often that it lives. A word in a datagram, as sd_notify(3) says.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def tell(what: str) -> None:
    """Nothing happens where nobody asks, or listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)
            to.sendto(what.encode(), "\0" + address[1:] if address.startswith("@") else address)


@asynccontextmanager
async def watched(alive: Callable[[], bool]) -> AsyncIterator[None]:
    """While in the block, systemd is told twice in its time that this process lives, as long as it does."""
    seconds = int(os.environ.get("WATCHDOG_USEC") or 0) / 2e6
    if not seconds:
        yield
        return

    async def go_on() -> None:
        while True:
            if alive():
                tell(ALIVE)
            await asyncio.sleep(seconds)

    going = asyncio.create_task(go_on(), name="watchdog")
    try:
        yield
    finally:
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going
