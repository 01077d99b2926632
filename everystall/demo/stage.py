"""A whole Everystall of real processes beside the practice marketplaces, for the demo and the benchmarks.

`everystall sandbox` and `everystall up` run as anybody would run them; all that happens here goes through
the HTTP API and a real Chromium. Uses its own data folder and free ports, never a setting that names a
database, a key or a marketplace of yours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

from everystall.browser.session import open_browser
from everystall.demo.practice import cleaned
from everystall.errors import EverystallError, Misconfigured
from everystall.installation import find_lack
from everystall.inventory.sample import DEFAULTS as DEFAULTS
from everystall.inventory.sample import LISTING as LISTING
from everystall.inventory.sample import PHOTOS as PHOTOS
from everystall.marketplaces import MARKETPLACES, get_adapter
from everystall.processes import PATIENCE_SECONDS, Children, answers, free_port, python_path, wait_until_ready
from everystall.settings import Settings, load

#: The only settings of the caller's that hold here too.
_KEPT = frozenset({"CHROMIUM", "LOG_FORMAT", "EVERYSTALL_HOME", "EVERYSTALL_PORT"})


@dataclass
class Stage:
    """What runs, and how to reach it."""

    settings: Settings
    env: dict[str, str]
    sandbox_port: int
    logs: Path
    children: Children
    #: Seconds from `everystall up` to ready.
    up_seconds: float
    api: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.everystall_port}"

    def site(self, marketplace: str) -> str:
        return f"http://{marketplace}.localhost:{self.sandbox_port}"

    def everystall(self, *arguments: str) -> str:
        """Runs `everystall ARGUMENTS` here and returns what it printed."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "everystall", *arguments],
                env={**self.env, "PYTHONPATH": python_path()},
                capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            said = f"`everystall {' '.join(arguments)}` did not end in {PATIENCE_SECONDS:.0f} seconds."
            raise Misconfigured(said) from None
        if done.returncode:
            raise Misconfigured(f"`everystall {' '.join(arguments)}` failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def control(self, method: str, path: str, **body: Any) -> Any:
        """The sandbox's own control: ledger, faults, buyers."""
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.request(
                method, f"http://127.0.0.1:{self.sandbox_port}/_control/{path}", json=body or None
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of our API's answer. Raises Refusal in its own words."""
        answer = self.api.request(method, path, **options)
        if answer.is_error:
            raise Refusal(method, path, answer)
        return answer.json() if answer.content else None

    def new_seller(self, email: str) -> None:
        """From here on the API is asked as this seller."""
        token = self.everystall("token", "create", "--new", "--email", email, "--name", "demo").split()[-1]
        self.api.headers["Authorization"] = f"Bearer {token}"

    def connect(self, marketplace: str, captured: Mapping[str, Any]) -> str:
        """Hands a captured session over in the extension's place (for the benchmarks) and sets the
        account's defaults; the browserProfileId."""
        synced = self.call(
            "POST",
            "/api/sessions/sync",
            json={
                "marketplace": marketplace,
                "cookies": captured["cookies"],
                "localStorage": captured["localStorage"],
                "sessionStorage": captured["sessionStorage"],
                "isLoggedIn": True,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "userAgent": captured["userAgent"],
            },
        )
        profile = str(synced["browserProfileId"])
        self.set_defaults(marketplace, profile)
        return profile

    def profile_of(self, marketplace: str) -> str:
        """The browserProfileId of the seller's account there."""
        accounts = self.call("GET", "/api/connections")["connections"]
        return str(next(one["browserProfileId"] for one in accounts if one["marketplace"] == marketplace))

    def set_defaults(self, marketplace: str, profile: str) -> None:
        """What a seller sets once for an account."""
        if DEFAULTS.get(marketplace):
            self.call("PATCH", f"/api/connections/{profile}", json={"defaults": DEFAULTS[marketplace]})

    def new_listing(self, photos: Sequence[Path] = PHOTOS, **changes: Any) -> str:
        """A listing with its photos; the listingId."""
        made = self.call("POST", "/api/listings", json={**LISTING, **changes})
        listing_id = str(made["listingId"])
        files = [("photos", (photo.name, photo.read_bytes(), "image/jpeg")) for photo in photos]
        self.call("POST", f"/api/listings/{listing_id}/photos", files=files)
        return listing_id

    def post(self, listing_id: str, marketplaces: Sequence[str]) -> Any:
        return self.call(
            "POST", "/api/listings/post", json={"listingId": listing_id, "marketplaces": list(marketplaces)}
        )


class Refusal(EverystallError):
    """Our own API said no."""

    def __init__(self, method: str, path: str, answer: httpx.Response) -> None:
        super().__init__(f"{method} {path} was answered {answer.status_code}: {answer.text[:2000]}")


@contextmanager
def set_up(
    *,
    home: Path | None = None,
    more: Mapping[str, str] | None = None,
    sandbox: str = "everystall",
    tell: Callable[[str], None] = lambda said: None,
) -> Iterator[Stage]:
    """The sandbox and `everystall up`, ready; all of it ended at the end. `more` is added to the
    environment, `sandbox` is the module that serves the marketplaces (the benchmarks count page loads);
    `tell` is told what a slow start waits for."""
    home = home or Path(os.environ.get("EVERYSTALL_HOME") or own_home())
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)  # an .env of yours is for the real thing
    logs = home / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    port = int(os.environ.get("EVERYSTALL_PORT") or free_port())
    sandbox_port = free_port()
    env = {
        **cleaned(os.environ, _KEPT),
        "EVERYSTALL_HOME": str(home),
        "EVERYSTALL_PORT": str(port),
        **{f"{name.upper()}_URL": f"http://{name}.localhost:{sandbox_port}" for name in MARKETPLACES},
        "PACE_SECONDS": "0",
        "DAILY_CAP": "100000",
        **(more or {}),
    }
    os.environ.clear()
    os.environ.update(env)
    settings = load()
    with (
        Children() as children,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as api,
    ):
        children.start(
            "sandbox",
            "sandbox",
            "--port",
            str(sandbox_port),
            module=sandbox,
            env=env,
            log=logs / "sandbox.log",
        )
        started = time.monotonic()
        began = time.time()
        children.start("everystall", "up", env=env, log=logs / "everystall.log")
        wait_until_ready(
            partial(find_lack, port, began),
            children,
            what="Everystall",
            log=logs / "everystall.log",
            tell=tell,
        )
        up_seconds = time.monotonic() - started
        markets = f"http://127.0.0.1:{sandbox_port}/_control/state"
        wait_until_ready(
            lambda: None if answers(markets) is not None else "its web",
            children, what="The sandbox", log=logs / "sandbox.log", tell=tell,
        )  # fmt: skip
        yield Stage(settings, env, sandbox_port, logs, children, up_seconds, api)


async def capture(stage: Stage, marketplace: str, username: str) -> dict[str, Any]:
    """Signs in through the marketplace's own page in a real Chromium, and takes what the extension
    would: cookies (httpOnly ones too), localStorage, sessionStorage, user agent."""
    base_url = stage.site(marketplace)
    async with open_browser(
        site=get_adapter(marketplace).site, base_url=base_url, storage=None, settings=stage.settings
    ) as browser:
        page = browser.page.raw
        await import_module(f"everystall.sandbox.{marketplace}.signin").sign_in(page, base_url, username)
        storage = (await browser.storage()).to_json()
        return {**storage, "userAgent": await page.evaluate("navigator.userAgent")}


def own_home() -> Path:
    """A data folder of this clone's own."""
    return Path(__file__).resolve().parents[2] / ".data" / "demo"
