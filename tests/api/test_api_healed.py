"""What was found again on the marketplaces' pages: the owner's to see, to reject and to hand on."""

from __future__ import annotations

import json

import pytest
from sqlalchemy.exc import DBAPIError

from everystall.web import healed

HTML = {"accept": "text/html"}
PAGE = "/activity/healed"
JPEG = b"\xff\xd8\xff\xe0 a picture"


@pytest.fixture
async def owner(site):
    return await site.person("olga", "owner")


async def found(site, target="the listing's title", runs=1, **more):
    """One that was found again, and worked in so many runs."""
    for _ in range(runs):
        await site.rows(
            "SELECT everystall.note_heal('poshmark', :target, '/create-listing', :locator, true, 'likeness', "
            "CAST(:before AS jsonb), CAST(:after AS jsonb), :picture)",
            target=target, locator=more.get("locator", '[data-x="1"]'), picture=JPEG,
            before=json.dumps({"label": "Title", "data": ["data-vv-name=title"], "place": "1of2"}),
            after=json.dumps({"label": "Headline <b>", "data": ["data-vv-name=pane-4f"]}),
        )  # fmt: skip
    (row,) = await site.rows("SELECT id FROM everystall.locators WHERE target = :t", t=target)
    return str(row["id"])


async def states(site):
    rows = await site.rows("SELECT target, state, by FROM everystall.locators ORDER BY target")
    return [(row["target"], row["state"], row["by"]) for row in rows]


async def test_the_owner_sees_before_and_after_with_a_picture_and_nobody_else_does(site, owner, alice):
    assert "Nothing was lost so far." in (await owner.get(PAGE, headers=HTML)).text
    id = await found(site)
    page = await owner.get(PAGE, headers=HTML)
    assert page.status_code == 200, page.text
    assert "Poshmark: the listing&#39;s title" in page.text
    assert "On trial" in page.text
    assert "1 of 2" in page.text
    assert "Headline &lt;b&gt;" in page.text
    picture = await owner.get(f"{PAGE}/{id}.jpg")
    assert (picture.content, picture.headers["content-type"]) == (JPEG, "image/jpeg")
    sam = await site.person("sam")
    for path in (PAGE, f"{PAGE}/{id}.jpg", f"{PAGE}/file"):
        assert (await sam.get(path, headers=HTML)).status_code == 404
        assert (await alice.get(path, headers=HTML)).status_code in (303, 404)
    for path in (PAGE, f"{PAGE}/{id}/reject"):
        sent = await sam.client.post(path, data={"csrf": sam.csrf}, headers=HTML)
        assert sent.status_code == 404
    assert await states(site) == [("the listing's title", "candidate", "likeness")]


async def test_what_the_owner_rejects_stays_rejected(site, owner):
    id = await found(site, runs=3)
    assert "Proved itself" in (await owner.get(PAGE, headers=HTML)).text
    done = await owner.client.post(f"{PAGE}/{id}/reject", data={"csrf": owner.csrf}, headers=HTML)
    assert (done.status_code, done.headers["location"]) == (303, f"{PAGE}?said=healed-rejected")
    await found(site, runs=3)
    assert await states(site) == [("the listing's title", "rejected", "likeness")]
    nobodys = await owner.client.post(
        f"{PAGE}/00000000-0000-0000-0000-000000000000/reject", data={"csrf": owner.csrf}, headers=HTML
    )
    assert nobodys.status_code == 404


async def test_what_proved_itself_goes_to_another_installation_as_a_file(site, owner):
    await found(site, runs=3)
    await found(site, target="the brand")
    saved = await owner.get(f"{PAGE}/file")
    assert "attachment" in saved.headers["content-disposition"]
    assert [one["target"] for one in saved.json()["locators"]] == ["the listing's title"]
    assert set(saved.json()["locators"][0]) == {"marketplace", "target", "layout", "locator"}
    await site.rows("DELETE FROM everystall.locators")

    async def bring_in(content):
        return await owner.client.post(
            PAGE, files={"file": ("healed.json", content)}, data={"csrf": owner.csrf}, headers=HTML
        )

    assert (await bring_in(saved.content)).headers["location"] == f"{PAGE}?said=healed-taken"
    assert await states(site) == [("the listing's title", "candidate", "file")]
    assert (await bring_in(saved.content)).headers["location"] == f"{PAGE}?said=healed-known"
    strange = json.dumps({"locators": [dict.fromkeys(("marketplace", "target", "layout", "locator"), "x")]})
    assert (await bring_in(strange)).headers["location"] == f"{PAGE}?said=healed-known"
    for content in (b"", b"not json", b"[]", b'{"locators": [{}]}', b'{"locators": "x"}', b"\xff\xfe"):
        refused = await bring_in(content)
        assert refused.status_code == 400, content
        assert "no file of healed locators" in refused.text
    assert len(await states(site)) == 1


async def test_a_sellers_id_opens_nothing(site, owner, alice):
    id = await found(site)
    (one,) = await healed.find_healed(site.database)
    for do in (healed.reject(site.database, alice, one.id),
               healed.take_in(site.database, alice, healed.read_file(b'{"locators": []}'))):  # fmt: skip
        with pytest.raises(DBAPIError, match="only an owner"):
            await do
    assert str(one.id) == id
    assert await states(site) == [("the listing's title", "candidate", "likeness")]
