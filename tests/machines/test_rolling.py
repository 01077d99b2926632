"""An upgrade with a migration, process by process, while sellers post: nobody is refused anything, and each
listing is there once. The newer version is a copy of this one with a migration more."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from everystall import __version__
from everystall.compatibility import newest
from tests.machines.conftest import Network, Seller
from tests.machines.hosts import ROOT
from tests.machines.test_machines import _judge, _load, _until

pytestmark = [pytest.mark.journey, pytest.mark.browser, pytest.mark.longer]

NEWER = "9.9.9"
MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9900", "{before}", None, None
backward_compatible = {compatible}
def upgrade():
    op.add_column("listings", sa.Column("shelf", sa.TEXT(), nullable=True))
    rank = sa.Column("rank", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("publications", rank)
    op.create_index("publications_by_rank", "publications", ["rank"])
"""


def make_newer(folder: Path, *, compatible: bool) -> Path:
    """The program, of another version."""
    for name in ("everystall", "migrations", "extension"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", "tests")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    head = max(path.name[:4] for path in (folder / "migrations/versions").glob("[0-9]*.py"))
    made = MIGRATION.format(before=head, compatible=compatible)
    (folder / "migrations/versions/9900_more.py").write_text(made)
    about = folder / "everystall/__init__.py"
    about.write_text(about.read_text().replace(__version__, NEWER))
    return folder


def migrate(network: Network, newer: Path) -> subprocess.CompletedProcess[str]:
    env = network.env(network.hosts.hub, DATABASE_ADMIN_URL=network.postgres.admin, PYTHONPATH=str(newer))
    return subprocess.run(
        [sys.executable, "-m", "everystall", "migrate"], cwd=newer, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], **env}, check=False,
    )  # fmt: skip


@dataclass
class Proxy:
    """What stands before the webs: it asks each whether it is ready, as a proxy does every few seconds, and
    asks only such as said so. Keeps what a seller was answered."""

    seller: Seller
    webs: list[str]
    answers: Counter[int | str] = field(default_factory=Counter)

    async def go_on(self) -> None:
        ready: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(ready))
            for _ in range(2):
                tasks.create_task(self._ask(ready))

    async def _look(self, ready: list[str]) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            while True:
                for web in list(self.webs):
                    good = False
                    with suppress(httpx.HTTPError):
                        good = (await client.get(f"{web}/readyz")).status_code == 200
                    if good and web not in ready:
                        ready.append(web)
                    elif not good and web in ready:
                        ready.remove(web)
                await asyncio.sleep(1)

    async def _ask(self, ready: list[str]) -> None:
        """Over connections that are kept."""
        headers, turn = {"Authorization": f"Bearer {self.seller.token}"}, 0
        async with httpx.AsyncClient(trust_env=False, timeout=60, headers=headers) as client:
            while True:
                await asyncio.sleep(0.1)
                if not ready:
                    continue
                turn += 1
                try:
                    answer = await client.get(f"{ready[turn % len(ready)]}/api/listings")
                    self.answers[answer.status_code] += 1
                except httpx.HTTPError as e:
                    self.answers[type(e).__name__] += 1


def version_of(web: str) -> str | None:
    try:
        return str(httpx.get(f"{web}/healthz", trust_env=False, timeout=60).json()["version"])
    except httpx.HTTPError:
        return None


async def test_webs_and_workers_are_replaced_one_by_one_over_a_migration_while_sellers_post(
    network: Network, workers, tmp_path: Path
):
    a, b = network.hosts.others
    newer = make_newer(tmp_path / "newer", compatible=True)
    old_webs, old_workers = list(network.webs), [workers(a), workers(b)]
    sellers = _load(network, listings=2)
    await _until(lambda: any(network.published(seller) for seller in sellers), network)
    proxy = Proxy(sellers[0], list(old_webs))
    asking = asyncio.create_task(proxy.go_on())

    breaking = make_newer(tmp_path / "breaking", compatible=False)
    refused = await asyncio.to_thread(migrate, network, breaking)
    assert (refused.returncode, refused.stdout) == (1, "")
    for kind in ("web", "worker"):
        assert refused.stderr.count(f"a {kind} of version {newest()} (") == 2, refused.stderr
    migrated = await asyncio.to_thread(migrate, network, newer)
    assert "now at 9900" in migrated.stdout, migrated.stderr
    network.post(sellers[1], 2, web=0)  # at a web of before, and a worker of before may take it
    assert [web and version_of(web) for web in old_webs] == [__version__] * 2
    assert [worker.poll() for worker in old_workers] == [None, None]

    for place, host in enumerate((a, b)):  # workers first: what a newer web writes they know
        before = old_workers[place]
        workers(host, PYTHONPATH=str(newer))
        before.terminate()
        assert await asyncio.to_thread(before.wait, 65) == 0, network.said()
        network.post(sellers[place], 2 + place, web=1)
    for place, host in enumerate((a, b)):
        web = next(one for one in host.running if "web" in one.args)
        address = await asyncio.to_thread(network.web, host, PYTHONPATH=str(newer))
        proxy.webs.append(address)
        web.terminate()
        assert await asyncio.to_thread(web.wait, 60) == 0, network.said()
        network.webs.remove(old_webs[place])
        network.post(sellers[2], 2 + place, web=place)
    assert [version_of(web) for web in network.webs] == [NEWER] * 2
    hosts_of = "SELECT DISTINCT version FROM everystall.workers WHERE seen_at > now() - interval '10 s'"
    await _until(lambda: network.postgres.rows(hosts_of) == [(NEWER,)], network)

    await _judge(network, sellers)
    end = time.monotonic() + 60
    while proxy.answers[200] < 50 and time.monotonic() < end:
        await asyncio.sleep(0.2)
    asking.cancel()
    assert set(proxy.answers) == {200}, proxy.answers
    assert network.turned_away == 0
