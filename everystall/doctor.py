"""`everystall doctor`: can this machine run Everystall? Each line is something tried just now, shown when it
is done, and what to do where it fails. Changes nothing but what any start would change, and says so before;
shows no secret. `everystall doctor MARKETPLACE`: is that site's form as we know it (worker/rehearse.py)?"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from everystall.browser import hosts, remote
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.embedded import Server
from everystall.errors import BadRequest, EverystallError, Misconfigured, NotFound, listed
from everystall.installation import addresses, admin, opened
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.processes import answers, is_free
from everystall.settings import Settings
from everystall.worker.agents import why_absent

if TYPE_CHECKING:
    from everystall.worker.rehearse import Rehearsed

#: MB. A worker's browsers, photos and the database need room; below this a warning is an error.
ROOM = 500
#: Prints a line at once: what a check is about to make.
Say = Callable[[str], None]
#: Rows that say nothing where one that they need is wrong.
_DATABASE, _PHOTOS = "Database, key", "Photos"
_AFTER = {
    "Agent": {_DATABASE},
    "Workers": {_DATABASE},
    "Places": {_DATABASE},
    "Mailboxes": {_DATABASE},
    "Whose photos": {_DATABASE, _PHOTOS},
    "Sites' hosts": {_DATABASE},
}


@dataclass(frozen=True)
class Warned:
    """Everystall runs so, but not as it may be meant."""

    message: str
    action: str


def examine(settings: Settings) -> bool:
    """Prints a row per check as each is done; True if nothing is wrong."""
    checks: list[tuple[str, Callable[[Settings, Say], str | Warned]]] = [
        ("Python", _python),
        ("Folder", _folder),
        ("Chromium", _chromium),
        ("Driver", _driver),
        (_DATABASE, _database),
        ("Agent", _agent),
        ("Workers", _workers),
        ("Places", _places),
        ("Mailboxes", _mailboxes),
        (_PHOTOS, _photos),
        ("Whose photos", _photo_store),
        ("Redis", _redis),
        ("Port", _port),
        ("Sites' hosts", _hosts),
    ]
    console = Console(highlight=False)
    say = partial(console.print, markup=False)
    wrong: set[str] = set()
    for name, check in checks:
        if wrong & _AFTER.get(name, set()):
            continue
        with console.status(f"{name} …"):
            try:
                told = check(settings, say)
                if isinstance(told, Warned):
                    result, found = Text("warn", "bold yellow"), _and_what_to_do(told)
                else:
                    result, found = Text("ok", "green"), Text(told)
            except EverystallError as e:
                wrong.add(name)
                result, found = Text("wrong", "bold red"), _and_what_to_do(e)
        row = Table.grid(Column(width=14), Column(width=6), Column(overflow="fold"))
        row.add_row(name, result, found)
        console.print(row)
    return not wrong


def _and_what_to_do(told: Warned | EverystallError) -> Text:
    return Text.assemble(told.message, "\n", (told.action, "bold"))


def _python(_: Settings, say: Say) -> str:
    return f"{sys.version.split()[0]} at {sys.executable}"


def _folder(settings: Settings, say: Say) -> str:
    home = settings.everystall_home
    try:
        if not home.exists():
            say(f"Making the data folder {home}, for this user alone …")
        home.mkdir(parents=True, mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home):
            pass
    except OSError as e:
        raise Misconfigured(
            f"{home} cannot be written: {e.strerror}.",
            action="Make it this user's (chown), or set EVERYSTALL_HOME to another folder.",
        ) from None
    others = home.stat().st_mode & 0o007
    if others & 0o006:
        raise Misconfigured(
            f"Others can read or write {home} (mode {home.stat().st_mode & 0o777:03o}).",
            action=f"chmod 700 {home}",
        )
    free = shutil.disk_usage(home).free // 1_000_000
    if free < ROOM:
        raise Misconfigured(f"Only {free} MB are free at {home}.", action=f"Make room: at least {ROOM} MB.")
    return f"{home}, {free / 1000:.0f} GB free"


def _chromium(settings: Settings, say: Say) -> str | Warned:
    if settings.browser_elsewhere:
        where = "at BROWSER_CDP_URL" if settings.browser_cdp_url is not None else "to BROWSER_USE_API_KEY"
        return f"{asyncio.run(remote.find_version(settings))} answers {where}"
    path = find_chromium(settings)
    version = _run([str(path), "--version"]).strip().splitlines()[-1:]
    with tempfile.TemporaryDirectory(prefix="everystall-doctor-") as profile:
        arguments = [*LAUNCH_ARGS, "--headless", f"--user-data-dir={profile}", "--dump-dom"]
        page = _run([str(path), *arguments, "data:text/html,<p>everystall</p>"])
    if "everystall" not in page:
        raise Misconfigured(
            f"{path} starts but shows no page.", action="Run it by hand to see why, or `make chromium`."
        )
    found = f"{version[0] if version else 'starts'} at {path}"
    if os.geteuid() == 0:
        return Warned(
            f"{found}; without its sandbox, since this is root: a page that breaks Chromium has this machine",
            "Run Everystall as a user of its own (docs/install.md).",
        )
    return found


def _agent(settings: Settings, say: Say) -> str:
    """Never wrong: it is the last rung where a site changed, and without it that is a stop."""
    with opened(settings, prepared=False) as filled:
        absent = why_absent(asyncio.run(_as_chosen(filled)))
    return f"none: {absent}" if absent else "is asked where a page changed and nothing else helps"


@dataclass
class _Follower:
    settings: Settings


async def _as_chosen(settings: Settings) -> Settings:
    """With what an owner chose under Settings, as web and workers have them."""
    from everystall.choices import Following
    from everystall.db import Database
    from everystall.vault.keyring import Keyring
    from everystall.vault.sessions import Vault

    database, parts = Database(addresses(settings)["DATABASE_URL"]), _Follower(settings)
    try:
        vault = Vault(database, Keyring.load(settings), settings)
        following = Following(settings, vault.open_setting, lambda newer: None)
        await following.follow(parts, database, at_once=True)
    finally:
        await database.close()
    return parts.settings


def _driver(_: Settings, say: Say) -> str:
    """What works the browser is a program of its own, and needs a library that a bare Debian has not."""
    version = _run(
        [sys.executable, "-m", "playwright", "--version"],
        name="Playwright's driver",
        action="Install what it misses (Debian: apt-get install libatomic1).",
    )
    return f"Playwright {version.split()[-1]} starts"


def _run(
    command: list[str],
    *,
    name: str | None = None,
    action: str = "Install what it misses (Debian: apt-get install chromium), or set CHROMIUM to another.",
) -> str:
    name = name or command[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Misconfigured(
            f"{name} does not run: {type(e).__name__}.", action="Install another, or set CHROMIUM."
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or "no word").splitlines()[-1]
        raise Misconfigured(f"{name} does not start (exit {done.returncode}): {said[:300]}", action=action)
    return done.stdout


def _database(settings: Settings, say: Say) -> str:
    embedded = settings.database_url is None
    if embedded and not Server(settings.everystall_home).exists():
        say(f"Making the database and its key in {settings.everystall_home} (once, some seconds) …")
    from everystall.db import Database  # 0.9 s for which no row before need wait
    from everystall.vault import rotation
    from everystall.vault.keyring import Keyring

    with opened(settings) as filled:
        database = Database(addresses(filled)["DATABASE_URL"])

        async def check() -> str:
            try:
                await database.check_login()
                async with database.as_app() as session:  # as web and worker do at their start
                    await rotation.check(session, Keyring.load(filled))
                async with database.engine.connect() as connection:
                    return str((await connection.exec_driver_sql("SHOW server_version")).scalar_one())
            finally:
                await database.close()

        version = asyncio.run(check())
    kind = "embedded" if embedded else "yours"
    return f"PostgreSQL {version} ({kind}), the login role is behind the wall; it knows the ring key here"


def _workers(settings: Settings, say: Say) -> str | Warned:
    from sqlalchemy import text

    from everystall.db import Database
    from everystall.web.numbers import AWAY_SECONDS

    async def read(database: Database) -> tuple[list[str], int]:
        try:
            async with database.as_app() as session:
                there = await session.scalars(
                    text("SELECT host FROM everystall.standing_workers() "
                         "WHERE seen_at > now() - make_interval(secs => :away)"),
                    {"away": AWAY_SECONDS},
                )  # fmt: skip
                due = await session.scalar(text("SELECT due FROM everystall.queue_numbers()"))
                return list(there), int(due or 0)
        finally:
            await database.close()

    with opened(settings, prepared=False) as filled:
        hosts_, due = asyncio.run(read(Database(addresses(filled)["DATABASE_URL"])))
    if hosts_:
        return f"{len(hosts_)} at work, on {listed(sorted(set(hosts_)))}"
    if due or answers(f"http://127.0.0.1:{settings.everystall_port}/healthz"):
        return Warned(
            f"none runs, and what is due waits: {due}. Nothing of it is lost",
            "Start one: `everystall worker`; or all of it: `everystall up`.",
        )
    return "none runs, and nothing waits for one; `everystall up` starts one, as does `everystall worker`"


def _places(settings: Settings, say: Say) -> str | Warned:
    from sqlalchemy import text

    from everystall.db import Database
    from everystall.web.numbers import AWAY_SECONDS

    async def read(database: Database) -> list[tuple[str, int, int]]:
        try:
            async with database.as_app() as session:
                found = await session.execute(
                    text("SELECT place, accounts, workers FROM everystall.place_numbers(:away)"),
                    {"away": AWAY_SECONDS},
                )
                return [(row.place, row.accounts, row.workers) for row in found]
        finally:
            await database.close()

    with opened(settings, prepared=False) as filled:
        places = asyncio.run(read(Database(addresses(filled)["DATABASE_URL"])))
    if not places:
        return "no account asks for one, and no worker stands at one (WORKER_PLACE)"
    said = "\n".join(
        f"{place}: accounts that ask for it {accounts}, workers that stand there {workers}"
        for place, accounts, workers in places
    )
    deserted = [place for place, accounts, workers in places if accounts and not workers]
    if deserted:
        return Warned(
            said,
            f"No worker stands at {listed(deserted)}: nothing is posted or taken down there. Start one with "
            f"WORKER_PLACE={deserted[0]}, or give those accounts another place (docs/many-machines.md, 4).",
        )
    return said


def _mailboxes(settings: Settings, say: Say) -> str | Warned:
    from sqlalchemy import select, text

    from everystall.db import Database
    from everystall.inventory.mailboxes import MOST, is_left
    from everystall.models import Mailbox

    async def read(database: Database) -> int:
        try:
            free = text("SELECT user_id FROM everystall.take_mailboxes(1000, interval '0')")
            async with database.as_app() as session:
                users = (await session.scalars(free)).all()
                await session.rollback()  # nothing is taken
            left = 0
            for user_id in users:
                async with database.as_user(user_id) as session:
                    box = await session.scalar(select(Mailbox))
                    left += box is not None and is_left(box)
            return left
        finally:
            await database.close()

    with opened(settings, prepared=False) as filled:
        left = asyncio.run(read(Database(addresses(filled)["DATABASE_URL"])))
    if left:
        return Warned(
            f"mailboxes that no worker reads for more than 15 minutes: {left}",
            f"A worker reads at most {MOST}: start another one (`everystall worker`), or one at all.",
        )
    return "none waits for a worker to read it"


def _photos(settings: Settings, say: Say) -> str:
    from everystall.content.photos import OWN_HOME, Photos  # Pillow and the stores: not for the rows before

    async def probe() -> str:
        photos = Photos(settings)
        try:
            return await photos.probe()
        finally:
            await photos.close()

    found = f"{asyncio.run(probe())}: written, read and deleted"
    return f"{found}\n{OWN_HOME}" if settings.photos_of_own_home else found


def _photo_store(settings: Settings, say: Say) -> str:
    from everystall.content.photo_store import know_store
    from everystall.content.photos import Photos
    from everystall.db import Database

    async def know(filled: Settings) -> str:
        database, photos = Database(addresses(filled)["DATABASE_URL"]), Photos(filled)
        try:
            return str(await know_store(database, photos))
        finally:
            await photos.close()
            await database.close()

    with opened(settings, prepared=False) as filled:
        return f"this database's, by its {asyncio.run(know(filled))} there and here"


def _redis(settings: Settings, say: Say) -> str:
    from redis import Redis, RedisError

    if settings.redis_url is None:
        return "none (REDIS_URL): right while there is one web, which counts rate limits by itself"
    try:
        client = Redis.from_url(
            settings.redis_url.get_secret_value(), socket_connect_timeout=2, socket_timeout=2
        )
    except ValueError:
        raise Misconfigured(
            "REDIS_URL is not the address of a Redis.", action="Write it as redis://:PASSWORD@HOST:6379/0."
        ) from None
    known = client.connection_pool.connection_kwargs
    where = f"{known.get('host', 'the local socket')}:{known.get('port', 6379)}"
    try:
        with client:
            client.ping()
    except (RedisError, OSError) as e:
        raise Misconfigured(
            f"Redis at {where} does not let us in, or does not answer ({type(e).__name__}).",
            action="Check that it runs, and REDIS_URL. Until then each web counts rate limits by itself.",
        ) from None
    return f"{where} answers: webs count rate limits together there"


def _hosts(settings: Settings, say: Say) -> str:
    """Never wrong: pages work with them. Somebody who knows the site should say whether they belong to it."""
    met = hosts.find(settings.everystall_home)
    lines = [
        f"{MARKETPLACES.get(name, name)}: {', '.join(f'{host} ({day})' for host, day in known.items())}"
        for name, known in met.items()
        if known
    ]
    if not lines:
        return "no visit met a host that its adapter does not list"
    return "\n".join(
        [
            "pages loaded parts from hosts that their adapters do not list (and the day they last did):",
            *lines,
            "Where you know one to be the site's own (photos, captcha, payment), add it to `parts` in that "
            "marketplace's pages.py with its source in NOTES.md, or report it.",
        ]
    )


def _port(settings: Settings, say: Say) -> str:
    port = settings.everystall_port
    if is_free(port):
        return f"{port} on 127.0.0.1 is free"
    ours = answers(f"http://127.0.0.1:{port}/healthz")
    if ours and "version" in ours:
        return f"{port} on 127.0.0.1 has Everystall {ours['version']} on it"
    raise Misconfigured(
        f"Port {port} on 127.0.0.1 is taken by another program.",
        action="Stop what listens there, or set EVERYSTALL_PORT.",
    )


# ---- one marketplace's form -----------------------------------------------------------------------


def rehearse(settings: Settings, marketplace: str, account: str | None, *, save: bool) -> bool:
    """Prints what came of it; True if the form is as we know it, or healed. `account`: its browserProfileId;
    none: the only one. Raises what keeps it from being tried."""
    get_form(marketplace)
    console = Console(highlight=False)
    with opened(settings) as filled:
        id, name = asyncio.run(_find_account(filled, marketplace, account))
        folder = filled.everystall_home / "run" / "doctor" / marketplace
        shutil.rmtree(folder, ignore_errors=True)
        with console.status(f"{MARKETPLACES[marketplace]}, as {name} …"):
            told = asyncio.run(_rehearse(filled, id, folder, save))
    for row, found in _told(told, MARKETPLACES[marketplace], name, folder, save):
        grid = Table.grid(Column(width=17), Column(overflow="fold"))
        grid.add_row(row, found)
        console.print(grid)
    return told.good


async def _find_account(settings: Settings, marketplace: str, account: str | None) -> tuple[UUID, str]:
    """Its id, and what it is called. Any seller's: who runs this is the operator."""
    from sqlalchemy import text

    async with admin(settings) as engine, engine.connect() as connection:
        found = await connection.execute(
            text("SELECT id, public_id, account_name FROM connections WHERE marketplace = :m ORDER BY 2"),
            {"m": marketplace},
        )
        known = {row.public_id: (UUID(str(row.id)), row.account_name or row.public_id) for row in found}
    label = MARKETPLACES[marketplace]
    if account is None and len(known) > 1:
        names = [f"{public_id} ({name})" for public_id, (_, name) in known.items()]
        raise BadRequest(
            f"There are several {label} accounts here: {listed(names[:20])}.",
            action="Say which with --connection.",
        )
    if account is not None and account not in known:
        raise NotFound(f"There is no {label} account {account[:60]!r} here.", action="Check its id (bp_…).")
    if not known:
        raise NotFound(f"No {label} account is connected here.", action="Connect one, and write a listing.")
    return known[account] if account is not None else next(iter(known.values()))


async def _rehearse(settings: Settings, id: UUID, folder: Path, save: bool) -> Rehearsed:
    from everystall.browser.driver import Driver
    from everystall.content.model import Model
    from everystall.content.photos import Photos
    from everystall.db import Database
    from everystall.vault.keyring import Keyring
    from everystall.vault.sessions import Vault
    from everystall.worker import heals
    from everystall.worker.rehearse import rehearse
    from everystall.worker.visit import Tools

    settings = await _as_chosen(settings)
    database, photos, driver = Database(addresses(settings)["DATABASE_URL"]), Photos(settings), Driver()
    try:
        vault = Vault(database, Keyring.load(settings), settings)
        tools = Tools(database, vault, photos, settings, driver, asyncio.Event(),
                      model=heals.finder(Model(settings)))  # fmt: skip
        return await rehearse(tools, id, folder, save=save)
    finally:
        await driver.close()
        await photos.close()
        await database.close()


def _told(
    told: Rehearsed, label: str, name: str, folder: Path, save: bool
) -> Iterator[tuple[str, str | Text]]:
    by = {how: [key for key, one in told.targets.items() if one == how] for how in told.targets.values()}
    yield label, f"as {name}, with “{told.title}”; nothing was published"
    if told.whole:
        yield "form", "filled in and read back; what publishes is there"
    elif told.stopped is not None:
        yield "stopped", _and_what_to_do(told.stopped)
    if told.wrong:
        yield "wrong", f"the form does not show what was filled in: {listed(told.wrong)}"
    for key in by.get("missing", []):
        yield "missing", key
    for key, one in told.healed.items():
        yield "healed", f"{key}, by {one.by}: {one.locator}"
    found = by.get("found", [])
    yield "found", f"{len(found)}: {'; '.join(found)}" if found else "none"
    why = "which other pages have or this listing does not need"
    if not told.whole:
        why = "which come after it stopped, or " + why
    yield "not met", f"{len(by.get('not met', []))}, {why}"
    for whose in ("its own", "listed", "not listed"):
        hosts = [host for host, one in told.hosts.items() if one == whose]
        if hosts:
            yield f"hosts {whose}", listed(hosts)
    if told.pictures:
        yield "pictures", f"{folder}: {listed([path.name for path in told.pictures])}"
    if told.left is not None:
        yield (
            "left there",
            Text(f"a draft that could not be deleted ({told.left}): delete it on {label}.", "bold"),
        )
    if save and told.whole:
        yield "kept", f"{told.kept} (Activity → Pages that changed)"
    elif told.healed:
        yield "kept", "nothing: --save keeps what was healed"
