"""A second factor, passkeys and an identity provider, by hand: Ann does, and nothing of hers is Ben's.
Passkeys by Chromium's own virtual authenticator."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pyotp
import pytest
from playwright.async_api import expect
from pydantic import SecretStr

from everystall.web.factors import STEP
from tests.oidc_provider import CLIENT, SECRET, running
from tests.pages.conftest import DESK_AND_PHONE, PASSWORD, House, sign_in, visiting
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser
#: Where the form of a passkey is sent when its browser has answered.
BY_PASSKEY = "/sign-in/passkey"


@pytest.fixture
def host() -> str:
    """Browsers make passkeys for a name only."""
    return "localhost"


def told(house: House, **settings: Any) -> None:
    parts = house.app.state.parts
    parts.settings = parts.following.began = parts.settings.model_copy(update=settings)


def code_of(secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(time.time() + steps * STEP)


async def device(page: Any, **how: Any) -> Any:
    """A device that keeps passkeys, at this browser."""
    at = await page.context.new_cdp_session(page)
    await at.send("WebAuthn.enable", {"enableUI": False})
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True, **how,
    }  # fmt: skip
    made = await at.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return at, made["authenticatorId"]


async def secret_of(page: Any) -> str:
    """What the page of setting it up shows for an app."""
    await page.get_by_text("I cannot read a picture").click()
    return str(await page.locator("#totp-secret").inner_text()).replace(" ", "")


async def begins(page: Any) -> None:
    await page.goto("/account/sign-in")
    await page.get_by_text("Set it up", exact=True).click()
    form = page.locator("form[action$='/second-factor']")
    await form.get_by_label("Password", exact=True).fill(PASSWORD)
    await form.get_by_role("button", name="Go on").click()


async def sets_up(page: Any) -> tuple[str, list[str]]:
    await begins(page)
    await expect(page.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
    secret = await secret_of(page)
    await page.get_by_label("Code that the app shows").fill(code_of(secret, -1))
    await page.get_by_role("button", name="Switch it on").click()
    codes = await page.locator(".codes code").all_inner_texts()
    assert len(codes) == 10
    return secret, codes


async def adds(page: Any, name: str) -> None:
    await page.goto("/account/sign-in")
    await page.get_by_text("Add a passkey", exact=True).click()
    await page.get_by_label("Name").fill(name)
    form = page.locator("form[action$='/account/sign-in/passkeys']")
    await form.get_by_label("Password", exact=True).fill(PASSWORD)
    await form.get_by_role("button", name="Go on").click()
    await page.get_by_role("button", name="Make the passkey").click()
    await expect(page.get_by_text("The passkey is added.")).to_be_visible()


async def leaves(page: Any) -> None:
    await page.goto("/account")
    await page.locator("#main").get_by_role("button", name="Sign out", exact=True).click()
    await expect(page.get_by_text("You are signed out.")).to_be_visible()


async def by_passkey(page: Any) -> None:
    await page.goto("/sign-in")
    await page.get_by_role("button", name="Sign in with a passkey").click()


@pytest.mark.longer
@DESK_AND_PHONE
async def test_a_second_factor_from_the_picture_to_the_next_sign_in(house: House):
    await house.person("ann")
    await house.person("ben")
    page = await house.signed_in("ann")
    secret, codes = await sets_up(page)
    await leaves(page)
    await sign_in(page, "ann")
    await expect(page.get_by_role("heading", name="Your code")).to_be_visible()
    await page.get_by_label("Code", exact=True).fill("000000")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_text("That code is not good, or was used already.")).to_be_visible()
    await page.get_by_label("Code", exact=True).fill(code_of(secret))
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("heading", level=1)).not_to_have_text("Your code")
    await page.goto("/account/sign-in")
    await expect(page.get_by_text("It is on.")).to_be_visible()
    await page.get_by_text("Switch it off", exact=True).first.click()
    form = page.locator("form[action$='/off']")
    await form.get_by_label("Password", exact=True).fill(PASSWORD)
    await form.get_by_label("Code of your app").fill(codes[0])
    await form.get_by_role("button", name="Switch it off").click()
    await expect(page.get_by_text("Your second factor is off.")).to_be_visible()
    async with visiting(house, "ben") as ben:
        assert "Nothing yet." in await ben.get("/account/sign-in")


@pytest.mark.longer
@DESK_AND_PHONE
async def test_passkeys_with_names_sign_in_without_a_password(house: House):
    ann_id = await house.person("ann")
    await house.person("ben")
    page = await house.signed_in("ann")
    at, authenticator = await device(page)
    await adds(page, "Her phone")
    (kept,) = await house.rows("SELECT user_id, name, sign_count FROM passkeys")
    assert (kept["user_id"], kept["name"]) == (ann_id, "Her phone")
    # the same device keeps no second one for her; another does
    await page.get_by_text("Add a passkey", exact=True).click()
    await page.get_by_label("Name").fill("Again")
    form = page.locator("form[action$='/account/sign-in/passkeys']")
    await form.get_by_label("Password", exact=True).fill(PASSWORD)
    await form.get_by_role("button", name="Go on").click()
    await page.get_by_role("button", name="Make the passkey").click()
    await expect(page.get_by_text("No passkey was made.")).to_be_visible()
    await leaves(page)
    await by_passkey(page)
    await expect(page.get_by_role("button", name="Sign in with a passkey")).to_have_count(0)
    await page.goto("/account")
    await expect(page.get_by_role("main").get_by_text("ann@example.com").first).to_be_visible()
    (used,) = await house.rows("SELECT sign_count, last_used_at FROM passkeys")
    assert used["sign_count"] > kept["sign_count"]
    assert used["last_used_at"]
    # a device that does not look who holds it is not enough
    await at.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    await leaves(page)
    await by_passkey(page)
    await expect(page.get_by_text("No passkey was used.")).to_be_visible()
    await at.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": True})
    # removed, it signs nobody in; nor did it ever sign in as Ben
    await by_passkey(page)
    await page.wait_for_url(lambda url: "sign-in" not in url)
    await page.goto("/account/sign-in")
    await page.get_by_text("Remove Her phone").click()
    await page.locator("form[action$='/remove']").get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Remove it").click()
    await expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    await leaves(page)
    await by_passkey(page)
    await expect(page.get_by_text("That passkey signs nobody in here.")).to_be_visible()
    async with visiting(house, "ben") as ben:
        assert "No passkeys yet." in await ben.get("/account/sign-in")


@pytest.mark.longer
async def test_what_a_device_signed_is_good_once_for_its_challenge_and_its_owner(house: House):
    """The answer of a real device, kept from its form and sent otherwise."""
    await house.person("ann")
    ben_id = await house.person("ben")
    page = await house.signed_in("ann")
    await device(page)
    await adds(page, "Her phone")
    await leaves(page)
    caught: list[str] = []

    async def lax(route: Any) -> None:
        """Her browser is not told to have the device look who holds it."""
        answer = await route.fetch()
        told = await answer.json()
        assert told["options"]["userVerification"] == "required"
        told["options"]["userVerification"] = "discouraged"
        await route.fulfill(response=answer, json=told)

    async def keep(route: Any) -> None:
        caught.append(route.request.post_data)
        await route.fulfill(status=204)  # the page stays: the error's would come into the next visit's way

    await page.route(f"**{BY_PASSKEY}", keep)
    async with httpx.AsyncClient(
        base_url=house.url, headers={"Origin": house.url, "Sec-Fetch-Site": "same-origin"}
    ) as client:

        async def answered() -> dict[str, str]:
            """A fresh answer of her device, that was not sent."""
            before = len(caught)
            await by_passkey(page)
            for _ in range(100):
                if len(caught) > before:
                    break
                await page.wait_for_timeout(50)
            return dict(httpx.QueryParams(caught[-1]))

        async def sent(**fields: str) -> int:
            return (await client.post(BY_PASSKEY, data=fields, headers={"Accept": "text/html"})).status_code

        fields = await answered()
        other = (await client.post("/api/sign-in/passkey/options")).json()["ticket"]
        assert await sent(**{**fields, "ticket": other}) == 401  # another challenge
        assert await sent(**fields) == 303
        assert await sent(**fields) == 400  # it is used up
        await page.route("**/api/sign-in/passkey/options", lax)
        assert await sent(**await answered()) == 401  # it may have been anybody's hand
        await page.unroute("**/api/sign-in/passkey/options")
        (row,) = await house.rows("SELECT sign_count FROM passkeys")
        fields = await answered()
        await house.rows("UPDATE passkeys SET sign_count = 1000")  # a copy of the key has signed meanwhile
        assert await sent(**fields) == 401
        await house.rows("UPDATE passkeys SET sign_count = :n", n=row["sign_count"])
        fields = await answered()
        await house.rows("UPDATE everystall.begun_sign_ins SET until = now()")
        assert await sent(**fields) == 400
        fields = await answered()
        await house.rows("UPDATE passkeys SET user_id = :ben", ben=ben_id)  # the key says whose it is
        assert await sent(**fields) == 401
        assert await sent(ticket="x", credential="{}") == 400
        for nonsense in ("", "{", "[]", '{"id": 7}', fields["credential"][:-40], '{"response": {}}'):
            ticket = (await client.post("/api/sign-in/passkey/options")).json()["ticket"]
            assert await sent(ticket=ticket, credential=nonsense) == 401, nonsense


@pytest.mark.longer
async def test_from_the_provider_and_back_signs_in_and_connects(house: House):
    await house.person("ann", role="owner")
    await house.person("ben")
    async with running() as provider:
        told(house, oidc_issuer=provider.issuer, oidc_client_id=CLIENT, oidc_client_secret=SecretStr(SECRET))
        name = urlsplit(provider.issuer).netloc
        provider.person = {"sub": "7", "email": "ann@work.example", "email_verified": True}
        page = await house.signed_in("ann")
        await page.goto("/account/sign-in")
        await page.get_by_text(f"Connect {name}", exact=True).click()
        form = page.locator("form[action$='/provider']")
        await form.get_by_label("Password", exact=True).fill(PASSWORD)
        await form.get_by_role("button", name="Go on").click()
        await page.get_by_role("link", name=f"Go on to {name}").click()
        await expect(page.get_by_text("Connected.", exact=True)).to_be_visible()
        await leaves(page)
        await page.get_by_role("link", name=f"Sign in with {name}").click()
        await page.wait_for_url(lambda url: "sign-in" not in url)
        await page.goto("/account")
        await expect(page.get_by_role("main").get_by_text("ann@example.com").first).to_be_visible()
        await leaves(page)
        provider.person = {"sub": "8", "email": "ben@example.com", "email_verified": True}
        await page.get_by_role("link", name=f"Sign in with {name}").click()
        await expect(page.get_by_text("has an account here already")).to_be_visible()
    house.complaints[:] = [one for one in house.complaints if provider.issuer not in one]


async def test_an_owner_takes_a_guests_second_factor_off_and_the_guest_is_told(house: House):
    ann, ben = await house.person("ann"), await house.person("ben", role="owner")
    await house.person("ida", role="owner")
    (row,) = await house.rows(
        "INSERT INTO invitations (user_id, email, token_hash, expires_at, used_at, joined_id) VALUES "
        "(:ben, 'ann@example.com', 'x', now() + interval '1 day', now(), :ann) RETURNING id",
        ben=ben, ann=ann,
    )  # fmt: skip
    path = f"/account/invitations/{row['id']}/reset-second-factor"
    async with visiting(house, "ann") as hers, visiting(house, "ben") as his, visiting(house, "ida") as idas:
        assert "Reset second factor" in await his.get("/account")
        assert "has no second factor" in (await his.post(path, status=404)).text
        await house.rows("INSERT INTO totps (user_id, dek_version, sealed) VALUES (:ann, 1, 'x')", ann=ann)
        await idas.post(path, status=404)
        assert "It is on." in await hers.get("/account/sign-in")
        assert "The second factor is taken off." in (await his.post(path)).text
        assert await house.rows("SELECT * FROM totps") == []
        assert "By ben@example.com" in await hers.get("/account/sign-in")
        assert "taken off by somebody else" in await hers.get("/notifications")
        assert "Nothing yet." in await his.get("/account/sign-in")


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_signing_in_are_accessible(house: House, scheme, width):
    await house.person("ann", role="owner")
    await house.person("ben")
    told(house, oidc_issuer="https://id.example.com", oidc_client_id=CLIENT)
    page = await house.signed_in("ann", **look(scheme, width))
    await device(page)
    await adds(page, "Her phone")
    await begins(page)
    await passes(page, "second-factor", "Signing in")
    secret = await secret_of(page)
    await page.get_by_label("Code that the app shows").fill(code_of(secret, -1))
    await page.get_by_role("button", name="Switch it on").click()
    await passes(page, "recovery-codes", "Signing in")
    await page.goto("/account/sign-in")
    await passes(page, "signing-in", "Signing in")
    await leaves(page)
    await passes(page, "sign-in-ways", "Sign in")
    await sign_in(page, "ann")
    await passes(page, "sign-in-code", "Your code")
