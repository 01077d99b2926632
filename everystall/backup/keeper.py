"""Who looks after backups while `everystall up` runs: makes one a night, and does what the pages ask for.

The web and the worker may neither read every row nor replace them, so this is none of theirs: it is the
parent of both, which faces nobody. Each errand is a process of its own, with the admin's address.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import structlog

from everystall.backup.shelf import Shelf, State
from everystall.processes import Children
from everystall.settings import Settings

log = structlog.get_logger()

#: Seconds between two looks, after the start before the first night's, and after one that failed.
LOOK, AT_FIRST, AGAIN = 2.0, 600.0, 3600.0
_ERRAND: Final = "backup"
BROKEN_OFF: Final = "It was broken off; all is as it was before."


class Keeper:
    """`with Keeper(settings, env) as keeper:`, and `keeper.look()` every now and then."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        self.shelf = Shelf(settings)
        self._env, self._errand = env, Children()
        self._busy = False
        self._looked, self._night_from = 0.0, time.monotonic() + AT_FIRST

    def __enter__(self) -> Keeper:
        self.shelf.drop()  # what was asked of another
        if (state := self.shelf.state()) is not None and state.going_on:
            self.shelf.tell(State(state.what, "failed", message=BROKEN_OFF))
        self.shelf.look_after()
        return self

    def __exit__(self, *_: object) -> None:
        self._errand.stop()

    def look(self) -> bool:
        """True if a restore is asked for: then stop everybody, and call `restore`."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return False
        self._looked = now
        self.shelf.look_after()
        if self._busy:
            if (ended := self._errand.ended()) is None:
                return False
            self._busy = False
            if not self._went_well(ended[1]):
                self._night_from = now + AGAIN
        asked = self.shelf.asked()
        if asked == "backup":
            self.shelf.drop()
            self._make("asked")
        elif (
            asked is None and now >= self._night_from and self.shelf.is_night_due(datetime.now().astimezone())
        ):
            self._make("night")
        return asked == "restore"

    def restore(self, file: str | None = None) -> str | None:
        """Puts back what is asked for, or `file`; the name of the restore point that was made before, or None
        where nothing was restored. Nobody else is connected meanwhile."""
        before = {one.name for one in self.shelf.find()}
        given = [] if file is None else [str(self.shelf.path(file))]
        self._errand.start(_ERRAND, "restore", "--for-up", *given, env=self._env)
        while (ended := self._errand.ended()) is None:
            self.shelf.look_after()
            time.sleep(0.2)
        self.shelf.drop()
        went_well = self._went_well(ended[1])
        points = [one.name for one in self.shelf.find() if one.kind == "before" and one.name not in before]
        return points[0] if points and went_well else None

    def _went_well(self, code: int) -> bool:
        """Of an errand that ended. One that was killed could not tell."""
        self._errand.stop()
        if code:
            log.error("backup.errand_failed", code=code)
        if (state := self.shelf.state()) is not None and state.going_on:
            self.shelf.tell(State(state.what, "failed", message=BROKEN_OFF, action="See the log."))
        return code == 0

    def _make(self, kind: str) -> None:
        self._errand.start(_ERRAND, "backup", "--for-up", kind, env=self._env)
        self._busy = True
