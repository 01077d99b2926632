"""A web that ends once nobody asks it any more: from SIGTERM on it says that it is not ready, and answers
what still comes, for as long as a proxy may take to hear that.
"""

from __future__ import annotations

import time
from typing import Final

#: Seconds that it goes on: who asks every 5 has asked twice. And seconds without anybody who asks: then it
#: ends at once.
DRAIN_SECONDS: Final = 10.0
ASKED_SECONDS: Final = 30.0
#: Then it takes no new request, and those under way have so many seconds.
GRACE_SECONDS: Final = 30


class Draining:
    def __init__(self) -> None:
        self.begun = False
        self._asked_at = float("-inf")

    def asked(self) -> None:
        """Somebody wants to know whether this web is ready."""
        self._asked_at = time.monotonic()

    def begin(self) -> float:
        """For how many seconds it goes on."""
        waits = not self.begun and time.monotonic() - self._asked_at < ASKED_SECONDS
        self.begun = True
        return DRAIN_SECONDS if waits else 0.0
