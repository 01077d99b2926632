"""How a healed locator becomes one that is tried first, and that it is never used again once it was wrong or
the owner said no. By the database's own functions, which all workers share."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import InsufficientPrivilege

from everystall.browser.heal import Healed, Healing
from everystall.worker import heals

NOTE = "SELECT everystall.note_heal('poshmark', 'the title', '/sell', %s, %s, 'model', '{}', '{}', NULL)"
TAKE = """SELECT everystall.take_locators(%s, '[{"marketplace": "poshmark", "target": "the title",
          "layout": "/sell", "locator": "#a"}]')"""
RUNS = st.lists(st.sampled_from(["worked", "failed", "rejected", "taken"]), max_size=9)


def after(runs: list[str]) -> tuple[str, int] | None:
    """The same in other words."""
    state: tuple[str, int] | None = None
    for run in runs:
        if run == "rejected":
            state = state and ("rejected", 0)
        elif run == "taken":
            state = state or ("candidate", 0)
        elif state is None:
            state = ("candidate", 1) if run == "worked" else ("demoted", 0)
        elif state[0] in ("candidate", "promoted"):
            verified = min(state[1] + 1, 3)
            promoted = "promoted" if verified == 3 else state[0]
            state = (promoted, verified) if run == "worked" else ("demoted", 0)
    return state


@pytest.fixture
def owner(database_urls):
    """A connection as superuser, and the owner's id."""
    with psycopg.connect(database_urls.admin, autocommit=True) as connection:
        connection.execute("INSERT INTO users (email, role) VALUES ('olga@example.com', 'owner')")
        connection.execute("INSERT INTO users (email) VALUES ('bob@example.com')")
        yield (
            connection,
            *(
                connection.execute("SELECT id FROM users WHERE email LIKE %s", [name]).fetchone()[0]
                for name in ("olga%", "bob%")
            ),
        )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS)
def test_three_verified_runs_promote_one_failure_demotes_and_a_no_stays(owner, runs):
    database, olga, _ = owner
    database.execute("DELETE FROM everystall.locators")
    for run in runs:
        if run == "rejected":
            database.execute("SELECT everystall.reject_locator(%s, id) FROM everystall.locators", [olga])
        elif run == "taken":
            database.execute(TAKE, [olga])
        else:
            database.execute(NOTE, ["#a", run == "worked"])
    assert database.execute("SELECT state, verified FROM everystall.locators").fetchone() == after(runs)


def test_only_an_owner_rejects_and_takes_in(owner):
    database, olga, bob = owner
    database.execute(NOTE, ["#a", True])
    [(id,)] = database.execute("SELECT id FROM everystall.locators").fetchall()
    for by in (bob, UUID(int=0)):
        with pytest.raises(InsufficientPrivilege):
            database.execute("SELECT everystall.reject_locator(%s, %s)", [by, id])
        with pytest.raises(InsufficientPrivilege):
            database.execute(TAKE, [by])
    assert database.execute("SELECT state FROM everystall.locators").fetchone() == ("candidate",)
    gone = database.execute("SELECT everystall.reject_locator(%s, %s)", [olga, UUID(int=0)])
    assert gone.fetchone() == (False,)


def test_what_is_known_of_a_marketplace_is_of_that_alone_and_a_look_is_kept_once(owner):
    database, _, _ = owner
    for look in ('{"label": "Title"}', '{"label": "Headline"}'):
        database.execute("SELECT everystall.remember_look('poshmark', 'the title', '/sell', %s)", [look])
    database.execute("SELECT everystall.remember_look('mercari', 'the title', '/sell', '{}')")
    database.execute(NOTE, ["#a", True])
    known = "SELECT looks, locators FROM everystall.known_targets(%s)"
    assert database.execute(known, ["poshmark"]).fetchone() == (
        [["the title", "/sell", {"label": "Headline"}]],
        [["the title", "/sell", "#a", "candidate", "model"]],
    )
    assert database.execute(known, ["ebay"]).fetchone() == ([], [])


async def test_practice_pages_and_real_ones_have_separate_memories(db, alice, bob):
    def visit(seller, url):
        return SimpleNamespace(
            tools=SimpleNamespace(db=db, model=None), lease=SimpleNamespace(user_id=seller), stored=None,
            connection=SimpleNamespace(marketplace="poshmark", base_url=url, account_name="xy",
                                       account_id="1"),
        )  # fmt: skip

    where = ("the title", "/sell")
    for url in (urls := ("https://poshmark.com", "http://poshmark.localhost:8730")):
        made = visit(alice, url)
        made.healing = Healing(noted={where: {"label": url}}, good=True, proved=True)
        made.healing.used = {where: Healed(*where, f"#{len(url)}", "candidate", "agent")}
        await heals.keep(made)
    for seller in (alice, bob):
        for url in urls:
            known = await heals.remembered(visit(seller, url))
            assert known.looks == {where: {"label": url}}
            assert [(*one.where, one.locator, one.by) for one in known.healed] == [
                (*where, f"#{len(url)}", "agent")
            ]
