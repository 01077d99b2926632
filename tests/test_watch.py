"""How orders are written down, whatever interrupts it; what they do is tests/test_sale_rows.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from everystall.inventory import sales
from everystall.models import Event, Listing
from everystall.worker import watch
from tests.selling import an_order, one_of


def _visit(db, account):
    transaction = lambda: db.as_user(account.user_id)  # noqa: E731
    tools = SimpleNamespace(settings=SimpleNamespace(public_url="http://127.0.0.1"))
    return SimpleNamespace(
        connection=account, lease=SimpleNamespace(transaction=transaction), tools=tools, label="Mercari"
    )


async def _known(db, account):
    async with db.as_user(account.user_id) as session:
        return await sales.known(session, account.id)


async def test_what_is_interrupted_leaves_no_order_known_that_is_newer_than_one_that_is_not(
    db, alice, stand, monkeypatch
):
    _, (here, _) = await stand("mercari", "ebay")
    told = [an_order(id, "r-1" if id == "o3" else f"not-ours-{id}") for id in ("o5", "o4", "o3", "o2", "o1")]
    visit, take = _visit(db, here), sales.take

    async def is_cut_off(*_):
        raise OperationalError("SELECT", {}, Exception("the server went away"))

    monkeypatch.setattr(sales, "take", is_cut_off)
    with pytest.raises(OperationalError):
        await watch._record(visit, told, {})
    known = await _known(db, here)
    assert not known.keys() & {"o3", "o4", "o5"}  # else nobody would read as far as o3 again
    monkeypatch.setattr(sales, "take", take)
    assert await watch._record(visit, told, known)
    assert (await _known(db, here)).keys() == {"o1", "o2", "o3", "o4", "o5"}
    assert (await one_of(db, alice, Listing)).quantity_sold == 1


async def test_that_more_was_sold_than_is_read_at_once_is_told(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await watch._tell_cut(_visit(db, here), 100)
    told = await one_of(db, alice, Event)
    assert (told.type, told.data["browserProfileId"]) == ("watch.failed", here.public_id)
    assert "We read the last 100" in told.data["message"]
