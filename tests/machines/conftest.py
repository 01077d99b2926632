"""Several hosts over one PostgreSQL and one S3, every process real: webs on one, workers on another. The
judge is the marketplaces' own ledger."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from everystall.db import migrate
from everystall.embedded import Server
from everystall.marketplaces import MARKETPLACES
from everystall.sandbox.core import PASSWORD
from everystall.sandbox.testing import Sandbox, start_in_thread
from everystall.web.tokens import hash_of, new_token
from tests.journeys.conftest import SHIRT, photo
from tests.machines.hosts import Host, Hosts, make_hosts, port_on
from tests.s3_server import S3

SITE = "mercari"


class Postgres:
    """The embedded server's programs on a data folder of their own, listening where all hosts reach it."""

    def __init__(self, hosts: Hosts) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="everystall-machines-"))
        self._server = Server(self._home, fsync=False)
        started = self._server.start()
        self._port = make_url(started.admin).port
        self._listen = {"127.0.0.1", hosts.hub.address}
        with open(self._server._data / "pg_hba.conf", "a") as rules:
            rules.write(f"host all all {hosts.network} scram-sha-256\n")
        self.admin = make_url(started.admin).set(host=hosts.hub.address).render_as_string(hide_password=False)
        login = make_url(self.admin).set(username="everystall_app", password=secrets.token_hex(16))
        self.login = login.render_as_string(hide_password=False)
        self.restart()
        migrate(self.admin, self.login)

    def restart(self, mode: str = "fast") -> None:
        """`fast` throws everybody out, `immediate` is a crash with recovery."""
        where = f"-h {','.join(sorted(self._listen))} -p {self._port} -c unix_socket_directories='' -F"
        server = self._server
        done = server._call(
            [
                server._bin / "pg_ctl",
                "-D",
                server._data,
                "-l",
                server._log,
                "-w",
                "-m",
                mode,
                "-o",
                where,
                "restart",
            ]
        )
        assert done.returncode == 0, done.stderr + server._log.read_text()[-2000:]

    def rows(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self._home)


@dataclass
class Seller:
    """One person with an account at the marketplace, and the jobs asked for."""

    name: str
    token: str
    profile: str = ""
    jobs: list[str] = field(default_factory=list)


@dataclass
class Network:
    """All of it."""

    hosts: Hosts
    postgres: Postgres
    s3: S3
    sandbox: Sandbox
    key: str
    #: The webs' addresses.
    webs: list[str] = field(default_factory=list)
    #: How often one of them said that it cannot answer now.
    turned_away: int = 0

    def env(self, host: Host, **more: str) -> dict[str, str]:
        return {
            "EVERYSTALL_HOME": str(host.home),
            "DATABASE_URL": self.postgres.login,
            "SESSION_ENCRYPTION_KEY": self.key,
            "PACE_SECONDS": "0",
            "DAILY_CAP": "100000",
            **{name: value for name, value in os.environ.items() if name == "CHROMIUM"},
            **self.s3.settings(),
            **{f"{name.upper()}_URL": self.sandbox.url(name) for name in MARKETPLACES},
            **more,
        }

    def web(self, host: Host, **more: str) -> str:
        """Starts one; its address as everybody reaches it."""
        port = port_on(host)
        address = f"http://{host.address}:{port}"
        env = self.env(host, EVERYSTALL_PORT=str(port), PUBLIC_URL=address, **more)
        host.start("-m", "everystall", "web", env=env)
        if host.namespace:
            host.relay((host.address, port), ("127.0.0.1", port))
        end = time.monotonic() + 300
        while True:
            try:
                httpx.get(f"{address}/healthz", trust_env=False, timeout=5).raise_for_status()
                self.webs.append(address)
                return address
            except httpx.HTTPError:
                assert time.monotonic() < end, host.said()
                time.sleep(0.1)

    def worker(self, host: Host, **more: str) -> subprocess.Popen[bytes]:
        return host.start("-m", "everystall", "worker", env=self.env(host, WORKER_VISITS="2", **more))

    # ---- sellers ----

    def seller(self, web: int = 0) -> Seller:
        """A new one with an API token, connected: signed in at the marketplace, handed over to a web."""
        seller = Seller(f"seller{secrets.token_hex(4)}", new_token())
        ((id,),) = self.postgres.rows(
            "INSERT INTO users (email) VALUES (%s) RETURNING id", f"{seller.name}@example.com"
        )
        self.postgres.rows(
            "INSERT INTO api_tokens (user_id, name, token_hash) VALUES (%s, 'test', %s) RETURNING id",
            id, hash_of(seller.token),
        )  # fmt: skip
        session = self.sandbox.world.sign_in(SITE, seller.name, PASSWORD)
        assert session is not None
        site = import_module(f"everystall.sandbox.{SITE}").site(self.sandbox.world)
        cookies = [
            {"name": one.name, "value": one.value, "domain": f"{SITE}.localhost", "path": one.path,
             "secure": True, "httpOnly": one.http_only}
            for one in site.cookies(session)
        ]  # fmt: skip
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {"marketplace": SITE, "cookies": cookies, "isLoggedIn": True, "timestamp": at}
        seller.profile = self.ask(seller, "POST", "/api/sessions/sync", web, json=body)["browserProfileId"]
        return seller

    def post(self, seller: Seller, number: int, web: int = 0, photos: int = 1) -> str:
        """Writes a listing with photos and posts it; its id."""
        body = {**SHIRT, "title": f"Linen shirt, number {number}"}
        listing = str(self.ask(seller, "POST", "/api/listings", web, json=body)["id"])
        files = [("photos", (f"{i}.png", photo(10 * number + i), "image/png")) for i in range(photos)]
        self.ask(seller, "POST", f"/api/listings/{listing}/photos", web, files=files)
        wish = {"listingId": listing, "marketplaces": [SITE]}
        seller.jobs.append(self.ask(seller, "POST", "/api/listings/post", web, json=wish)["jobId"])
        return listing

    def ask(self, seller: Seller, method: str, path: str, web: int = 0, **more: Any) -> Any:
        """As the seller, at one of the webs; again while the database is away, as any client would."""
        headers, end = {"Authorization": f"Bearer {seller.token}"}, time.monotonic() + 60
        while True:
            answer = httpx.request(method, self.webs[web % len(self.webs)] + path, headers=headers,
                                   trust_env=False, timeout=60, **more)  # fmt: skip
            if answer.status_code != 503 or time.monotonic() > end:
                break
            self.turned_away += 1
            time.sleep(0.5)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def done(self, *sellers: Seller, seconds: float) -> list[dict[str, Any]]:
        """All their jobs, once they have ended."""
        end, ended = time.monotonic() + seconds, []
        for place, seller in enumerate(sellers):
            for job in seller.jobs:
                while True:
                    now = await asyncio.to_thread(self.ask, seller, "GET", f"/api/jobs/{job}", place)
                    if now["status"] != "running" or time.monotonic() > end:
                        break
                    await asyncio.sleep(0.3)
                ended.append(now)
        return ended

    # ---- the judge ----

    def published(self, seller: Seller) -> list[str]:
        """Titles, as often as each was published."""
        entries = self.sandbox.ledger(marketplace=SITE, account=seller.name)["entries"]
        return sorted(one["fields"]["title"] for one in entries if one["event"] == "published")

    def live(self, seller: Seller) -> list[dict[str, Any]]:
        found = self.sandbox.ledger(marketplace=SITE, account=seller.name)["listings"]
        return [one for one in found if one["state"] == "live"]

    def clicks(self, seller: Seller) -> list[float]:
        """When our clicks on the account were armed, by the database's clock."""
        rows = self.postgres.rows(
            "SELECT extract(epoch FROM armed_at)::float8 FROM attempts a JOIN connections c "
            "ON c.id = a.connection_id WHERE c.public_id = %s AND armed_at IS NOT NULL ORDER BY armed_at",
            seller.profile,
        )
        return [row[0] for row in rows]

    def said(self) -> str:
        return "\n".join(host.said() for host in self.hosts.others)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("machines")
    with make_hosts(folder, "a", "b") as hosts:
        postgres, s3, sandbox = Postgres(hosts), S3(hosts.hub.address), start_in_thread()
        try:
            s3.start()
            made = Network(hosts, postgres, s3, sandbox, base64.b64encode(secrets.token_bytes(32)).decode())
            for host in (hosts.hub, *hosts.others):  # *.localhost is each machine's own
                if host.namespace:
                    host.relay(("127.0.0.1", sandbox.port), (hosts.hub.address, sandbox.port))
                elif hosts.hub.address != "127.0.0.1":
                    host.relay((hosts.hub.address, sandbox.port), ("127.0.0.1", sandbox.port))
            made.web(hosts.others[0])
            made.web(hosts.others[1])
            yield made
        finally:
            for host in hosts.others:
                host.end()
            sandbox.stop()
            s3.stop()
            postgres.stop()


@pytest.fixture
def workers(network: Network) -> Iterator[Any]:
    """`start(host)` a worker; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(host: Host, **more: str) -> subprocess.Popen[bytes]:
        started.append(network.worker(host, **more))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)
