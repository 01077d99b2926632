"""What must be so after each cell, by the marketplaces' ledger, the database, the logs and the processes.

I1 one live listing at most, exactly one when we say live · I2 nothing lost · I3 a question has its reason,
words and buttons · I4 live was read back and is what we say · I5 no session opened without an audit row ·
I6 no secret in logs, pictures, rows and messages. And nothing is left over.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

from chaos.faults import BY_HAND, Strike
from chaos.matrix import CLICKED, FORM
from chaos.stage import Content, Seller, Stage
from chaos.workers import naming
from everystall.sandbox.core import Item

#: Seconds for a cell to come to its end after the strike.
PATIENCE = 75.0
#: What is searched for secrets: all of a seller's that is not sealed.
TOLD = (
    "connections", "publications", "attempts", "events", "webhook_deliveries", "notices", "sales",
    "listing_automation_results",
)  # fmt: skip
#: Seconds for the browsers and leases of it to be gone: the visit may go on to the account's list of what is
#: live, which is waited for as long as any page (PAGE_SECONDS, 20) where it is a changed one, too.
TIDY = 35.0


async def outcome(stage: Stage, seller: Seller, seconds: float) -> str:
    """live, ended, cancelled or needs_you:reason; `still …` when it has come to no end in time."""
    end = time.monotonic() + seconds
    while True:
        row = await stage.publication(seller)
        asked, now = row["needs_you"], time.monotonic()
        # that we cannot look is told while we go on trying: an end only when no look is due in time
        looks_on = row["next_try_at"] is not None and row["next_try_at"].timestamp() < time.time() + end - now
        if asked and not (asked["reason"] == "unresolved" and looks_on):
            return f"needs_you:{asked['reason']}"
        if not row["unsettled"] and not row["looking"] and row["state"] in ("live", "ended", "cancelled"):
            return str(row["state"])
        if now > end:
            return f"still {row['state']}"
        await asyncio.sleep(0.1)


async def complaints(it: Strike, ended: str) -> list[str]:
    """Everything that is not as it must be; empty: the cell has passed."""
    stage, seller = it.stage, it.seller
    wrong = list(it.complaints)
    row = await stage.publication(seller)
    ours = [item for item in stage.items(seller) if item not in it.by_hand]
    live = [item for item in ours if item.state == "live"]
    if len(live) > 1:
        wrong.append(f"I1: {len(live)} of ours are live")
    clicks = sum(item.published_at is not None for item in ours)
    if clicks > 1:
        wrong.append(f"I1: {clicks} were published")
    if ended.startswith("still"):
        wrong.append(f"I2: {ended} after {PATIENCE:.0f} s")
    if not it.cell.allows(ended, really_live=bool(live)):
        wrong.append(f"ended as {ended}")
    if ended.startswith("needs_you"):
        wrong += _question(row["needs_you"] or {})
        if it.cell.verb == "revise":
            wrong += _whole(it, live)
    if ended == "live":
        wrong += _live(it, row, ours)
    if ended == "ended" and live and it.cell.verb == "delist":
        wrong.append("I1: we say ended, and it is for sale")
    wrong += await _job(stage, seller, it.cell.verb, ended)
    wrong += await _audited(stage, seller)
    wrong += await _silent(stage, seller)
    if it.cell.step == "notify":
        wrong += await _told(stage, seller, it.cell.verb)
    return wrong + await _left_over(stage, seller)


def _question(asked: dict[str, Any]) -> list[str]:
    whole = all(asked.get(name) for name in ("reason", "message", "actions", "url"))
    return [] if whole else [f"I3: the question lacks something: {asked}"]


def _live(it: Strike, row: dict[str, Any], ours: list[Item]) -> list[str]:
    item = next((one for one in (*ours, *it.by_hand) if one.id == row["remote_id"]), None)
    if item is None or item.state != "live":
        return [f"I1: we say live, and {row['remote_id']} is {item.state if item else 'not there'}"]
    wrong = []
    if it.by_hand and item in it.by_hand and any(one.state == "live" for one in ours):
        wrong.append("I1: ours is live, and we took the seller's own for it")
    elif it.by_hand and item in it.by_hand:
        it.notes.append("the seller's own was adopted")
    shown, there, wanted = row["read_back"] or {}, Content.of(item), it.seller.wanted
    differs = sorted(name for name, equal in shown.items() if not equal)
    other = there.price != wanted.price
    if not shown or differs != (["price"] if other else []):
        wrong.append(f"I4: read back {differs or 'nothing'}, and it costs {there.price}")
    if it.cell.fault == "seller-edits":
        if there.price != BY_HAND and it.cell.step not in FORM:
            wrong.append(f"I4: the seller set {BY_HAND} by hand, and it costs {there.price}")
        there = replace(there, price=wanted.price)
    if there != wanted:
        wrong.append(f"I4: it is there as {there}")
    return wrong


def _whole(it: Strike, live: list[Item]) -> list[str]:
    """A change that ends in a question has been made whole or not at all, and before the click not at all.
    (A moment in the middle of the filling is met by the clock, and may come after it.)"""
    seller, fault = it.seller, it.cell.fault
    if not live:
        return [] if fault == "seller-deletes" else ["I2: it is not for sale any more"]
    may = [seller.before, *([seller.wanted] if it.cell.step in ("fill", *CLICKED) else [])]
    if fault == "seller-edits":
        may = [replace(seller.before, price=BY_HAND)]
    there = Content.of(live[0])
    return [] if there in may else [f"I4: it is there as {there}, and not as before"]


async def _job(stage: Stage, seller: Seller, verb: str, ended: str) -> list[str]:
    """Its job has ended too, and says what became of it. Changing and taking down make none: there it is the
    one that posted what was there before, and stays as it ended."""
    (job,) = await stage.rows(
        """SELECT j.status, r.needs_you ->> 'reason' AS asked
           FROM jobs j JOIN listing_automation_results r ON r.job_id = j.id WHERE j.id = %s""",
        seller.job,
    )
    fits = fitting(verb, ended)
    if job["status"] == "needs_you" and "done" in fits and job["asked"] == "unresolved":
        return []  # it stands for ever as it ended: what was looked for was found later
    return [] if job["status"] in fits else [f"I2: its job is {job['status']}, and it ended as {ended}"]


def fitting(verb: str, ended: str) -> tuple[str, ...]:
    """What a job may say of such an end."""
    if verb != "publish" or ended in ("live", "ended", "sold"):
        return ("done",)
    return ("needs_you",) if ended.startswith("needs_you:") else (ended,)


async def _audited(stage: Stage, seller: Seller) -> list[str]:
    mine = [line for line in stage.lines if line.get("connection_id") == str(seller.connection_id)]
    browsers = sum(line.get("event") == "visit.at" and line.get("at") == "start browser" for line in mine)
    (audit,) = await stage.rows(
        "SELECT count(*) AS rows FROM vault_audit WHERE connection_id = %s", seller.connection_id
    )
    return [] if audit["rows"] >= browsers else [f"I5: {browsers} openings, {audit['rows']} in the audit"]


async def _silent(stage: Stage, seller: Seller) -> list[str]:
    """The session's own words are in no log, in no outline of a page, in no row of the seller's, the
    account's too, in no message that was sent."""
    world = stage.sandbox.world
    secrets = {
        token.encode()
        for session in world._sessions if session.account.name == seller.name
        for token in (session.token, *session.spent)
    }  # fmt: skip
    files = [*stage.home.glob("worker-*.log"), *(stage.home / "data" / "photos" / "evidence").rglob("*.txt")]
    texts = {file.name: file.read_bytes() for file in files}
    texts["webhooks"] = json.dumps([one for one in stage.door.told if _about(one, seller)]).encode()
    for table in TOLD:
        rows = await stage.rows(f"SELECT t::text FROM {table} t WHERE user_id = %s", seller.user_id)
        texts[table] = "".join(row["t"] for row in rows).encode()
    return [f"I6: a secret in {name}" for name, text in texts.items() if any(one in text for one in secrets)]


async def _told(stage: Stage, seller: Seller, verb: str) -> list[str]:
    """The message arrives, and is one message however often it was sent. The two minutes that a dead
    worker's claim lasts are moved up."""
    types = {"publish": "job.finished", "revise": "publication.revised", "delist": "publication.ended"}
    type_ = types[verb]
    end = time.monotonic() + 30
    while True:
        ids = {one["id"] for one in stage.door.told if one["type"] == type_ and _about(one, seller)}
        if ids:
            return [] if len(ids) == 1 else [f"I2: told in {len(ids)} messages"]
        if time.monotonic() > end:
            return [f"I2: nobody was told {type_}"]
        await stage.rows(
            "UPDATE webhook_deliveries SET claimed_until = now(), next_try_at = least(next_try_at, now()) "
            "WHERE user_id = %s AND status = 'waiting' AND claimed_until < now() + interval '115 s'",
            seller.user_id,
        )
        await asyncio.sleep(0.5)


def _about(message: dict[str, Any], seller: Seller) -> bool:
    data = message["data"]
    return bool(data.get("jobId") == seller.job or data.get("listingId") == seller.listing)


async def _left_over(stage: Stage, seller: Seller) -> list[str]:
    """Chromiums, whoever they belong to by now, profiles, leases: none, once the dust has settled."""
    end, folder = time.monotonic() + TIDY, stage.home / "data" / "run" / "profiles"
    while True:
        left = []
        if browsers := naming(folder):
            left.append(f"left over: {len(browsers)} processes of Chromium")
        if profiles := list(folder.glob("*")):
            left.append(f"left over: {len(profiles)} profiles")
        leases = await stage.rows(
            "SELECT 1 FROM connections WHERE id = %s AND lease_until > now()", seller.connection_id
        )
        if leases:
            left.append("left over: a lease")
        if not left or time.monotonic() > end:
            return left
        await asyncio.sleep(0.2)
