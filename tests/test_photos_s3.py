"""Photos in an S3-compatible store, over HTTP: as in a folder, and each fault in words."""

from __future__ import annotations

import asyncio
import hashlib
import io
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from PIL import Image
from structlog.testing import capture_logs

from everystall import doctor
from everystall.content.photos import Photos
from everystall.errors import Misconfigured, NotFound, PhotoMissing, StorageAway
from everystall.marketplaces.base import PhotoRule
from everystall.settings import Settings
from everystall.web.app import create_app
from tests.s3_server import S3

RULE = PhotoRule(max_count=16, longest_side=800)


@pytest.fixture(scope="module")
def s3():
    server = S3()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(s3, tmp_path):
    return _settings(s3, tmp_path)


@pytest.fixture
async def photos(settings):
    store = Photos(settings)
    yield store
    await store.close()


def _settings(s3, home, **changes):
    given = {name.lower(): value for name, value in s3.settings().items()}
    return Settings(_env_file=None, everystall_home=home, **{**given, **changes})


def picture(color="red"):
    out = io.BytesIO()
    Image.new("RGB", (1200, 900), color).save(out, "PNG")
    return out.getvalue()


@pytest.mark.longer
async def test_what_is_stored_is_read_back_and_a_rendition_is_made_once(photos, settings):
    data = picture()
    kept = await photos.put(data)
    assert kept.sha256 == hashlib.sha256(data).hexdigest()
    assert await photos.get(kept.sha256) == data
    made = await photos.rendition(kept.sha256, RULE)
    assert Image.open(io.BytesIO(made)).size == (800, 600)
    other = Photos(settings)  # another host's
    try:
        assert await other.rendition(kept.sha256, RULE) == made
        assert other._children == []  # nothing was rendered there
        assert (await other.put(data)).sha256 == kept.sha256
    finally:
        await other.close()


async def test_what_a_page_looked_like_is_there_for_every_host_until_its_days_are_over(photos, settings):
    old, young = f"2026-01-01/{'0' * 16}.png", f"{datetime.now(UTC):%Y-%m-%d}/{'1' * 16}.png"
    kept = await photos.put(picture("green"))
    alice, bob = uuid4(), uuid4()
    other = Photos(settings)  # another host's
    try:
        for name in (old, young):
            for seller in (alice, bob):
                await photos.keep_evidence(seller, name, b"a page")
            assert await other.evidence(alice, name) == b"a page"
        await other.sweep_evidence(30)
        assert await photos.evidence(alice, young) == b"a page"
        await photos.forget_evidence(alice)
        for name in (old, young, f"../originals/{kept.sha256}"):
            with pytest.raises(NotFound):
                await other.evidence(alice, name)
        assert await other.evidence(bob, young) == b"a page"
        assert await photos.get(kept.sha256)
    finally:
        await other.close()


async def test_what_is_missing_or_forgotten_is_told_as_missing(photos):
    kept = await photos.put(picture("blue"))
    await photos.rendition(kept.sha256, RULE)
    await photos.forget(kept.sha256)
    for sha256 in (kept.sha256, "0" * 64):
        with pytest.raises(PhotoMissing):
            await photos.get(sha256)
        with pytest.raises(PhotoMissing):
            await photos.rendition(sha256, RULE)


@pytest.mark.longer
async def test_a_store_that_is_away_says_so_and_works_again_when_it_is_back(tmp_path):
    server = S3()
    server.start()
    store = Photos(_settings(server, tmp_path))
    try:
        server.stop()
        with pytest.raises(StorageAway) as away:
            await store.put(picture())
        assert away.value.fate == "operator"  # tried again
        assert "does not answer" in away.value.message
        await store.check()  # no reason not to start
        server.start()  # on its port; it makes new keys
        again = Photos(_settings(server, tmp_path))
        await again.put(picture())
        await again.close()
    finally:
        await store.close()
        server.stop()


@pytest.mark.longer
async def test_a_store_that_is_not_there_is_told_at_the_start_with_the_setting(s3, tmp_path, database_urls):
    changes = {"database_url": database_urls.login, "photos_s3_endpoint": "http://127.0.0.1:1"}
    settings = _settings(s3, tmp_path, **changes)
    app = create_app(settings)
    with capture_logs() as logs:
        async with app.router.lifespan_context(app):
            pass  # it may come back
    (told,) = [line for line in logs if line["event"] == "photos.store_away"]
    assert "PHOTOS_S3_ENDPOINT (http://127.0.0.1:1) and PHOTOS_URL" in told["action"]
    with pytest.raises(StorageAway) as away:
        await asyncio.to_thread(doctor._photos, settings, print)
    assert away.value.action == told["action"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"photos_s3_key_secret": "CANARY"}, "does not accept our keys"),
        ({"photos_s3_key_id": "AKIANOBODYSKEY"}, "does not accept our keys"),
        ({"photos_url": "s3://nowhere/at/all"}, "no bucket"),
    ],
)
async def test_what_is_set_up_wrongly_stops_the_start_in_words(s3, tmp_path, database_urls, wrong, says):
    settings = _settings(s3, tmp_path, database_url=database_urls.login, **wrong)
    store = Photos(settings)
    try:
        with pytest.raises(Misconfigured, match=says) as refused:
            await store.check()
    finally:
        await store.close()
    assert "CANARY" not in refused.value.message + refused.value.action
    app = create_app(settings)
    with pytest.raises(Misconfigured, match=says):
        async with app.router.lifespan_context(app):
            pass


def test_keys_that_are_half_there_are_told_at_the_start(s3, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(Misconfigured, match="keys"):
        Photos(_settings(s3, tmp_path, photos_s3_key_secret=None))


def test_the_doctor_tries_the_store(settings):
    assert "written, read and deleted" in doctor._photos(settings, print)


async def test_the_store_is_asked_by_path_and_over_plain_http_only_if_told(s3, photos):
    kept = await photos.put(picture("green"))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{s3.endpoint}/photos/everystall/originals/{kept.sha256}")
    assert answer.status_code == 403  # it is there, and nobody's without keys
