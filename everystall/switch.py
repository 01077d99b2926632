"""The switch between this Everystall and one to practise on: what the pages and `everystall up` tell each
other in EVERYSTALL_HOME, since the web starts no process (decision 17).

Who asks goes along by hashes only, in a file for us alone that is gone once it was read.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from everystall.errors import Conflict, EverystallError

#: Seconds between two looks of who turns it; without one for GONE nobody does.
LOOK, GONE = 2.0, 30.0
#: Seconds after which what was asked for is done: by then the page that waits for it has come.
SETTLED: Final = 1.0
#: Starts the other one at the command line, beside this one.
PRACTISE: Final = "everystall up --practice"


@dataclass(frozen=True)
class Asker:
    """The owner who asks, as the other Everystall is to know them."""

    email: str
    #: argon2id.
    password_hash: str | None
    #: SHA-256 of their browser's cookie, in hex, and what that browser is called.
    cookie_hash: str
    browser: str


class Switch:
    """Of the Everystall whose data folder this is."""

    def __init__(self, home: Path) -> None:
        self._asked, self._failed = home / "switch.json", home / "switch-failed.json"
        self._alive = home / "switch-looked-after"
        self._looked = 0.0

    def ask(self, asker: Asker | None = None) -> None:
        """For the other one to take this one's place. Raises Conflict where nobody turns the switch."""
        if not self.is_looked_after():
            raise Conflict(
                "Nothing here starts the practice marketplaces by itself: `everystall up` does.",
                action=f"Use `{PRACTISE}` at the command line.",
            )
        self.drop()
        _write(self._asked, asdict(asker) if asker is not None else {})

    def is_asked(self) -> bool:
        return self._asked.exists()

    def take(self) -> Asker | None:
        """Who asked, if they said; nothing is asked for then."""
        try:
            said = json.loads(self._asked.read_text())
            return Asker(**said) if said else None
        except (OSError, ValueError, TypeError):
            return None
        finally:
            self.drop()

    def drop(self) -> None:
        """Nothing is asked for, and nothing failed."""
        self._asked.unlink(missing_ok=True)
        self._failed.unlink(missing_ok=True)

    def fail(self, error: EverystallError) -> None:
        """What was asked for cannot be done."""
        self.drop()
        _write(self._failed, {"message": error.message, "action": error.action})

    def failed(self) -> dict[str, str] | None:
        """Why the other one could not be started when it was asked for last, and what to do."""
        try:
            return dict(json.loads(self._failed.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def look(self) -> bool:
        """For who turns it, every now and then: True once the other one is asked for."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return False
        self._looked = now
        self._alive.touch(mode=0o600)
        try:
            return time.time() - self._asked.stat().st_mtime > SETTLED
        except OSError:
            return False

    def is_looked_after(self) -> bool:
        try:
            return time.time() - self._alive.stat().st_mtime < GONE
        except OSError:
            return False


def _write(path: Path, content: dict[str, str | None]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
