"""The second factor: codes of an app, recovery codes, and what is kept of each change."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any

import pyotp
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from everystall.db import driver_url
from everystall.errors import LogInFailed
from everystall.installation import set_password
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from everystall.web import factors
from everystall.web.passwords import check_password
from tests.api.conftest import OURS, PASSWORD, Person, Site

BASE = "/api/account/second-factor"
_networks = count(1)


def code_of(secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(time.time() + steps * factors.STEP)


async def switched_on(person: Person) -> tuple[str, list[str]]:
    """The app's secret, and the recovery codes. The code of the step before was used for it."""
    begun = await person.post(BASE, {"password": PASSWORD})
    assert begun.status_code == 200, begun.text
    secret = begun.json()["secret"]
    proof = {"ticket": begun.json()["ticket"], "code": code_of(secret, -1)}
    made = await person.post(f"{BASE}/confirm", proof)
    assert made.status_code == 200, made.text
    return secret, made.json()["recoveryCodes"]


async def sign_in(site: Site, email: str, address: str = "127.0.0.1", **body: Any) -> Any:
    client = site.client(address=address)
    return await client.post(
        "/api/sign-in", json={"email": email, "password": PASSWORD, **body}, headers=OURS
    )


@pytest.fixture
async def ann(site: Site) -> Person:
    return await site.person("ann")


@pytest.fixture
async def ben(site: Site) -> Person:
    return await site.person("ben", role="owner")


async def test_a_password_alone_signs_nobody_in_once_it_is_on(site, ann, ben):
    secret, _ = await switched_on(ann)
    refused = await sign_in(site, ann.email)
    assert (refused.status_code, refused.json()["error"]) == (401, "code_needed")
    assert "set-cookie" not in refused.headers
    wrong = await sign_in(site, ann.email, code="000000")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "code_wrong")
    assert (await sign_in(site, ann.email, code=code_of(secret))).status_code == 200
    assert (await ann.get("/api/account")).json()["hasSecondFactor"]
    # and nobody else is asked, nor is hers good for him
    assert (await sign_in(site, ben.email)).status_code == 200
    assert (await ben.get(BASE)).json() == {"on": False, "recoveryCodesLeft": 0}
    assert not (await ben.get("/api/account")).json()["hasSecondFactor"]


async def test_a_code_is_taken_once_however_many_come_with_it(site, ann, ben):
    secret, _ = await switched_on(ann)
    his, _ = await switched_on(ben)
    code = code_of(secret)
    answers = await asyncio.gather(*(sign_in(site, ann.email, code=code) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [200, 401, 401, 401]
    assert (await sign_in(site, ann.email, code=code)).status_code == 401
    assert (await sign_in(site, ann.email, code=code_of(secret, -1))).status_code == 401  # nor one before it
    assert (await sign_in(site, ann.email, code=code_of(his))).status_code == 401
    assert (await sign_in(site, ann.email, code=code_of(secret, 5))).status_code == 401
    assert (await sign_in(site, ben.email, code=code_of(his))).status_code == 200


async def test_each_recovery_code_signs_in_once_and_new_ones_end_the_old(site, ann, ben):
    secret, codes = await switched_on(ann)
    await switched_on(ben)
    assert len(set(codes)) == 10
    first, second = codes[:2]
    assert (await sign_in(site, ben.email, code=first)).status_code == 401  # it is hers
    assert (await sign_in(site, ann.email, code=first.upper().replace("-", " "))).status_code == 200
    assert (await sign_in(site, ann.email, code=first)).status_code == 401
    assert (await ann.get(BASE)).json() == {"on": True, "recoveryCodesLeft": 9}
    renewed = await ann.post(f"{BASE}/recovery-codes", {"password": PASSWORD, "code": code_of(secret)})
    assert (await sign_in(site, ann.email, code=second)).status_code == 401
    (one, *_) = renewed.json()["recoveryCodes"]
    assert (await sign_in(site, ann.email, code=one)).status_code == 200
    kept = str(await site.rows("SELECT * FROM recovery_codes"))
    assert not any(one.replace("-", "") in kept or one in kept for one in codes)


async def test_guesses_at_codes_count_with_those_at_the_password(site, ann, ben):
    secret, _ = await switched_on(ann)
    # each is a right password and a wrong code; a right password sets nothing back
    for _ in range(5):
        assert (await sign_in(site, ann.email, code="000000")).status_code == 401
    refused = await sign_in(site, ann.email, code=code_of(secret))
    assert (refused.status_code, refused.json()["error"]) == (401, "log_in_failed")
    # the network from which she signed in has its own tries; others have theirs
    assert (await sign_in(site, ann.email, address="10.1.2.3", code=code_of(secret))).status_code == 200
    assert (await sign_in(site, ben.email)).status_code == 200
    assert (await ann.get("/api/account")).status_code == 200


@pytest.mark.longer
async def test_of_a_thousand_codes_at_once_few_are_looked_at(site, ann, ben, monkeypatch):
    secret, _ = await switched_on(ann)
    looked: list[str] = []
    real = factors._step_of

    async def counted(*given: Any) -> Any:
        looked.append(given[-1])
        return await real(*given)

    monkeypatch.setattr(factors, "_step_of", counted)
    request: Any = type("R", (), {"scope": {"client": ("10.9.9.9", 1)}})
    parts = site.app.state.parts

    async def guess(number: int) -> None:
        with pytest.raises(LogInFailed):
            await factors.check_code(parts, request, ann.email, f"{number:06}")

    good = {code_of(secret, step) for step in (-1, 0, 1, 2)}
    await asyncio.gather(*(guess(n) for n in range(1000) if f"{n:06}" not in good))
    assert len(looked) == factors.FREE_TRIES + 1
    assert await check_password(site.database, ben.email, PASSWORD, "10.9.9.0/24") == ben.user_id


async def guesses(site: Site, person: Person, code: str) -> str:
    """What is answered to a right password and this code, from a network of its own."""
    address = f"10.{next(_networks)}.0.1"
    return str((await sign_in(site, person.email, address, code=code)).json().get("error"))


async def rest_of(site: Site, person: Person) -> tuple[int, float]:
    """Codes tried since one was right, and minutes until the next is looked at."""
    (row,) = await site.rows(
        "SELECT tries, extract(epoch FROM rests_until - now()) / 60 AS minutes FROM totps "
        "WHERE user_id = :id", id=person.user_id,
    )  # fmt: skip
    return row["tries"], float(row["minutes"] or 0)


async def rested(site: Site) -> None:
    await site.rows("UPDATE totps SET rests_until = now() WHERE rests_until IS NOT NULL")


async def test_wrong_codes_of_whatever_networks_and_days_are_followed_by_growing_rests(site, ann, ben):
    secret, _ = await switched_on(ann)
    his, _ = await switched_on(ben)
    for _ in range(factors.FREE_TRIES):
        assert await guesses(site, ann, "000000") == "code_wrong"
    assert await rest_of(site, ann) == (5, 0)
    told = "SELECT user_id, what, about FROM sign_in_changes WHERE what = 'codes_guessed'"
    assert await site.rows(told) == []
    for minutes in (1, 2, 4, 8, 16, 32, 64, 128, 240, 240):
        assert await guesses(site, ann, "000000") == "code_wrong"
        assert (await rest_of(site, ann))[1] == pytest.approx(minutes, abs=0.5)
        # meanwhile none is looked at, the right one neither, and that it was tried counts for nothing
        before = (await rest_of(site, ann))[0]
        assert await guesses(site, ann, code_of(secret)) == "codes_rest"
        assert (await rest_of(site, ann))[0] == before
        await rested(site)
    assert await site.rows(told) == [{"user_id": ann.user_id, "what": "codes_guessed", "about": "6 in a row"}]
    (notice,) = await site.rows("SELECT n.user_id, e.data FROM notices n JOIN events e ON e.id = n.event_id "
                                "WHERE e.data ->> 'what' = 'codes_guessed'")  # fmt: skip
    assert notice["user_id"] == ann.user_id
    assert "Wrong codes were given after your password" in (await ann.get("/account/sign-in")).text
    assert await guesses(site, ann, "000000") == "code_wrong"
    assert len(await site.rows(told)) == 2  # ten later once more
    # nobody else is in its way, and a right one ends it
    assert await guesses(site, ben, code_of(his)) == "None"
    await rested(site)
    assert await guesses(site, ann, code_of(secret)) == "None"
    assert await rest_of(site, ann) == (0, 0)
    assert await rest_of(site, ben) == (0, 0)


async def test_who_guesses_is_not_in_the_way_of_a_recovery_code_or_an_owners_reset(site, ann, ben):
    secret, codes = await switched_on(ann)
    for _ in range(6):
        await guesses(site, ann, "000000")
    answer = await sign_in(site, ann.email, address="10.7.7.7", code=code_of(secret))
    assert answer.json()["error"] == "codes_rest"
    assert "The next is looked at in a minute." in answer.json()["message"]
    assert await guesses(site, ann, codes[0]) == "None"
    assert await rest_of(site, ann) == (0, 0)
    for _ in range(6):
        await guesses(site, ann, "000000")
    # who has her name alone counts for nothing
    client = site.client(address="10.8.8.8")
    body = {"email": ann.email, "password": "a guess of somebody", "code": "000000"}
    assert (await client.post("/api/sign-in", json=body, headers=OURS)).json()["error"] == "log_in_failed"
    assert (await rest_of(site, ann))[0] == 6
    (row,) = await site.rows(
        "INSERT INTO invitations (user_id, email, token_hash, expires_at, used_at, joined_id) VALUES "
        "(:ben, :email, 'x', now() + interval '1 day', now(), :ann) RETURNING id",
        ben=ben.user_id, email=ann.email, ann=ann.user_id,
    )  # fmt: skip
    assert (await ben.post(f"/api/invitations/{row['id']}/reset-second-factor")).status_code == 200
    secret, _ = await switched_on(ann)
    assert await guesses(site, ann, code_of(secret)) == "None"


async def test_nothing_of_it_changes_without_password_and_code(site, ann, ben):
    refused = await ann.post(BASE, {"password": "a guess of somebody"})
    assert refused.status_code == 401
    assert (await ann.post(BASE, {})).status_code == 401
    secret, codes = await switched_on(ann)
    assert (await ann.post(BASE, {"password": PASSWORD})).status_code == 409
    before = await site.rows("SELECT * FROM totps")

    async def tried(**body: Any) -> set[Any]:
        gone = await ann.client.request("DELETE", BASE, json=body)
        new = await ann.post(f"{BASE}/recovery-codes", body)
        return {gone.json()["error"], new.json()["error"]}

    assert await tried(password="a guess of somebody", code=code_of(secret)) == {"log_in_failed"}
    assert await tried(password=PASSWORD) == {"code_needed"}
    assert await tried(password=PASSWORD, code="000000") == {"code_wrong"}
    assert await site.rows("SELECT * FROM totps") == [{**before[0], "tries": 2}]  # of which nothing else is
    await site.rows("UPDATE log_in_networks SET tries = 0")
    assert (await ben.client.request("DELETE", BASE, json={"password": PASSWORD})).status_code == 404
    gone = await ann.client.request("DELETE", BASE, json={"password": PASSWORD, "code": codes[0]})
    assert gone.status_code == 200, gone.text
    assert (await sign_in(site, ann.email)).status_code == 200
    assert await site.rows("SELECT * FROM recovery_codes") == []


async def test_it_is_on_only_after_a_code_by_the_one_who_began(site, ann, ben):
    begun = (await ann.post(BASE, {"password": PASSWORD})).json()
    wrong = await ann.post(f"{BASE}/confirm", {"ticket": begun["ticket"], "code": "000000"})
    assert wrong.json()["error"] == "code_wrong"
    assert (await sign_in(site, ann.email)).status_code == 200
    proof = {"ticket": begun["ticket"], "code": code_of(begun["secret"])}
    stolen = await ben.post(f"{BASE}/confirm", proof)
    assert stolen.json()["error"] == "sign_in_over"
    assert (await ann.post(f"{BASE}/confirm", proof)).status_code == 200
    assert (await ann.post(f"{BASE}/confirm", proof)).json()["error"] == "sign_in_over"
    assert await site.rows("SELECT user_id FROM totps") == [{"user_id": ann.user_id}]
    late = (await ben.post(BASE, {"password": PASSWORD})).json()
    await site.rows("UPDATE everystall.begun_sign_ins SET until = now()")
    proof = {"ticket": late["ticket"], "code": code_of(late["secret"])}
    assert (await ben.post(f"{BASE}/confirm", proof)).json()["error"] == "sign_in_over"


@pytest.mark.longer
async def test_the_secret_is_sealed_by_the_sellers_key_and_moves_to_the_next(site, ann, ben, database_urls):
    secret, _ = await switched_on(ann)
    await switched_on(ben)
    rows = {row["user_id"]: row for row in await site.rows("SELECT * FROM totps")}
    assert secret.encode() not in rows[ann.user_id]["sealed"]
    keyring = Keyring.load(site.settings)
    keyring.rotate()
    admin = create_async_engine(driver_url(database_urls.admin))
    await rotation.reencrypt_all(admin, keyring, site.settings)
    await admin.dispose()
    moved = {row["user_id"]: row for row in await site.rows("SELECT * FROM totps")}
    assert {row["dek_version"] for row in moved.values()} == {2}
    assert (await sign_in(site, ann.email, code=code_of(secret))).status_code == 200
    # another's row in one's place opens nothing
    await site.rows(
        "UPDATE totps SET sealed = :sealed WHERE user_id = :id",
        sealed=moved[ann.user_id]["sealed"], id=ben.user_id,
    )  # fmt: skip
    assert (await sign_in(site, ben.email, code=code_of(secret))).status_code == 500


async def test_an_owner_resets_whom_they_invited_and_that_is_told(site, ann, ben):
    ida = await site.person("ida", role="owner")
    (row,) = await site.rows(
        "INSERT INTO invitations (user_id, email, token_hash, expires_at, used_at, joined_id) VALUES "
        "(:ben, :email, 'x', now() + interval '1 day', now(), :ann) RETURNING id",
        ben=ben.user_id, email=ann.email, ann=ann.user_id,
    )  # fmt: skip
    path = f"/api/invitations/{row['id']}/reset-second-factor"
    assert (await ben.post(path)).status_code == 404  # she has none
    await switched_on(ann)
    assert (await ida.post(path)).status_code == 404  # another owner's guest
    assert (await ann.post(path)).status_code == 403
    assert (await sign_in(site, ann.email)).status_code == 401
    done = await ben.post(path)
    assert done.status_code == 200, done.text
    assert (await sign_in(site, ann.email)).status_code == 200
    changes = (await ann.get("/api/account/sign-in-changes")).json()["changes"]
    assert [(one["what"], one["about"]) for one in changes] == [
        ("second_factor_reset", f"By {ben.email}"),
        ("second_factor_on", None),
    ]
    told = await site.rows(
        "SELECT n.user_id, e.data FROM notices n JOIN events e ON e.id = n.event_id ORDER BY e.id DESC"
    )
    assert told[0] == {
        "user_id": ann.user_id, "data": {"what": "second_factor_reset", "about": f"By {ben.email}"}
    }  # fmt: skip
    assert (await ben.get("/api/account/sign-in-changes")).json() == {"changes": []}


async def test_the_operators_new_password_takes_it_off(site, ann, ben):
    await switched_on(ann)
    await switched_on(ben)
    await set_password(site.settings, ann.email, PASSWORD)
    assert (await sign_in(site, ann.email)).status_code == 200
    assert (await sign_in(site, ben.email)).json()["error"] == "code_needed"
    rows = await site.rows("SELECT user_id, about FROM sign_in_changes WHERE what = 'second_factor_reset'")
    assert rows == [{"user_id": ann.user_id, "about": "the operator"}]
    rows = await site.rows("SELECT user_id, about FROM sign_in_changes WHERE what = 'password_changed'")
    assert rows == [{"user_id": ann.user_id, "about": "the operator"}]


async def test_a_new_password_is_written_down_and_told(site, ann, ben):
    assert (
        await ann.post("/api/account/password", {"old": "wrong", "new": PASSWORD[::-1]})
    ).status_code == 401
    assert (await ann.get("/api/account/sign-in-changes")).json()["changes"] == []
    changed = await ann.post("/api/account/password", {"old": PASSWORD, "new": PASSWORD[::-1]})
    assert changed.status_code == 200, changed.text
    (change,) = (await ann.get("/api/account/sign-in-changes")).json()["changes"]
    assert (change["what"], change["about"]) == ("password_changed", None)
    (told,) = await site.rows("SELECT user_id FROM events WHERE type = 'account.sign_in_changed'")
    assert told["user_id"] == ann.user_id
    assert "The password was changed" in (await ann.get("/account/sign-in")).text
    assert (await ben.get("/api/account/sign-in-changes")).json()["changes"] == []


async def test_each_form_of_the_page_asks_for_the_proof_and_says_where_it_is_refused(site, ann, ben):
    page = {"accept": "text/html"}

    async def sent(person: Person, path: str, **form: str) -> Any:
        form = {"csrf": person.csrf, **form}
        return await person.client.post(f"/account/sign-in/{path}", data=form, headers=page)

    for path in ("second-factor", "passkeys"):
        refused = await sent(ann, path, name="Phone", password="a guess of somebody")
        assert refused.status_code == 401, path
        assert "do not belong together" in refused.text, path
    assert 'value="Phone"' in refused.text  # what was typed stays
    begun = await sent(ann, "second-factor", password=PASSWORD)
    assert begun.status_code == 200
    assert "Type the code that it shows now" in begun.text
    secret, _ = await switched_on(ann)
    for path in ("second-factor/codes", "second-factor/off"):
        assert (await sent(ann, path, password=PASSWORD)).status_code == 401
    renewed = await sent(ann, "second-factor/codes", password=PASSWORD, code=code_of(secret))
    assert renewed.status_code == 200
    assert "Keep these recovery codes" in renewed.text
    _, code, *_ = renewed.text.split("<code>")
    assert (await sent(ben, "second-factor/off", password=PASSWORD)).status_code == 404
    gone = await sent(ann, "second-factor/off", password=PASSWORD, code=code.partition("<")[0])
    assert (gone.status_code, gone.headers["location"]) == (303, "/account/sign-in?said=second-factor-off")
    assert (await sent(ann, f"passkeys/{ben.user_id}/remove", password=PASSWORD)).status_code == 404
    assert (await sent(ann, f"provider/{ben.user_id}/disconnect", password=PASSWORD)).status_code == 404
    assert await site.rows("SELECT * FROM totps") == []


async def test_who_has_no_password_changes_nothing_by_a_token_or_an_old_sign_in(site, alice, ben):
    """Alice has a token of the operator's only."""
    refused = await alice.post(BASE, {})
    assert (refused.status_code, refused.json()["error"]) == (403, "sign_in_again")
    assert (await ben.post(BASE, {"password": PASSWORD})).status_code == 200
