"""Photos in a Supabase project's Storage: by S3, below a path of its host (tests/supabase.py)."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from everystall.content.photos import Photos
from everystall.errors import Misconfigured, PhotoMissing
from everystall.marketplaces.base import PhotoRule
from everystall.settings import Settings
from tests.supabase import storing


def _settings(storage, home, **changes):
    return Settings(_env_file=None, everystall_home=home, **{**storage.settings(), **changes})


async def test_photos_are_kept_read_listed_and_forgotten_there(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (1200, 900), "teal").save(out, "PNG")
    async with storing() as storage:
        store = Photos(_settings(storage, tmp_path))
        try:
            assert await store.check()
            kept = await store.put(out.getvalue())
            assert f"photos/originals/{kept.sha256}" in storage.kept
            assert await store.get(kept.sha256) == out.getvalue()
            made = await store.rendition(kept.sha256, PhotoRule(max_count=16, longest_side=800))
            assert Image.open(io.BytesIO(made)).size == (800, 600)
            assert any(name.startswith("photos/renditions/") for name in storage.kept)
            await store.forget(kept.sha256)
            assert not any(kept.sha256 in name for name in storage.kept)
            await store.forget(kept.sha256)  # who deletes what is not there is told that they may not
            with pytest.raises(PhotoMissing):
                await store.get(kept.sha256)
        finally:
            await store.close()


async def test_a_wrong_key_region_or_bucket_is_told_at_the_start(tmp_path):
    async with storing() as storage:
        for wrong in ({"photos_s3_key_secret": "CANARY"}, {"photos_s3_region": "us-east-1"},
                      {"photos_url": "s3://nowhere"}):  # fmt: skip
            store = Photos(_settings(storage, tmp_path, **wrong))
            try:
                with pytest.raises(Misconfigured) as refused:
                    await store.check()
            finally:
                await store.close()
            assert "CANARY" not in refused.value.message + refused.value.action
