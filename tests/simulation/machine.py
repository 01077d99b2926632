"""The machine: what workers, machines, marketplaces and the seller may do, in any order.

After each step the judge looks (stage.py), and at the end everything is let come to its end. What a step
does depends on what was drawn and on the model alone, never on how fast something was.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from fastapi import Response
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from everystall.inventory import jobs, outcomes, pairs
from everystall.marketplaces.base import Money
from everystall.web import connections, listings
from everystall.web.shapes import MoneyBody
from tests.simulation.market import FAILS
from tests.simulation.stage import MANY, Life, Stage
from tests.simulation.workers import Process

#: Where a visit may be told to wait.
PLACES = ("lists", "form", "filled", "click", "answer", "page", "end", "ended", *(
    REVISING := ("edit", "written", "save", "saved")))  # fmt: skip
index = st.integers(0, 11)
worker = st.integers(0, 2)


class PublicationLife(RuleBasedStateMachine):
    """One seller's two listings on one or two accounts, and three workers."""

    stage: Stage
    life: Life | None = None

    @initialize(
        marketplaces=st.sampled_from(
            [("mercari",), ("poshmark",), ("ebay",), ("mercari", "poshmark"), ("ebay", "mercari")]
        ),
        click=st.sampled_from([None, None, *FAILS["click"]]),
        place=st.sampled_from([None, *PLACES, "its end", "its end", "its end"]),
    )
    def begin(self, marketplaces: tuple[str, ...], click: str | None, place: str | None) -> None:
        """Posted, and a first visit has come so far."""
        self.life = Life(self.stage, marketplaces)
        self.life.post(self.life.listings[0], self.life.accounts)
        if click is not None:
            self.life.world.will["click"].append(click)
        if place is not None:
            self.life.start(self.life.workers[0], self.life.accounts[0])
            self.life.run(self.life.workers[0].go_on(MANY, lambda one: one.place == place))
        self.life.judge()

    def teardown(self) -> None:
        if self.life is None:
            return
        try:
            if sys.exc_info()[0] is None:
                self.life.settle()
        finally:
            self.life.close()

    def account(self, number: int) -> str:
        assert self.life is not None
        return self.life.accounts[number % len(self.life.accounts)]

    def does(self, what: Any) -> None:
        """Something of the seller's; then the judge looks."""
        assert self.life is not None
        self.life.seller(what)
        self.life.judge()

    # ---- workers and machines ----

    def one(self, who: int) -> Process:
        """One that works; if none does, one begins a visit."""
        life = self.life
        working = [one for one in life.workers if one.busy and not one.paused]
        if working:
            return working[who % len(working)]
        idle = [one for one in life.workers if not one.busy and not one.paused]
        if not idle:
            life.workers[0].paused = False
            return life.workers[0]
        life.start(idle[0], self.account(who), "urgent" if who == 11 else "visits")
        return idle[0]

    @rule(who=index, steps=st.sampled_from([1, 1, 2, 3, 5, 8]))
    def a_worker_goes_on(self, who: int, steps: int) -> None:
        self.life.run(self.one(who).go_on(steps))
        self.life.judge()

    @rule(who=index, place=st.sampled_from(PLACES))
    def a_worker_comes_to(self, who: int, place: str) -> None:
        one = self.one(who)
        self.life.run(one.go_on(1))
        self.life.run(one.go_on(MANY, lambda one: one.place == place))
        self.life.judge()

    @rule(who=index)
    def a_worker_comes_to_its_end(self, who: int) -> None:
        self.life.run(self.one(who).go_on(MANY))
        self.life.judge()

    @rule(where=index, lane=st.sampled_from(["visits", "urgent"]), steps=st.sampled_from([0, 5, 15, MANY]))
    def another_visit_begins(self, where: int, lane: str, steps: int) -> None:
        idle = [one for one in self.life.workers if not one.busy and not one.paused]
        if idle:
            self.life.work(idle[0], self.life.connections[self.account(where)], lane, steps)
            self.life.judge()

    @rule(who=worker, what=st.sampled_from(["stop", "wake", "wake late", "kill", "end", "cut", "lost"]))
    def something_happens_to_a_worker(self, who: int, what: str) -> None:
        """Stopped and woken (its lease's renewal comes round first, or late), killed, told to end; the
        database fails its next transaction."""
        one = self.life.workers[who]
        if what == "stop":
            one.paused = True
        elif what in ("wake", "wake late"):
            one.paused = False
            if what == "wake":
                self.life.run(one.renew())
        elif what == "kill":
            self.life.kill(who)
        elif what == "end":
            one.tools.stopping.set()
        else:
            one.fault = what
            self.life.run(one.go_on(1))
        self.life.judge()

    @rule(seconds=st.sampled_from([2.5, 9.0, 9.0, 14.0, 45.0, 100.0, 100.0, 500.0, 4000.0, 90000.0]))
    def time_passes(self, seconds: float) -> None:
        if seconds > 20:  # no page takes that long
            for one in self.life.workers:
                self.life.run(one.go_on(MANY))
        self.life.pass_time(seconds)
        self.life.judge()

    # ---- marketplaces ----

    @rule(how=st.sampled_from([(verb, how) for verb, ways in FAILS.items() for how in ways]),
          times=st.sampled_from([1, 1, 1, 3, 12]))  # fmt: skip
    def a_marketplace_will(self, how: tuple[str, str], times: int) -> None:
        verb, way = how
        self.life.world.will[verb].extend([way] * times)

    @rule(how=st.sampled_from(FAILS["click"]))
    def the_click_will(self, how: str) -> None:
        self.life.world.will["click"].append(how)

    @rule(lists=st.sampled_from([0.0, 5.0, 60.0, 400.0]), pages=st.sampled_from([0.0, 0.0, 5.0, 60.0]))
    def lists_lag(self, lists: float, pages: float) -> None:
        self.life.world.list_lag, self.life.world.page_lag = lists, pages

    # ---- the seller, there ----

    @rule(which=index, what=st.sampled_from(
        ["posts", "takes down", "title", "price", "description", "sells", "is cancelled", "is put back",
         "signs out"]))  # fmt: skip
    def has_a_hand_in_it(self, which: int, what: str) -> None:
        """The seller by hand, or a buyer."""
        world, there = self.life.world, self.life.world.live()
        if what == "posts":
            self.life.hand_posts(self.account(which))
        elif what == "signs out":
            world.tokens[self.account(which)].clear()
            world.met.add("signed out")
        elif what in ("is cancelled", "is put back"):
            sold = [one for one in world.items if one.state == "sold" and not one.cancelled]
            if sold:
                world.cancel(sold[which % len(sold)], back=what == "is put back")
                self.life.look_at_orders()
        elif there:
            item = there[which % len(there)]
            if what in ("title", "price", "description"):
                by_hand = f"Changed by hand, number {which}"
                item.by_hand(what, Money(amount=3300 + 100 * which) if what == "price" else by_hand)
            else:
                world.end(item, *(("hand",) if what == "takes down" else ("sale", "sold")))

    # ---- the seller, here ----

    @rule(which=index, where=st.sampled_from([0, 1, None]), key=st.sampled_from([None, "k"]))
    def posts(self, which: int, where: int | None, key: str | None) -> None:
        accounts = self.life.accounts if where is None else [self.account(where)]
        self.life.post(self.life.listings[which % 2], accounts, key)
        self.life.judge()

    @rule(which=index, what=st.sampled_from(["title", "price", "description", "quantity"]))
    def edits(self, which: int, what: str) -> None:
        self.edit(which % 2, which, what)
        self.life.judge()

    @rule(number=st.integers(0, 1), which=index, what=st.sampled_from(["title", "price", "description"]),
          where=index, place=st.sampled_from([*REVISING, "its end"]))  # fmt: skip
    def edits_and_a_worker_goes_there(
        self, number: int, which: int, what: str, where: int, place: str
    ) -> None:
        """What is live is being changed, so far."""
        life = self.life
        self.edit(number, which, what)
        idle = [one for one in life.workers if not one.busy and not one.paused]
        if idle:
            life.pass_time(9)
            life.start(idle[0], self.account(where))
            life.run(idle[0].go_on(MANY, lambda one: one.place == place))
        life.judge()

    def edit(self, number: int, which: int, what: str) -> None:
        given = {
            "title": {"title": f"Linen shirt, worn {which} times"},
            "price": {"price": MoneyBody(amount=2500 + 100 * (which // 2))},
            "description": {"description": f"Washed {which} times, worn twice. Number {number} of two."},
            "quantity": {"quantity": 1 + which // 6},
        }[what]
        self.life.edit(self.life.listings[number], **given)

    @rule(which=index, where=index, button=index, item=index)
    def presses_a_button(self, which: int, where: int, button: int, item: int) -> None:
        """One of those that the publication shows."""
        listing, account = self.life.listings[which % 2], self.account(where)
        actions = self.life.buttons(listing, account)
        if actions:
            self.does(partial(self.life.press, listing, account, actions[button % len(actions)], item))

    @rule(which=index, where=index, what=st.sampled_from(
        ["takes down", "relists", "relists", "cancels", "deletes", "ends and deletes", "pauses", "pauses all",
         "pauses take-downs", "pauses all take-downs", "resumes", "connects", "disconnects",
         "disconnects by force"]))  # fmt: skip
    def changes_her_mind(self, which: int, where: int, what: str) -> None:
        life, listing, account = self.life, self.life.listings[which % 2], self.account(where)
        if what == "takes down":
            self.does(partial(life.press, listing, account, "end", 0))
        elif what == "relists":
            life.relist(listing, account)
        elif what == "cancels" and life.jobs:
            self.does(lambda session: jobs.cancel(session, life.jobs[which % len(life.jobs)]))
        elif what in ("deletes", "ends and deletes"):
            end = what != "deletes"
            self.does(lambda session: listings.delete_listing(listing, session, Response(), end))
        elif what in ("pauses", "pauses take-downs"):
            delists, one = what != "pauses", life.public_ids[account]
            self.does(lambda session: connections.pause_connection(one, session, delists))
        elif what in ("pauses all", "pauses all take-downs"):
            delists = what != "pauses all"
            self.does(lambda session: connections.pause_all(session, life.who, delists))
        elif what == "resumes":
            life.resume()
        elif what == "connects":
            life.connect(account)
        elif what in ("disconnects", "disconnects by force"):
            self.does(partial(life.disconnect, account, what != "disconnects"))
        life.judge()

    @rule(which=index, where=index, state=st.sampled_from(["live", "ended", "cancelled"]))
    def a_worker_says(self, which: int, where: int, state: str) -> None:
        """POST /api/jobs/webhook"""
        if not self.life.jobs:
            return
        account = self.account(where)
        said = pairs.Pair(
            marketplace=account.partition(":")[0],
            browser_profile_id=self.life.public_ids[account],
            state=state,
            needs_you=None,
            url=None,
            remote_id=None,
            started_at=None,
            finished_at=None,
        )
        job = self.life.jobs[which % len(self.life.jobs)]
        self.does(lambda session: outcomes.take_outcome(session, job, [said]))


def simulate(stage: Stage, examples: int, begin: int) -> None:
    """So many examples, the same ones each time for the same `begin`."""
    machine = seed(begin)(type("Life", (PublicationLife,), {"stage": stage}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            print_blob=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
