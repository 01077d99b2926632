"""The owner's page of backups and the first start's: who may, what is asked for, and who does it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from everystall.backup import keeper as keepers
from everystall.backup import shelf as shelves
from everystall.backup.keeper import Keeper
from everystall.backup.making import make, make_on_shelf
from everystall.backup.shelf import SPARE, Shelf, State, find_key
from everystall.errors import NotFound
from everystall.vault.keyring import Keyring
from everystall.web.invitations import first_owner
from everystall.web.pages import backups
from tests.api.conftest import OURS, PASSWORD

PASSPHRASE = "four stalls in the rain"


@pytest.fixture
def shelf(site) -> Shelf:
    """Somebody looks after it, as `everystall up` does."""
    shelf = Shelf(site.settings)
    shelf.look_after()
    return shelf


@pytest.fixture
def settings(site):
    return site.settings.model_copy(update={"pbkdf2_iterations": 100_000})


async def made(settings, kind="asked"):
    return await asyncio.to_thread(make_on_shelf, settings, Keyring.load(settings), kind)


async def test_only_an_owner_learns_that_there_are_backups(site, shelf, settings):
    owner, seller = await site.person("alice", "owner"), await site.person("bob")
    path = await made(settings)
    page = await owner.get("/account/backup")
    assert page.status_code == 200
    assert path.name in page.text
    assert "Opens here only" in page.text
    assert "If this machine is lost" in page.text
    file = await owner.get(f"/account/backup/{path.name}")
    assert file.content == path.read_bytes()
    assert "attachment" in file.headers["content-disposition"]
    assert (await owner.get("/account/backup/..%2F..%2Fkeys%2Fring.json")).status_code in (404, 303)
    assert (await owner.get("/account/backup/state.json")).status_code == 404
    for address in ("/account/backup", f"/account/backup/{path.name}"):
        assert (await seller.get(address)).status_code == 404
        assert (await site.client().get(address)).status_code == 303
    for address in ("/account/backup", "/account/backup/restore", "/account/backup/upload"):
        for client in (seller.client, site.client()):
            sent = await client.post(address, data={"csrf": "x", "name": path.name}, headers=OURS)
            assert sent.status_code in (303, 404)
        forged = await owner.client.post(address, data={"name": path.name}, headers={"x-csrf-token": "no"})
        assert forged.status_code == 403
    assert shelf.asked() is None
    assert "/account/backup" not in (await seller.get("/account")).text
    assert "/account/backup" in (await owner.get("/account")).text


async def test_a_backup_is_asked_for_and_how_far_it_is_is_shown(site, shelf):
    owner = await site.person("alice", "owner")
    assert (await owner.client.post("/account/backup")).headers["location"] == "/account/backup"
    assert shelf.asked() == "backup"
    twice = await owner.client.post("/account/backup")
    assert (twice.status_code, "goes on just now" in twice.text) == (409, True)
    shelf.tell(State("backup", "runs", 12, 340))
    assert "12 of 340" in (await owner.get("/account/backup", headers={"X-Part": "backups"})).text
    shelf.tell(State("backup", "failed", message="There is not enough room.", action="Make room."))
    assert "There is not enough room." in (await owner.get("/account/backup")).text


async def test_where_nobody_looks_after_backups_the_page_says_so(site):
    owner = await site.person("alice", "owner")
    page = await owner.get("/account/backup")
    assert "everystall backup" in page.text
    assert "Back up now" not in page.text
    refused = await owner.client.post("/account/backup")
    assert (refused.status_code, "at the command line" in refused.text) == (409, True)


async def test_a_restore_takes_the_owners_password_and_leaves_no_passphrase(site, shelf, settings):
    owner = await site.person("alice", "owner")
    path = await made(settings)
    wrong = await owner.client.post("/account/backup/restore", data={"name": path.name, "password": "no"})
    assert (wrong.status_code, "That is not your password" in wrong.text) == (401, True)
    gone = await owner.client.post("/account/backup/restore", data={"name": "x", "password": PASSWORD})
    assert (gone.status_code, "not here any more" in gone.text) == (400, True)
    assert shelf.asked() is None
    good = await owner.client.post("/account/backup/restore", data={"name": path.name, "password": PASSWORD})
    assert good.status_code == 303
    keyring = Keyring.load(settings)
    asked = (shelf.folder / "asked.json").read_text()
    assert keyring.key_bytes()[0].hex() not in asked
    assert shelf.take(keyring) == (path.name, find_key(path, keyring, None)[1])
    with pytest.raises(NotFound):
        shelf.take(keyring)


async def test_a_file_is_kept_only_if_it_opens(site, shelf, settings, tmp_path):
    owner = await site.person("alice", "owner")
    (other := tmp_path / "other").mkdir()
    elsewhere = settings.model_copy(update={"everystall_home": other})
    file = tmp_path / "theirs.everystall"
    await asyncio.to_thread(make, elsewhere, Keyring.load(elsewhere), file, passphrase=PASSPHRASE)

    async def send(content, passphrase=PASSPHRASE, password=PASSWORD):
        shelf.look_after()
        return await owner.client.post(
            "/account/backup/upload", files={"file": ("a.everystall", content)},
            data={"passphrase": passphrase, "password": password},
        )  # fmt: skip

    for content, passphrase, password, said in (
        (file.read_bytes(), "another one", PASSWORD, "does not open the backup"),
        (file.read_bytes(), "", PASSWORD, "closed by a passphrase"),
        (file.read_bytes(), PASSPHRASE, "no", "not your password"),
        (b"a photograph", PASSPHRASE, PASSWORD, "no backup of Everystall"),
        (b"", PASSPHRASE, PASSWORD, "No file was sent"),
    ):
        refused = await send(content, passphrase, password)
        assert 400 <= refused.status_code < 500
        assert said in refused.text
        assert PASSPHRASE not in refused.text
        assert shelf.find() == []
    assert (await send(file.read_bytes())).status_code == 303
    (kept,) = shelf.find()
    assert (kept.kind, kept.portable) == ("sent", True)
    assert oct((shelf.folder / kept.name).stat().st_mode & 0o777) == "0o600"
    for left in shelf.folder.glob("*.json"):
        assert PASSPHRASE not in left.read_text()
    name, key = shelf.take(Keyring.load(settings))
    assert (name, key) == (kept.name, find_key(file, Keyring.load(elsewhere), None)[1])


def of_length(length: int | None) -> dict[str, str]:
    form = {"content-type": "multipart/form-data; boundary=b"}
    return form if length is None else form | {"content-length": str(length)}


async def unread() -> AsyncIterator[bytes]:
    raise AssertionError("it was read")
    yield b""


async def test_nothing_of_a_file_is_read_before_it_is_known_that_it_may_come_and_has_room(
    site, shelf, monkeypatch
):
    async def send(client, path="/account/backup/upload", length=1000, **headers):
        asked = of_length(length) | OURS | headers
        return await client.post(path, content=unread(), headers=asked)

    def is_full(answer):
        return answer.status_code == 507 and "not enough room" in answer.text

    # both on one disk: as it comes, and where it is kept
    monkeypatch.setattr(shelves.shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE + 999))
    assert is_full(await send(site.client(), f"/first/restore?token={await first_owner(site.database)}"))
    owner, seller = await site.person("alice", "owner"), await site.person("bob")
    assert (await send(site.client())).headers["location"].startswith("/sign-in")
    assert (await send(seller.client)).status_code == 404
    assert (await send(owner.client, origin="https://evil.example")).status_code == 403
    assert is_full(await send(owner.client))
    shelf.tell(State("backup", "runs", 12, 340))
    busy = await send(owner.client, length=1)
    assert (busy.status_code, "goes on just now" in busy.text) == (409, True)
    assert shelf.find() == []


async def test_a_file_that_says_no_length_comes_only_as_far_as_there_is_room(site, shelf, monkeypatch):
    owner, seller = await site.person("alice", "owner"), await site.person("bob")
    came = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal came
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.everystall"\r\n\r\n'
        while came < 100:
            came += 1
            yield bytes(1000)

    monkeypatch.setattr(backups, "LOOK", 5000)
    monkeypatch.setattr(
        shelves.shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE + 9000 - came * 1000)
    )
    for client in (owner.client, seller.client):
        refused = await client.post("/account/backup/upload", content=endless(), headers=of_length(None))
        assert refused.status_code == (507 if client is owner.client else 404)
    assert 9 <= came <= 15
    assert [path.name for path in shelf.folder.iterdir()] == ["looked-after"]


async def test_a_file_that_cannot_be_kept_leaves_nothing_on_the_shelf(
    site, shelf, settings, tmp_path, monkeypatch
):
    owner = await site.person("alice", "owner")
    file = tmp_path / "all.everystall"
    await asyncio.to_thread(make, settings, Keyring.load(settings), file, passphrase=PASSPHRASE)

    def full(source, kept, size):
        kept.write(source.read(100))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backups.shutil, "copyfileobj", full)
    refused = await owner.client.post(
        "/account/backup/upload", files={"file": ("a.everystall", file.read_bytes())},
        data={"passphrase": PASSPHRASE, "password": PASSWORD},
    )  # fmt: skip
    assert (refused.status_code, "No space left" in refused.text) == (507, True)
    assert [path.name for path in shelf.folder.iterdir()] == ["looked-after"]


async def test_the_first_start_restores_for_whoever_has_its_link(site, shelf, settings, tmp_path):
    client = site.client()
    token = await first_owner(site.database)
    assert "Restore from a backup" in (await client.get(f"/first?token={token}")).text
    (shelf.folder / "looked-after").unlink()  # as where web and worker run on their own
    alone = (await client.get(f"/first?token={token}")).text
    assert "everystall restore FILE" in alone
    assert "Restore from a backup" not in alone
    shelf.look_after()
    (other := tmp_path / "other").mkdir()
    elsewhere = settings.model_copy(update={"everystall_home": other})
    file = tmp_path / "theirs.everystall"
    await asyncio.to_thread(make, elsewhere, Keyring.load(elsewhere), file, passphrase=PASSPHRASE)

    async def send(token, passphrase=PASSPHRASE, **headers):
        return await client.post(
            f"/first/restore?token={token}", files={"file": ("a.everystall", file.read_bytes())},
            data={"passphrase": passphrase}, headers=OURS | headers,
        )  # fmt: skip

    assert (await send("another")).status_code == 404
    assert (await send(token, origin="https://evil.example")).status_code == 403
    refused = await send(token, "another one")
    assert (refused.status_code, "does not open the backup" in refused.text) == (422, True)
    assert shelf.asked() is None
    begun = await send(token)
    assert (begun.status_code, "is being restored" in begun.text) == (200, True)
    assert shelf.asked() == "restore"
    shelf.tell(State("restore", "failed", message="That was cut off.", action="Take another."))
    assert "That was cut off." in (await client.get(f"/first?token={token}")).text
    # an invitation's link is none of the first start's, and once somebody can sign in there is none
    owner = await site.person("alice", "owner")
    invited = await owner.client.post("/account/invitations", data={"email": "carol@example.com"})
    link = re.search(r"invitation\?token=([\w-]+)", invited.text)[1]
    assert (await send(link)).status_code == 404
    assert "Restore from a backup" not in (await client.get(f"/invitation?token={link}")).text
    assert (await send(token)).status_code == 404


async def test_after_a_restore_every_seller_is_told_until_they_go_on(site):
    alice, bob = await site.person("alice", "owner"), await site.person("bob")
    await site.rows("UPDATE users SET restored_to = '2026-11-20T03:00Z', paused_at = now() WHERE id = :id",
                    id=alice.user_id)  # fmt: skip
    assert "put back to how it was at 20 Nov 2026, 03:00 UTC" in (await alice.get("/")).text
    assert "A backup was restored" in (await alice.get("/connections")).text
    assert "put back to how it was" not in (await bob.get("/")).text
    assert (await alice.client.post("/connections/resume")).status_code == 303
    assert "put back to how it was" not in (await alice.get("/")).text


@pytest.mark.longer
async def test_the_keeper_does_what_is_asked_and_one_a_night(site, settings, monkeypatch):
    """Its errands are processes, as in `up`."""
    monkeypatch.setattr(keepers, "LOOK", 0.0)
    env = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "DATABASE_ADMIN_URL": settings.database_admin_url.get_secret_value(),
        "EVERYSTALL_HOME": str(settings.everystall_home), "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    shelf = Shelf(settings)
    await site.person("alice", "owner")
    await site.database.engine.dispose()
    with Keeper(settings, env) as keeper:

        async def until(kinds):
            for _ in range(600):
                assert not keeper.look()
                if [one.kind for one in shelf.find()] == kinds and not keeper._busy:
                    return
                await asyncio.sleep(0.1)
            raise AssertionError(shelf.state())

        keeper.look()
        assert shelf.find() == []  # not yet: it has only just started
        shelf.ask("backup")
        await until(["asked"])
        assert shelf.state().step == "done"
        keeper._night_from = 0.0
        await until(["night", "asked"])
        (newest, _) = shelf.find()
        keyring = Keyring.load(settings)
        await site.rows("UPDATE users SET email = 'changed@example.com'")
        key = find_key(shelf.path(newest.name), keyring, None)[1]
        shelf.ask("restore", name=newest.name, key=key, keyring=keyring)
        assert keeper.look()
        await site.admin.engine.dispose()
        point = await asyncio.to_thread(keeper.restore)
        assert [row["email"] for row in await site.rows("SELECT email FROM users")] == ["alice@example.com"]
        assert shelf.state().step == "done"
        assert await asyncio.to_thread(keeper.restore, point) is not None
        assert [row["email"] for row in await site.rows("SELECT email FROM users")] == ["changed@example.com"]
