"""The command `everystall`: every way to start, look after and check this installation.

Imports nothing heavy at the top: `--help` answers at once. A failure that we know by name becomes one
plain message and what to do, never a traceback; Ctrl-C ends everything that was started. For what serves
until then that is the normal end, exit 0; anything else that is broken off exits 130.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everystall import __version__
from everystall.errors import EverystallError, Misconfigured

if TYPE_CHECKING:
    from types import FrameType

    from everystall.backup.keeper import Keeper
    from everystall.processes import Children
    from everystall.settings import Settings
    from everystall.switch import Switch
    from everystall.vault.keyring import Keyring

app = typer.Typer(
    name="everystall",
    help="Write a listing once; sell it at every stall.",
    epilog="Settings come from the environment or from .env: see .env.example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="The vault's keys.", no_args_is_help=True)
token = typer.Typer(help="Tokens for the API.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(token, name="token")

#: Exit codes, as a shell has them: 1 for what we explain, 130 for what Ctrl-C broke off.
FAILED, INTERRUPTED = 1, 130
#: What ends whatever runs.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

WithParent = Annotated[bool, typer.Option("--with-parent", hidden=True)]


def main() -> None:
    """The entry point. Leaves by sys.exit, always."""
    from everystall.processes import interruptible

    try:
        with interruptible():
            app(prog_name="everystall")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except EverystallError as e:
        typer.echo(f"{e.message}\n{e.action}", err=True)
        sys.exit(FAILED)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"everystall {__version__}")
        raise typer.Exit


@app.callback()
def _everystall(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# ---- running --------------------------------------------------------------------------------------


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="Post, report and end, instead of staying up.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write what happened to this file, as JSON.")] = None,
) -> None:
    """Post a listing with four photos to three practice marketplaces, before your eyes.

    Needs nothing set up. Then it stays up until Ctrl-C. Exits 0 only if all three are live and read back
    equal.
    """
    from everystall.demo import show

    if not show.run(once=once, report=report.absolute() if report else None):
        raise typer.Exit(FAILED)


@app.command()
def up(
    practice: Annotated[
        bool,
        typer.Option("--practice", help="Another one, on practice marketplaces, with data of its own."),
    ] = False,
    in_its_place: Annotated[bool, typer.Option("--for-up", hidden=True)] = False,
    with_parent: WithParent = False,
) -> None:
    """Run all of Everystall on this machine: database, web and worker, for the real marketplaces."""
    import time

    from everystall.backup.keeper import Keeper
    from everystall.embedded import Watch
    from everystall.installation import addresses, first_owner_link, opened, prepare, welcome
    from everystall.marketplaces import MARKETPLACES, is_practice
    from everystall.processes import Children, claim_port, command, end_with_parent
    from everystall.switch import Switch

    if with_parent:
        end_with_parent()
    began = time.time()
    settings = _settings()
    asker = None
    if practice:
        from everystall.demo.practice import MARKETS_PORT, set_up

        asker = Switch(settings.everystall_home).take() if in_its_place else None
        settings = set_up(settings, in_its_place=in_its_place)
    claim_port(settings.everystall_port)
    own_database = settings.database_url is None
    with (
        opened(settings, own=True, prepared=False) as settings,
        Watch(settings.everystall_home) if own_database else nullcontext() as watch,
        Children() as children,
    ):
        env = {**os.environ, "DATABASE_URL": addresses(settings)["DATABASE_URL"],
               "PHOTOS_URL": settings.photos_location}  # fmt: skip
        env.pop("DATABASE_ADMIN_URL", None)
        for name in ("worker", "web"):  # they load while we migrate
            children.start(name, name, env=env, hold=True)
        if practice:
            children.start("practice", "sandbox", "--port", str(MARKETS_PORT), env=env)
        if settings.database_admin_url is not None:
            prepare(settings)
        if asker is not None:
            asyncio.run(welcome(settings, asker))
        for name in ("worker", "web"):
            children.release(name)
        _wait(children, settings.everystall_port, began)
        url = settings.address
        try:
            typer.echo(f"Everystall is up ({time.time() - began:.1f} s): {url}")
            if practice:
                typer.echo("  practice: nothing here reaches a real marketplace; the next start begins empty")
            typer.echo(f"  data     {settings.everystall_home}")
            typer.echo(f"  ready?   {url}/readyz")
            typer.echo(f"  the API  {url}/api/docs, and the way through: docs/api.md")
            own = os.environ.get("EVERYSTALL_HOME")
            home = f"EVERYSTALL_HOME={shlex.quote(own)} " if own else ""
            typer.echo(f"  a token  {home}{command()} token create --email ADDRESS-OF-YOUR-ACCOUNT")
            _say_first(asyncio.run(first_owner_link(settings)))
            typer.echo("Ctrl-C ends it.")
            errands = {**env, **addresses(settings)}
            switch = Switch(settings.everystall_home)
            switch.drop()  # what was asked of another
            real = not any(is_practice(settings.base_url(name)) for name in MARKETPLACES)
            with Keeper(settings, errands) as keeper:
                while (ended := children.ended()) is None:
                    if watch is not None:
                        watch.look()
                    if keeper.look():
                        _restore(keeper, children, env, settings)
                    if real and switch.look():
                        _practise(switch, keeper, children, env, settings)
                    time.sleep(0.5)
        except KeyboardInterrupt:
            typer.echo("Ending: visits finish their step (Ctrl-C again: at once).", err=True)
            return
        raise Misconfigured(
            f"The {ended[0]} ended by itself with code {ended[1]}, so everything was ended.",
            action="See what it says above, mend it and start again; nothing is lost.",
        )


def _restore(keeper: Keeper, children: Children, env: Mapping[str, str], settings: Settings) -> None:
    """Web and worker stopped, the backup put back, both started again; and if they do not work with it, what
    was here before."""
    from everystall.backup.shelf import State

    typer.echo("Restoring a backup: web and worker stop meanwhile.", err=True)
    children.stop()
    point = keeper.restore()
    try:
        _start_again(children, env, settings)
    except Misconfigured as e:
        if point is None:
            raise
        children.stop()
        keeper.restore(point)
        keeper.shelf.tell(
            State("restore", "failed", message=f"{e.message} All is as before.", action=e.action)
        )
        _start_again(children, env, settings)


def _practise(
    switch: Switch, keeper: Keeper, children: Children, env: Mapping[str, str], settings: Settings
) -> None:
    """Web and worker stopped, an Everystall to practise on where they were until its owner goes back or it
    ends, and both started again."""
    import time

    from everystall.demo.practice import check_markets, home_of
    from everystall.installation import find_lack
    from everystall.processes import Children, wait_until_ready
    from everystall.switch import Switch

    try:
        check_markets()
    except Misconfigured as e:
        switch.fail(e)
        return
    typer.echo("Practice takes the place of web and worker, until you go back on its pages.", err=True)
    children.stop()
    began, back = time.time(), Switch(home_of(settings))
    try:
        with Children() as there:
            there.start("practice", "up", "--practice", "--for-up")
            lack = partial(find_lack, settings.everystall_port, began)
            wait_until_ready(lack, there, what="What you practise on")  # and it tells what it waits for
            while not back.look():
                if (ended := there.ended()) is not None:
                    raise Misconfigured(
                        f"What you practised on ended by itself with code {ended[1]}.",
                        action="See what the log says, and try again.",
                    )
                keeper.look()  # the nights' backups
                time.sleep(0.5)
    except Misconfigured as e:
        switch.fail(e)
    typer.echo("Practice has ended; web and worker start again.", err=True)
    _start_again(children, env, settings)


def _start_again(children: Children, env: Mapping[str, str], settings: Settings) -> None:
    """Web and worker, once they were stopped; until they work."""
    import time

    began = time.time()
    for name in ("worker", "web"):
        children.start(name, name, env=env)
    _wait(children, settings.everystall_port, began)


def _wait(children: Children, port: int, began: float) -> None:
    """Until web and worker work; the terminal is told what is waited for."""
    from everystall.installation import find_lack
    from everystall.processes import wait_until_ready

    lack, tell = partial(find_lack, port, began), partial(typer.echo, err=True)
    wait_until_ready(lack, children, what="Everystall", tell=tell)


@app.command()
def web(with_parent: WithParent = False) -> None:
    """Run the web alone (API on EVERYSTALL_PORT)."""
    from everystall.installation import opened
    from everystall.processes import claim_port, end_with_parent, forbid_core_dumps

    forbid_core_dumps()
    settings = _settings()
    claim_port(settings.everystall_port)
    if with_parent:
        with _loading():
            import everystall.web.app  # noqa: F401 (loaded while the parent prepares)

        end_with_parent()
    with opened(settings) as settings:
        _run("web", _serve(settings, alone=not with_parent))


@app.command()
def worker(with_parent: WithParent = False) -> None:
    """Run a worker alone: it visits marketplaces. Any number may run over one DATABASE_URL."""
    with _loading():
        from everystall.installation import opened
        from everystall.processes import end_with_parent, forbid_core_dumps
        from everystall.worker.run import run

    forbid_core_dumps()
    settings = _settings()
    if with_parent:
        end_with_parent()
    with opened(settings) as settings:
        _run("worker", run(settings))


@app.command()
def bull_intake(with_parent: WithParent = False) -> None:
    """Take jobs in from a BullMQ queue in REDIS_URL (`make bull`): docs/from-nextjs.md."""
    from importlib.util import find_spec

    from everystall.installation import opened
    from everystall.processes import end_with_parent

    if find_spec("bullmq") is None:
        raise Misconfigured(
            "The package bullmq is not installed.",
            action="Run `make bull` in the clone.",
        )
    from everystall import bull

    settings = _settings()
    if with_parent:
        end_with_parent()
    with opened(settings) as settings:
        _run("bull-intake", bull.run(settings))


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Where it listens, on 127.0.0.1.", min=1, max=65535)] = 8730,
    with_parent: WithParent = False,
) -> None:
    """Serve the practice marketplaces: http://NAME.localhost:PORT for each."""
    from everystall.marketplaces import MARKETPLACES
    from everystall.processes import end_with_parent, is_free

    if not is_free(port):
        raise Misconfigured(f"Port {port} on 127.0.0.1 is taken.", action="Give another with --port.")
    if with_parent:
        end_with_parent()
    else:
        typer.echo("  ".join(f"http://{name}.localhost:{port}" for name in MARKETPLACES))
        typer.echo('Any user name with the password "practice" signs in. Ctrl-C ends it.')
    from everystall.sandbox import serve

    serve(port)


@app.command()
def migrate(
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end of older programs that it would break.")
    ] = False,
) -> None:
    """Bring the database to this version: tables, policies, functions and roles.

    Programs of the version before go on meanwhile; where they could not, it is refused and says who runs.
    """
    from everystall.installation import migrate as bring_up_to_date
    from everystall.installation import opened

    with opened(_settings(), prepared=False) as settings:
        typer.echo(bring_up_to_date(settings, partial(typer.echo, err=True) if wait else None))


# ---- backups --------------------------------------------------------------------------------------


@app.command()
def backup(
    to: Annotated[
        str | None,
        typer.Option(
            help="A file, or s3://bucket/folder/name by PHOTOS_S3_…, instead of EVERYSTALL_HOME/backups. "
            "s3://bucket/folder/ has it called by the time.",
            metavar="PLACE",
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option("--for-up", hidden=True)] = None,
    with_parent: WithParent = False,
) -> None:
    """Write everything to one encrypted file: database, photos, key ring. Others may go on meanwhile."""
    from everystall.backup.making import check_there, make, make_on_shelf
    from everystall.backup.remote import Remote, by_time, is_remote
    from everystall.installation import opened
    from everystall.processes import end_with_parent, forbid_core_dumps
    from everystall.vault.keyring import Keyring

    forbid_core_dumps()
    if with_parent:
        end_with_parent()
    settings = _settings()
    passphrase = None
    if to is not None and is_remote(to):
        to = by_time(to)
    file = Path(to).absolute() if to is not None and not is_remote(to) else None
    if file is not None and file.exists():
        raise typer.BadParameter(f"There is a file {to} already.", param_hint="--to")
    if kind is None:
        check_there(settings)
    if to is not None and settings.backup_passphrase is None:
        if not sys.stdin.isatty():
            raise Misconfigured(
                "A backup that goes elsewhere needs a passphrase, and nobody can be asked for one here.",
                action="Set BACKUP_PASSPHRASE, and keep it where this machine's end does not reach.",
            )
        passphrase = typer.prompt("A passphrase that opens it", hide_input=True, confirmation_prompt=True)
    with opened(settings, prepared=kind is None) as settings:
        keyring = Keyring.load(settings)
        with _told(settings, "backup", asked=kind is not None) as progress:
            if to is None:
                file = make_on_shelf(settings, keyring, kind or "asked", progress)
            elif file is not None:
                make(settings, keyring, file, passphrase=passphrase, progress=progress)
            else:
                remote = Remote(to, settings)
                make(settings, keyring, remote, passphrase=passphrase, progress=progress)
        where, size = (file, file.stat().st_size) if file is not None else (remote.where, remote.size() or 0)
        typer.echo(f"{where}: {size / 1e6:.1f} MB")
        if passphrase is None and settings.backup_passphrase is None and kind is None:
            typer.echo(
                "It opens only with the key ring of this machine. Set BACKUP_PASSPHRASE, and the next one "
                "opens with that, too.",
                err=True,
            )


@app.command()
def restore(
    backup: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="A backup: a file, or s3://bucket/folder/name by PHOTOS_S3_….",
            show_default=False,
        ),
    ] = None,
    for_up: Annotated[bool, typer.Option("--for-up", hidden=True)] = False,
    with_parent: WithParent = False,
) -> None:
    """Put everything back to how it was when FILE was made. Stop web and workers first.

    What is here now is kept as a backup before. Afterwards posting is paused for everybody: docs/backup.md.
    """
    from everystall.backup.remote import Remote, is_remote
    from everystall.backup.restoring import put_back
    from everystall.backup.shelf import Shelf
    from everystall.errors import BackupRefused
    from everystall.installation import opened
    from everystall.processes import end_with_parent, forbid_core_dumps
    from everystall.vault.keyring import Keyring

    forbid_core_dumps()
    if with_parent:
        end_with_parent()
    settings = _settings()
    there = backup is not None and (is_remote(backup) or os.path.isfile(backup))
    if not for_up and not there:
        kept = Shelf(settings).find()[:10]
        said = "Which backup?" if backup is None else f"There is no file {Path(backup).absolute()}."
        raise BackupRefused(
            f"{said} In {Shelf(settings).folder} there "
            + (f"are, the newest first: {', '.join(one.name for one in kept)}." if kept else "is none."),
            action=f"Name one: everystall restore {Shelf(settings).folder / kept[0].name}" if kept else
            "Name a backup by its path, or set EVERYSTALL_HOME to where they are (its folder `backups`).",
        )  # fmt: skip
    with opened(settings, own=not for_up, prepared=False) as settings:
        keyring = Keyring.load(settings)
        with _told(settings, "restore", asked=for_up) as progress:
            shelf = Shelf(settings)
            if backup is None:
                name, key = shelf.take(keyring)
                file = shelf.path(name)
            elif is_remote(backup):
                file = Remote(backup, settings).fetch(shelf)
                try:
                    key = _key_of(file, settings, keyring)
                except BaseException:
                    file.unlink()
                    raise
            else:
                file = Path(backup)
                key = _key_of(file, settings, keyring)
            done, point = put_back(file, key, settings, keyring, progress)
        typer.echo(f"All is as it was at {done.made:%Y-%m-%d %H:%M} UTC: {done.photos} photos, "
                   f"{done.sessions} sign-ins that open, {done.broken} that do not.")  # fmt: skip
        if point is not None:
            typer.echo(f"What was here before is in {point}.")
        typer.echo("Posting is paused for everybody, and everybody has to sign in again.")
        if not for_up:
            typer.echo("Next: start it again (`everystall up`, or web and workers). Each seller then signs "
                       "in, looks at what *Today* says about the restore, and goes on there.")  # fmt: skip


@app.command("move-database")
def move_database(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="An empty PostgreSQL database, as a superuser or as its owner with CREATEROLE: "
            "postgresql://USER:PASSWORD@HOST/DATABASE. The password may be in PGPASSWORD instead.",
            show_default=False,
        ),
    ],
) -> None:
    """Move the database that came with Everystall into one of yours. Stop `everystall up` first.

    All rows or none; the old one stays where it is and is not used any more. Says what to set then.
    """
    from everystall.backup.moving import check_target, move
    from everystall.installation import opened
    from everystall.processes import forbid_core_dumps

    forbid_core_dumps()
    settings = _settings()
    if settings.database_url is not None:
        raise Misconfigured(
            "The database is one of yours already: DATABASE_URL names it.",
            action="To move that, use PostgreSQL's own pg_dump and pg_restore.",
        )
    check_target(url)
    with opened(settings, own=True) as settings:
        moved = move(settings, url, _progress)
    typer.echo(
        f"{moved.rows:,} rows of {moved.tables} tables are at {moved.place}, each table counted and compared."
    )
    typer.echo("Set these, in the environment or in .env, and start it again:")
    typer.echo(f"  DATABASE_URL_FILE={moved.login_file}")
    typer.echo(f"  DATABASE_ADMIN_URL_FILE={moved.admin_file}")
    typer.echo(
        f"Photos and the key ring stay in {settings.everystall_home}. The old database is not used any more."
    )


# ---- looking after it -----------------------------------------------------------------------------


@keys.command()
def rotate(
    rewrap: Annotated[bool, typer.Option(help="Wrap all data keys by the newest key.")] = False,
    reencrypt: Annotated[bool, typer.Option(help="Give every seller a new data key, and seal anew.")] = False,
    retire: Annotated[str | None, typer.Option(help="Destroy this old key for good.", metavar="KID")] = None,
) -> None:
    """Make a new key the current one. May be stopped and run again at any moment."""
    from everystall.installation import admin, opened
    from everystall.vault import rotation
    from everystall.vault.keyring import Keyring

    with opened(_settings()) as settings:
        keyring = Keyring.load(settings)

        async def work() -> str:
            async with admin(settings) as engine:
                return await rotation.rotate(
                    engine, keyring, settings,
                    rewrap=rewrap, reencrypt=reencrypt, retire=retire, progress=_progress,
                )  # fmt: skip

        typer.echo(f"The current key is {asyncio.run(work())}.")


@keys.command()
def verify() -> None:
    """Open everything sealed, and name what does not open. Each session's is in its seller's audit."""
    from everystall.installation import admin, opened
    from everystall.vault import rotation
    from everystall.vault.keyring import Keyring

    with opened(_settings()) as settings:
        keyring = Keyring.load(settings)

        async def work() -> rotation.Verified:
            async with admin(settings) as engine:
                return await rotation.verify(engine, keyring, settings, progress=_progress)

        found = asyncio.run(work())
        for line in found.broken:
            typer.echo(line, err=True)
        typer.echo(
            f"{found.keys} data keys, {found.sessions} sessions, {found.secrets} other secrets and "
            f"{found.settings} secret settings open; {len(found.broken)} do not."
        )
        if not found.sound:
            raise typer.Exit(FAILED)


@token.command()
def create(
    email: Annotated[str, typer.Option(help="Whose: the address of an account.")],
    name: Annotated[str, typer.Option(help="What you call it.")] = "made at the command line",
    new: Annotated[bool, typer.Option("--new", help="Make the account if there is none.")] = False,
) -> None:
    """Make an API token and print it. It is shown this once."""
    from everystall.installation import make_token, opened

    with opened(_settings()) as settings:
        typer.echo(asyncio.run(make_token(settings, email, name, new=new)))


@app.command()
def password(email: Annotated[str, typer.Option(help="Whose.")]) -> None:
    """Give somebody who forgot theirs a new password. Asks for it; signs their browsers out, and no second
    factor is asked of them until they set one up again."""
    from everystall.installation import opened, set_password

    new = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    with opened(_settings()) as settings:
        asyncio.run(set_password(settings, email, new))
    typer.echo(f"{email} signs in with the new password alone from now on.")


@app.command()
def doctor(
    marketplace: Annotated[
        str | None, typer.Argument(help="One whose form is rehearsed instead.", show_default=False)
    ] = None,
    connection: Annotated[
        str | None, typer.Option(help="Whose session: the account's browserProfileId, bp_…")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep what was found again.")] = False,
) -> None:
    """Check this machine: Python, Chromium, database, key, folder, port. Exit 1 if anything is wrong.

    With a MARKETPLACE, its form as it is today: it is filled in with a listing of the seller's and never
    published. Says what was found, healed or missing, and which hosts the page called.
    """
    from everystall import doctor
    from everystall.processes import forbid_core_dumps

    settings = _settings()
    if marketplace is None:
        if connection is not None or save:
            raise typer.BadParameter("Which one?", param_hint="MARKETPLACE")
        good = doctor.examine(settings)
    else:
        forbid_core_dumps()
        good = doctor.rehearse(settings, marketplace, connection, save=save)
    if not good:
        raise typer.Exit(FAILED)


# ---- what the commands share ----------------------------------------------------------------------


def _settings() -> Settings:
    from everystall import logs, settings

    loaded = settings.load()
    logs.set_up(loaded)
    return loaded


@contextmanager
def _loading() -> Iterator[None]:
    """What is loaded stays. To look through it again and again for rubbish, while there is more and more of
    it, was a seventh of a start; and nobody does later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _run(kind: str, work: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, and the database knows this process by its kind. Until `work` has handlers of its own a
    signal cancels it: an exception that is raised in the midst of a task would be logged as a traceback
    too."""
    from everystall.compatibility import name_process

    name_process(kind)
    before = {number: signal.getsignal(number) for number in ENDING}

    async def cancelled_by_signals() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in ENDING:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await work

    try:
        asyncio.run(cancelled_by_signals())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _key_of(file: Path, settings: Settings, keyring: Keyring) -> bytes:
    """By the key ring, BACKUP_PASSPHRASE, or what is typed in."""
    from everystall.backup.shelf import find_key
    from everystall.errors import BackupRefused

    set_ = settings.backup_passphrase
    try:
        return find_key(file, keyring, set_.get_secret_value() if set_ is not None else None)[1]
    except BackupRefused as refused:
        if not refused.details.get("passphrase"):
            raise
    return find_key(file, keyring, typer.prompt("Its passphrase", hide_input=True))[1]


@contextmanager
def _told(settings: Settings, what: str, *, asked: bool) -> Iterator[Callable[[int, int], None]]:
    """How far it is: to the terminal, or to the pages where it was asked for there."""
    import time

    from everystall.backup.shelf import Shelf, State

    if not asked:
        yield lambda done, total: _progress(done, total) if done % 500 == 0 else None
        return
    shelf, last = Shelf(settings), 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            shelf.tell(State(what, "runs", done, total))

    shelf.tell(State(what, "runs"))
    try:
        yield progress
    except EverystallError as e:
        shelf.tell(State(what, "failed", message=e.message, action=e.action))
        raise
    except BaseException as e:
        said = f"It was broken off ({type(e).__name__}); all is as before."
        shelf.tell(State(what, "failed", message=said, action="Try again; the log says more."))
        raise
    shelf.tell(State(what, "done"))


def _progress(done: int, total: int) -> None:
    typer.echo(f"  {done} of {total}", err=True)


def _say_first(link: str | None) -> None:
    """To the terminal and to nowhere else: whoever opens it becomes the owner."""
    if link is not None:
        typer.echo(f"Nobody can sign in yet. Make the owner's account within a day:\n  {link}")


async def _serve(settings: Settings, *, alone: bool) -> None:
    """The web until a signal. What start-up refuses comes out as it is, not as a traceback. `alone`: not one
    of `up`'s, whose place nobody else could take."""
    with _loading():
        import structlog
        import uvicorn

        from everystall import systemd, traces
        from everystall.installation import first_owner_link
        from everystall.web.app import create_app
        from everystall.web.draining import GRACE_SECONDS
        from everystall.web.protocol import Protocol

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """As uvicorn's, which raises the signal once more after a clean end: that would be exit 130,
            and cut our own end short."""
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            for number in ENDING:
                loop.add_signal_handler(number, self.handle_exit, number, None)
            try:
                yield
            finally:
                for number in ENDING:
                    loop.add_signal_handler(number, task.cancel)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            seconds = web_app.state.draining.begin() if sig == signal.SIGTERM and alone else 0.0
            if seconds:
                structlog.get_logger().info("web.draining", seconds=seconds)
                asyncio.get_running_loop().call_later(seconds, self.handle_exit, sig, frame)
            else:
                super().handle_exit(sig, frame)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                systemd.tell(systemd.READY)
                log = structlog.get_logger()
                log.info("web.ready", address=settings.address, port=settings.everystall_port)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Who waits for something to be told is let go first."""
            systemd.tell(systemd.STOPPING)
            await web_app.state.parts.captures.close()
            await web_app.state.parts.moves.close()
            await super().shutdown(sockets)

    web_app = create_app(settings)
    server = Server(
        uvicorn.Config(
            web_app, host=settings.everystall_listen, port=settings.everystall_port, lifespan="off",
            log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS, http=Protocol,
            proxy_headers=False,  # create_app's
        )
    )  # fmt: skip
    with traces.sent(settings, "web"):
        async with web_app.router.lifespan_context(web_app), systemd.watched(lambda: True):
            if alone:
                _say_first(await first_owner_link(settings))
            await server.serve()
