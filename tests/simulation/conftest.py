"""The database of the simulation, and the clock of its workers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everystall.browser import guard
from everystall.db import Database
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.worker import lease, publish, revise, visit
from tests.simulation.stage import Life, Stage
from tests.simulation.workers import Clock, WatchedLease


@pytest.fixture(scope="module")
def stage(server: Any, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A database of this module's own; each example has a seller of its own in it, deleted at its end."""
    name = f"everystall_simulation_{secrets.token_hex(4)}"
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    urls = server.named(name)
    home: Path = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    made = Settings(
        _env_file=None, everystall_home=home, database_url=urls.login, database_admin_url=urls.admin,
        pace_seconds=5, lease_renew_seconds=1e-6,
    )  # fmt: skip
    database = Database(urls.login)
    stage = Stage(made, Vault(database, Keyring.load(made), made), database, Clock(), urls.admin)
    yield stage
    stage.close()
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def simulated(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The workers' clock, and no waiting for a look that is due in a moment."""
    for module in (guard, lease):
        monkeypatch.setattr(module, "clock", stage.clock.monotonic)
    for module in (publish, visit):
        monkeypatch.setattr(module, "time", stage.clock)
    monkeypatch.setattr(revise, "STALE", (0.0, 0.0))
    monkeypatch.setattr(visit, "LINGER_SECONDS", -1.0)
    monkeypatch.setattr(visit, "Lease", WatchedLease)
    return stage


@pytest.fixture
def begin(simulated: Stage) -> Iterator[Callable[..., Life]]:
    """`begin("mercari")`: a seller who is connected there and has asked for the first of two listings to be
    posted. For what the machine found, step by step."""
    lives: list[Life] = []

    def make(*marketplaces: str) -> Life:
        life = Life(simulated, marketplaces)
        lives.append(life)
        life.post(life.listings[0], life.accounts)
        return life

    yield make
    for life in lives:
        life.close()
