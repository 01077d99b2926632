"""`everystall up --practice`: a second Everystall, on practice marketplaces. Its data is a folder of its own
that begins empty with each start; your settings for database, keys and marketplaces do not hold there. It
runs beside the real one, or in its place while that rests (everystall/switch.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from everystall.errors import Misconfigured
from everystall.marketplaces import MARKETPLACES
from everystall.processes import claim_port, is_free
from everystall.settings import Settings, load

#: Where the practice marketplaces are, as `everystall sandbox` and the practice extension have it.
MARKETS_PORT: Final = 8730
#: In the folder that is emptied: it is this module's.
MARK: Final = "practice-only"
#: The only settings of the caller's that hold here too.
KEPT: Final = frozenset({"CHROMIUM", "LOG_FORMAT"})


def cleaned(environment: Mapping[str, str], kept: frozenset[str]) -> dict[str, str]:
    """The environment without a setting of ours, but for these."""
    names = {name.upper() for name in Settings.model_fields} - kept
    names |= {f"{name}_FILE" for name in names}
    return {name: value for name, value in environment.items() if name not in names}


def home_of(settings: Settings) -> Path:
    """Where the practice installation of this one has its data."""
    return settings.everystall_home / "practice"


def check_markets() -> None:
    """Raises Misconfigured where the practice marketplaces could not be."""
    if not is_free(MARKETS_PORT):
        raise Misconfigured(
            f"Port {MARKETS_PORT} on 127.0.0.1 is taken, where the practice marketplaces would be.",
            action="Stop what listens there: perhaps `everystall sandbox`.",
        )


def set_up(settings: Settings, *, in_its_place: bool = False) -> Settings:
    """The settings of the practice installation beside this one, or where this one is; this process'
    environment and folder become its own, and an `.env` is out of sight. Raises Misconfigured."""
    port = settings.everystall_port + (0 if in_its_place else 1)
    claim_port(port)
    check_markets()
    home = home_of(settings)
    _empty(home)
    own = {
        "EVERYSTALL_HOME": str(home),
        "EVERYSTALL_PORT": str(port),
        # beside it another name than 127.0.0.1: a browser keeps the cookies of the two apart
        "PUBLIC_URL": settings.public_url if in_its_place else f"http://localhost:{port}",
        "EVERYSTALL_ROOT_PATH": settings.everystall_root_path if in_its_place else "",
        **{f"{name.upper()}_URL": f"http://{name}.localhost:{MARKETS_PORT}" for name in MARKETPLACES},
    }
    environment = cleaned(os.environ, KEPT)
    os.environ.clear()
    os.environ.update(environment | own)
    os.chdir(home)
    return load()


def _empty(home: Path) -> None:
    """What was practised before goes: the practice marketplaces forget it too."""
    if home.exists():
        if not (home / MARK).exists():
            raise Misconfigured(
                f"{home} is there, and not of an Everystall that was practised with.",
                action="Move it away; the practice data would take its place.",
            )
        shutil.rmtree(home)
    home.mkdir(mode=0o700, parents=True)
    (home / MARK).touch()
