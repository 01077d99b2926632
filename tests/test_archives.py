"""Archives: into an object store and back, in a memory that does not grow with them, and of every format that
there was."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everystall.backup import archive, remote, restoring
from everystall.backup.making import make
from everystall.backup.remote import Remote
from everystall.backup.sealing import Sealing, read_head, unlock
from everystall.backup.shelf import Shelf, find_key
from everystall.db import Database
from everystall.errors import BackupRefused, Conflict, Misconfigured
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from tests.conftest import Urls
from tests.s3_server import BUCKET, S3

#: What old versions made (1: the commit before 5f359c4d, 2: before 0c4b703d): of two sellers, each with a
#: listing that is live and has a photo, and a data key.
OLD = sorted((Path(__file__).parent / "archives").glob("format-*.everystall"))
ROOT = Path(__file__).parent.parent
PASSPHRASE = "four stalls in the rain"
LISTINGS = """
SELECT u.email, l.id, l.title, l.price_cents, p.sha256 FROM users u JOIN listings l ON l.user_id = u.id
JOIN listing_photos p ON p.listing_id = l.id ORDER BY u.email, p.sha256
"""


def settings_of(urls: Urls, home: Path, **more: Any) -> Settings:
    home.mkdir(mode=0o700, exist_ok=True)
    return Settings(
        _env_file=None, everystall_home=home, database_url=urls.login, database_admin_url=urls.admin,
        pbkdf2_iterations=100_000, **more,
    )  # fmt: skip


def rows(settings: Settings, statement: str) -> list[Any]:
    with psycopg.connect(settings.database_admin_url.get_secret_value(), autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def originals(settings: Settings) -> dict[str, int]:
    folder = settings.everystall_home / "photos" / "originals"
    return {path.name: path.stat().st_size for path in folder.glob("*")}


def sell(settings: Settings, photos: int, size: int) -> None:
    """Two sellers, each with a listing that has so many photos of so many bytes."""
    folder = settings.everystall_home / "photos" / "originals"
    folder.mkdir(parents=True)
    with psycopg.connect(settings.database_admin_url.get_secret_value()) as connection:
        for who in ("alice", "bob"):
            listing = connection.execute(
                "WITH u AS (INSERT INTO users (email) VALUES (%s) RETURNING id) "
                "INSERT INTO listings (user_id, title) SELECT id, %s FROM u RETURNING user_id, id",
                [f"{who}@example.com", f"Shirt of {who}"],
            ).fetchone()
            assert listing is not None
            for position in range(photos):
                data = os.urandom(size)
                sha256 = hashlib.sha256(data).hexdigest()
                (folder / sha256).write_bytes(data)
                connection.execute(
                    "INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, "
                    "height, byte_size) VALUES (%s, %s, %s, %s, 'image/png', 1, 1, %s)",
                    [*listing, position, sha256, size],
                )


@pytest.fixture
def here(database_urls, tmp_path) -> Settings:
    return settings_of(database_urls, tmp_path / "here")


@pytest.fixture
def there(empty_database, tmp_path) -> Settings:
    return settings_of(empty_database, tmp_path / "there")


@pytest.fixture(scope="module")
def s3():
    server = S3()
    server.start()
    yield server
    server.stop()


def stored(s3: S3) -> dict[str, Any]:
    """Where archives go, as settings; photos lie in the folder."""
    return {name.lower(): value for name, value in s3.settings().items() if name != "PHOTOS_URL"}


async def put_back(file: Path, settings: Settings) -> restoring.Restored:
    keyring = Keyring.load(settings)
    key = find_key(file, keyring, PASSPHRASE)[1]
    return (await asyncio.to_thread(restoring.put_back, file, key, settings, keyring))[0]


def test_one_that_this_user_may_not_read_says_so(here):
    folder = here.everystall_home  # root may read any file, and no folder as one
    with pytest.raises(BackupRefused, match="cannot be read") as refused:
        find_key(folder, Keyring.load(here), PASSPHRASE)
    assert "chmod" in refused.value.action


@pytest.mark.longer
async def test_an_archive_goes_to_an_object_store_in_parts_and_comes_back(
    s3, database_urls, empty_database, tmp_path, monkeypatch
):
    here = settings_of(database_urls, tmp_path / "here", **stored(s3))
    there = settings_of(empty_database, tmp_path / "there", **stored(s3))
    monkeypatch.setattr(remote, "PART", 5 * 1024 * 1024)  # S3 takes no smaller one
    await asyncio.to_thread(sell, here, 2, 3_000_000)
    keyring, url = Keyring.load(here), f"s3://{BUCKET}/backups/all.everystall"

    def write(progress=archive.silent) -> None:
        make(here, keyring, Remote(url, here), passphrase=PASSPHRASE, progress=progress)

    def breaks_off(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(write, breaks_off)
    assert Remote(url, here).size() is None
    await asyncio.to_thread(write)
    size = Remote(url, here).size()
    assert size is not None
    assert size > 12_000_000
    assert not (here.everystall_home / "backups").exists()  # nothing of it lay here
    with pytest.raises(Conflict, match="already"):
        await asyncio.to_thread(write)

    file = await asyncio.to_thread(Remote(url, there).fetch, Shelf(there))
    assert (file.stat().st_size, oct(file.stat().st_mode & 0o777)) == (size, "0o600")
    assert [one.kind for one in Shelf(there).find()] == ["sent"]
    restored = await put_back(file, there)
    assert restored.photos == 4
    assert rows(there, LISTINGS) == rows(here, LISTINGS)
    assert originals(there) == originals(here)

    with pytest.raises(BackupRefused, match="There is no file"):
        await asyncio.to_thread(Remote(f"{url}-not", there).fetch, Shelf(there))
    url_of_nobody = "s3://nobodys/all.everystall"
    with pytest.raises(Misconfigured, match=f"There is no bucket for {url_of_nobody}"):
        await asyncio.to_thread(make, here, keyring, Remote(url_of_nobody, here), passphrase=PASSPHRASE)
    stranger = there.model_copy(update={"photos_s3_key_id": "somebody"})
    with pytest.raises(Misconfigured, match="does not accept our keys") as refused:
        await asyncio.to_thread(Remote(url, stranger).fetch, Shelf(there))
    assert s3.key_secret not in refused.value.message + refused.value.action
    assert len(Shelf(there).find()) == 1
    for wrong in ("s3://bucket", "s3:///all.everystall", "gopher://bucket/all.everystall", "s3://bucket/a/"):
        with pytest.raises(Misconfigured, match="no place in an object store"):
            Remote(wrong, there)


@pytest.mark.extended
async def test_the_commands_take_an_object_stores_address(s3, database_urls, empty_database, tmp_path):
    here = settings_of(database_urls, tmp_path / "here", **stored(s3))
    there = settings_of(empty_database, tmp_path / "there", **stored(s3))
    await asyncio.to_thread(sell, here, 1, 1000)
    url = f"s3://{BUCKET}/by-command.everystall"

    def run(urls: Urls, home: Path, *arguments: str) -> str:
        env = {
            "PATH": os.environ["PATH"], "DATABASE_URL": urls.login, "DATABASE_ADMIN_URL": urls.admin,
            "EVERYSTALL_HOME": str(home), "BACKUP_PASSPHRASE": PASSPHRASE, "PBKDF2_ITERATIONS": "100000",
            **s3.settings(),
        }  # fmt: skip
        del env["PHOTOS_URL"]
        done = subprocess.run(
            [sys.executable, "-m", "everystall", *arguments],
            capture_output=True, text=True, check=False, env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = await asyncio.to_thread(run, database_urls, here.everystall_home, "backup", "--to", url)
    assert said.startswith(f"{url}: ")
    said = await asyncio.to_thread(run, empty_database, there.everystall_home, "restore", url)
    assert "2 photos" in said
    assert rows(there, LISTINGS) == rows(here, LISTINGS)


@pytest.mark.longer
async def test_each_night_one_goes_to_the_object_store_and_either_comes_back_elsewhere(
    s3, database_urls, empty_database, tmp_path
):
    """By the very command of the timer's unit, which has the key by the environment and nobody to ask. Two
    sellers; between the nights one of them writes a listing."""
    here = settings_of(database_urls, tmp_path / "here", **stored(s3))
    there = settings_of(empty_database, tmp_path / "there", **stored(s3))
    await asyncio.to_thread(sell, here, 1, 1000)
    unit = (ROOT / "deploy/systemd/everystall-backup.service").read_text()
    (command,) = re.findall(r"^ExecStart=/srv/everystall/.venv/bin/everystall (.+)$", unit, re.M)
    folder = f"s3://{BUCKET}/nights/"

    def run(urls: Urls, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"], "DATABASE_URL": urls.login, "DATABASE_ADMIN_URL": urls.admin,
            "EVERYSTALL_HOME": str(home), "BACKUP_PASSPHRASE": PASSPHRASE, "PBKDF2_ITERATIONS": "100000",
            **s3.settings(), **more,
        }  # fmt: skip
        del env["PHOTOS_URL"]
        return subprocess.run(
            [sys.executable, "-m", "everystall", *arguments],
            capture_output=True, text=True, check=False, env=env, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    nights, stood = [], []
    for night in range(2):
        stood.append(rows(here, LISTINGS))
        asked = command.replace("${BACKUP_TO}", folder).split()
        done = await asyncio.to_thread(run, database_urls, here.everystall_home, *asked)
        assert done.returncode == 0, done.stderr
        name = done.stdout.partition(": ")[0]
        assert re.fullmatch(rf"{folder}\d{{8}}T\d{{6}}Z\.everystall", name), done.stdout
        nights.append(name)
        rows(here, f"UPDATE listings SET title = 'Changed after night {night}' RETURNING 1")
        await asyncio.sleep(1)  # names tell seconds apart
    assert nights[0] < nights[1]
    assert not (here.everystall_home / "backups").exists(), "nothing of it lies on this disk"
    away = {"PHOTOS_S3_ENDPOINT": "http://127.0.0.1:9"}
    failed = await asyncio.to_thread(run, database_urls, here.everystall_home, *asked, **away)
    assert (failed.returncode, "does not answer" in failed.stderr) == (1, True)
    assert PASSPHRASE not in failed.stderr + failed.stdout
    # another machine, with another key ring: each night is as it was
    for name, then in zip(nights, stood, strict=True):
        done = await asyncio.to_thread(run, empty_database, there.everystall_home, "restore", name)
        assert done.returncode == 0, done.stderr
        assert rows(there, LISTINGS) == then
    assert stood[0] != stood[1]
    assert originals(there) == originals(here)


@pytest.mark.longer
async def test_neither_a_backup_nor_a_restore_takes_more_memory_where_there_is_more(here, there, tmp_path):
    await asyncio.to_thread(sell, here, 16, 8_000_000)
    size, file = 256_000_000, tmp_path / "all.everystall"

    def status(name: str) -> int:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines[name].split()[0]) * 1024

    def grows(work: Any, *arguments: Any) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = status("VmRSS")
        work(*arguments)
        return status("VmHWM") - before

    keyring = Keyring.load(here)

    def write() -> None:
        make(here, keyring, file, passphrase=PASSPHRASE)

    def read() -> None:
        ring = Keyring.load(there)
        restoring.put_back(file, find_key(file, ring, PASSPHRASE)[1], there, ring)

    assert await asyncio.to_thread(grows, write) < size // 3
    assert file.stat().st_size > size
    assert await asyncio.to_thread(grows, read) < size // 3
    assert originals(there) == originals(here)
    assert rows(there, LISTINGS) == rows(here, LISTINGS)


@pytest.mark.longer
def test_what_was_written_or_read_is_not_remembered(here, tmp_path):
    """A tar file of Python's keeps a note of each member: 300 bytes and more for each photo."""
    keyring, file = Keyring.load(here), tmp_path / "many.everystall"
    tracemalloc.start()
    try:
        with file.open("wb") as out:
            sealing: Any = Sealing(out, {"made": "", "version": ""}, keyring, None, 100_000)
            with tarfile.open(fileobj=sealing, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for number in range(8000):
                    archive._add(tar, f"photos/{number}", b"x")
                assert tracemalloc.get_traced_memory()[0] < 2_000_000
            sealing.close()
        data = io.BytesIO(file.read_bytes())
        key = unlock(read_head(data), keyring.key_bytes(), None)
        data.seek(0)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in archive.members(data, key)) == 8000
        assert tracemalloc.get_traced_memory()[1] - before < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
async def test_what_an_old_version_made_is_restored(file, there):
    restored = await put_back(file, there)
    assert restored.photos == 2
    people = dict(rows(there, "SELECT email, id FROM users"))
    assert people.keys() == {"alice@example.com", "bob@example.com"}
    assert len(originals(there)) == 2
    for table in ("user_keys", "connections", "publications", "listing_photos"):
        owners = rows(there, f"SELECT user_id FROM {table} ORDER BY 1")
        assert owners == sorted((each,) for each in people.values()), table
    assert rows(there, "SELECT DISTINCT state, wanted, put FROM publications") == [("live", "live", "live")]
    keyring = Keyring.load(there)
    for kid, wrapped, user in rows(there, "SELECT kid, wrapped, user_id FROM user_keys"):
        with keyring.unwrap(wrapped, kid, user, 1) as key:
            assert bytes(key) == bytes(32)
    database = Database(there.database_url.get_secret_value())
    try:
        await database.check_login()
        for email, person in people.items():
            async with database.as_user(person) as session:
                connection = await session.connection()
                seen = (await connection.exec_driver_sql("SELECT title, price_cents FROM listings")).all()
                assert seen == [(f"Shirt of {email.partition('@')[0]}", 2500)]
    finally:
        await database.close()


def test_there_is_one_of_each_older_format():
    assert [file.stem for file in OLD] == [f"format-{n}" for n in range(1, archive.FORMAT)]
