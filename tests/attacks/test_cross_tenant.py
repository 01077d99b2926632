"""Row 1: Bob calls every operation of the API with what is Alice's. He hears nothing and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import httpx

from everystall.inventory.publications import ACTIONS
from everystall.web.limits import Limits
from tests.api.conftest import photo
from tests.attacks.estate import Estate
from tests.attacks.operations import OPEN, Operation, operations, send

#: The password is asked for before anything else.
GUESSED = {
    "DELETE /api/account", "POST /api/account/password", "POST /api/account/second-factor",
    "POST /api/account/second-factor/recovery-codes", "DELETE /api/account/second-factor",
    "POST /api/account/passkeys/options",
}  # fmt: skip
#: Nobody is asked for, or the one who asks: there is no id in it.
WITHOUT_ID = OPEN | {"POST /api/sign-out"}
#: An order of his photos in which one of hers stands is answered with which photos are his.
HIS_PHOTOS = ("PUT /api/listings/{listingId}/photos", "photoId", 400)
#: Where an id is a filter.
EMPTY = {"GET /api/jobs": "jobs", "GET /api/account/audit": "openings", "GET /api/sales": "sales"}


async def test_with_what_is_alices_bob_is_told_nothing_and_changes_nothing(estate: Estate):
    site = estate.site
    bob = await site.person("bob", role="owner")
    own = {**estate.ids, **await _own(bob)}
    token = (await bob.post("/api/tokens", {"name": "bob"})).json()["token"]
    before, tried, told = await estate.rows(), 0, []
    for operation in operations(site.app, estate.ids):
        if operation.name in WITHOUT_ID:
            continue
        for client in (bob.client, site.client(token)):
            for ids in _mixed(operation, estate.ids, own):
                # the wall has to refuse it, and no limit
                site.app.state.parts.limits = Limits()
                await site.rows("UPDATE log_in_networks SET tries = 0 WHERE user_id = :id", id=bob.user_id)
                answer = await send(client, operation, ids)
                tried += 1
                if not _nothing(operation, answer, estate, ids):
                    told.append((operation.name, answer.status_code, answer.text[:300]))
    for (
        name,
        hers,
    ) in estate.ids.items():  # one thing of hers among his own, in the path, the query or the body
        ids = {**own, name: hers, "action": "retry"}
        for operation in operations(site.app, ids):
            if operation.name in WITHOUT_ID or hers not in operation.address(ids) + str(operation.body):
                continue
            answer = await send(bob.client, operation, ids)
            tried += 1
            told_his_own = (
                operation.name,
                name,
                answer.status_code,
            ) == HIS_PHOTOS and hers not in answer.text
            if not told_his_own and not _nothing(operation, answer, estate, ids):
                told.append((operation.name, name, answer.status_code, answer.text[:300]))
    assert told == []
    assert tried > 200
    assert await estate.rows() == before


def _mixed(operation: Operation, hers: dict[str, str], his: dict[str, str]) -> list[dict[str, str]]:
    """Each way to fill the path in which at least one id is Alice's: `/listings/{his}/photos/{hers}`."""
    names = [name for name in operation.ids if name != "action"]
    ways = [
        {**his, **{name: ids[name] for name, ids in zip(names, way, strict=True)}}
        for way in product((hers, his), repeat=len(names))
        if hers in way
    ] if names else [hers]  # fmt: skip
    if "action" in operation.ids:
        return [{**way, "action": action} for way in ways for action in ACTIONS]
    return ways


def _nothing(operation: Operation, answer: httpx.Response, estate: Estate, ids: dict[str, str]) -> bool:
    said = answer.text + str(answer.headers)
    # what Bob sent himself may be said back to him
    sent = str(operation.body) + operation.address(ids)
    if any(word in said for word in estate.words if word not in sent):
        return False
    if operation.ids:
        return answer.status_code == 404
    if operation.name in EMPTY:
        return bool(answer.status_code == 200 and answer.json()[EMPTY[operation.name]] == [])
    if any(id in sent for id in estate.ids.values()):
        return answer.status_code == 404
    return (answer.status_code == 401) == (operation.name in GUESSED) and answer.status_code < 500


async def test_bobs_lists_hold_nothing_of_alices_and_his_wide_switches_are_his_alone(estate: Estate):
    """Operations without an id: whatever Bob lists, pauses or makes."""
    site = estate.site
    bob = await site.person("bob", role="owner")
    before = await estate.rows()
    for operation in operations(site.app, dict.fromkeys(estate.ids, "")):
        if operation.ids or operation.name in WITHOUT_ID:
            continue
        said = (await send(bob.client, replace(operation, query=()), {})).text
        assert not [word for word in estate.words if word in said and word not in str(operation.body)], (
            operation.name
        )
    assert await estate.rows() == before


async def test_an_id_of_nobody_is_answered_as_one_of_somebody_else(estate: Estate):
    """So no answer tells whether an id exists."""
    site = estate.site
    bob = await site.person("bob", role="owner")
    nobodys = {
        name: f"job_{'z' * 22}" if name == "jobId" else
        "bp_poshmark_000000000000" if name == "browserProfileId" else
        "00000000-0000-4000-8000-000000000000"
        for name in estate.ids
    }  # fmt: skip
    for operation in operations(site.app, estate.ids):
        if not operation.ids:
            continue
        hers, none = ({**ids, "action": "retry"} for ids in (estate.ids, nobodys))
        answers = [_plain(await send(bob.client, operation, ids), ids) for ids in (hers, none)]
        assert answers[0] == answers[1], operation.name


def _plain(answer: httpx.Response, ids: dict[str, str]) -> Any:
    said = answer.text
    for id in ids.values():
        said = said.replace(id, "ID")
    return answer.status_code, said, sorted(answer.headers)


async def _own(bob: Any) -> dict[str, str]:
    """What Bob has himself, so that only a part of a path is Alice's."""
    listing = await bob.listing(photos=0)
    headers = {"content-type": "image/png"}
    await bob.client.post(f"/api/listings/{listing}/photos", content=photo(9), headers=headers)
    hook = (await bob.post("/api/webhooks", {"url": "https://example.com/bob"})).json()
    return {
        "listingId": listing,
        "photoId": (await bob.get(f"/api/listings/{listing}")).json()["photos"][0]["photoId"],
        "browserProfileId": await bob.connect("mercari", "bob"),
        "webhookId": hook["id"],
        "deliveryId": (await bob.post(f"/api/webhooks/{hook['id']}/test")).json()["id"],
    }
