"""One trace from the request that posts to each step of its visit; and nothing of a seller in any span."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from sqlalchemy import select

from benchmarks.engine import idle_tools
from everystall import engine, traces
from everystall.inventory.publications import change
from everystall.models import Connection, Publication
from everystall.notify.send import Mail
from everystall.worker.run import make_app
from tests.api.conftest import Seller, Site, live_listing
from tests.collector import Collector

#: Stands for whatever must not leave: it is in addresses, headers, cookies, bodies and what a seller wrote.
CANARY = "canary7f3a9d"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
async def told(site: Site, collector: Collector) -> AsyncIterator[Site]:
    """Spans of this process go to the collector; what is there at the end is sent with the test."""
    settings = site.settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
    sending = traces.sent(settings, "web")
    sending.__enter__()
    yield site
    if traces.on():
        await asyncio.to_thread(sending.__exit__, None, None, None)


async def sent_all() -> None:
    assert traces._Sending.provider is not None
    await asyncio.to_thread(traces._Sending.provider.force_flush)


async def work(site: Site, number: int, kind: str = "publish", seen=None) -> list[tuple[str, str]]:
    """A worker's visits, until so many steps of a kind are done, each of which asks no marketplace. `seen`:
    what a check of an account comes upon."""
    steps: list[tuple[str, str]] = []

    async def step(visit, due):
        structlog.get_logger().info("visit.at", at="fill")
        steps.append((due.kind, str(visit.lease.user_id)))
        if due.kind == "check" and seen is not None:
            await seen(visit)
        if due.publication_id is None:
            return
        async with visit.lease.transaction() as session:
            publication = await visit.locked(session, due.publication_id)
            if due.kind == "end":
                await change(session, publication, put="ended", state="ended")
                return
            revision = publication.wanted_revision
            await change(session, publication, put="live", put_revision=revision, state="live")

    tools = idle_tools(site.database, site.settings)
    tools.step, mail = step, Mail(tools.db, tools.vault, site.settings)
    app = make_app(site.settings.database_url.get_secret_value(), tools, mail)
    async with app.open_async():
        slots = {"visits": 3, "urgent": 2}
        lanes = asyncio.create_task(engine.run_lanes(app, slots, grace_seconds=5))
        async with asyncio.timeout(120):
            while sum(done == kind for done, _ in steps) < number:
                await asyncio.sleep(0.05)
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    await mail.close()
    await tools.photos.close()
    return steps


@pytest.mark.longer
async def test_a_post_to_all_is_one_trace_over_wake_up_visit_and_step(
    told: Site, collector: Collector, alice: Seller, bob: Seller
):
    accounts = {await alice.connect(one) for one in ("poshmark", "mercari")}
    await bob.connect("poshmark", account="bob")
    hers = (await alice.publish(await alice.listing(), "poshmark", "mercari")).json()["jobId"]
    his = (await bob.publish(await bob.listing(), "poshmark")).json()["jobId"]
    await work(told, 3)
    await sent_all()
    requests = {one.trace: one for one in collector.named("POST /api/listings/post")}
    assert len(requests) == 2
    steps = collector.named("publish")
    of = {one.attributes["job_id"]: one.trace for one in steps}
    assert set(of) == {hers, his}
    assert set(of.values()) == set(requests)
    for trace, number in ((of[hers], 2), (of[his], 1)):
        mine = {one.id: one for one in collector.spans if one.trace == trace}
        ways = [one for one in mine.values() if one.name == "publish"]
        assert len(ways) == number
        for one in ways:
            visit = mine[one.parent]
            woken = mine[visit.parent]
            assert (visit.name, woken.name) == ("visit", "wake-up")
            assert mine[woken.parent].id == requests[trace].id
            assert woken.begins <= woken.ends <= visit.begins + 1000 <= one.begins
            assert one.attributes["marketplace"] in ("poshmark", "mercari")
            assert set(one.attributes) == {"job_id", "publication_id", "marketplace", "connection_id"}
        assert {visit.attributes["lane"] for visit in mine.values() if visit.name == "visit"} == {"visits"}
    assert {one.attributes["marketplace"] for one in steps if one.trace == of[hers]} == {
        "poshmark",
        "mercari",
    }
    assert len(accounts) == 2


@pytest.mark.longer
async def test_a_step_of_another_job_belongs_to_that_jobs_trace_and_names_the_visit(
    told: Site, collector: Collector, alice: Seller
):
    """One wake-up, one visit; two requests that asked."""
    await alice.connect("poshmark")
    for title in ("One", "Two"):
        listing = await alice.listing(title=title, sku=title)
        assert (await alice.publish(listing, "poshmark")).status_code == 200
    await work(told, 2)
    await sent_all()
    requests = {one.trace for one in collector.named("POST /api/listings/post")}
    (visit,) = [one for one in collector.named("visit") if one.trace in requests]
    first, second = sorted(collector.named("publish"), key=lambda one: one.begins)
    assert {first.trace, second.trace} == requests
    assert (first.parent, first.links) == (visit.id, [])
    assert second.links == [visit.id]
    assert second.trace != visit.trace


@pytest.mark.longer
async def test_a_take_down_belongs_to_the_trace_of_the_request_that_told_of_the_sale(
    told: Site, collector: Collector, alice: Seller, bob: Seller
):
    """There is no job of it; each seller has a listing on two accounts, and alice's is sold."""
    listing, _ = await live_listing(told, alice, "poshmark", "mercari")
    await live_listing(told, bob, "poshmark", "mercari")
    await told.rows("UPDATE publications SET traceparent = NULL")
    body = {"listingId": listing, "price": {"amount": 3000}, "place": "The flea market"}
    assert (await alice.post("/api/sales", body)).status_code == 201
    his = await told.rows("SELECT traceparent FROM publications WHERE user_id = :id", id=bob.user_id)
    assert his == [{"traceparent": None}] * 2, "bob wished for nothing"
    await work(told, 2, "end")
    await sent_all()
    (request,) = collector.named("POST /api/sales")
    ends = collector.named("end")
    assert [one.trace for one in ends] == [request.trace] * 2
    mine = {one.id: one for one in collector.spans}
    assert {mine[mine[one.parent].parent].parent for one in ends} == {request.id}
    assert {one.attributes["marketplace"] for one in ends} == {"poshmark", "mercari"}
    assert not any("job_id" in one.attributes for one in ends)


@pytest.mark.longer
async def test_a_take_down_belongs_to_the_trace_of_the_check_that_saw_the_sale(
    told: Site, collector: Collector, alice: Seller, bob: Seller
):
    """From one visit to another's, which may be on another machine."""
    _, profiles = await live_listing(told, alice, "poshmark", "mercari")
    await live_listing(told, bob, "poshmark")
    await told.rows("UPDATE connections SET next_check_at = CASE WHEN public_id = :id THEN now() "
                    "ELSE now() + interval '1 h' END RETURNING 1", id=profiles["poshmark"])  # fmt: skip

    async def seen(visit):
        async with visit.lease.transaction() as session:
            others = Publication.connection_id != visit.lease.connection_id
            for publication in await session.scalars(select(Publication).where(others)):
                await change(session, publication, wanted="ended", state="ending")
                await engine.wake(session, [publication.connection_id], "urgent")

    async with told.database.as_user(alice.user_id) as session:
        found = await session.scalars(
            select(Connection.id).where(Connection.public_id == profiles["poshmark"])
        )
        await engine.wake(session, list(found), "visits")
    await work(told, 1, "end", seen)
    await sent_all()
    (end,) = collector.named("end")
    checks = {one.id: one for one in collector.named("check")}
    mine = {one.id: one for one in collector.spans if one.trace == end.trace}
    woken = mine[mine[end.parent].parent]
    assert (woken.name, woken.parent in checks) == ("wake-up", True)
    assert checks[woken.parent].attributes["marketplace"] == "poshmark"
    assert end.attributes["marketplace"] == "mercari"


async def test_a_change_belongs_to_the_trace_of_the_request_that_edited(
    told: Site, collector: Collector, alice: Seller, bob: Seller
):
    listing, _ = await live_listing(told, alice, "poshmark", "mercari")
    await live_listing(told, bob, "poshmark")
    edited = await alice.client.patch(f"/api/listings/{listing}", json={"title": "Linen shirt, never worn"})
    assert edited.status_code == 200, edited.text
    await work(told, 2, "revise")
    await sent_all()
    (request,) = [one for one in collector.spans if one.name.startswith("PATCH /api/listings/")]
    assert [one.trace for one in collector.named("revise")] == [request.trace] * 2


async def test_it_is_called_as_opentelemetrys_own_variables_say(
    site: Site, collector: Collector, alice: Seller, monkeypatch
):
    settings = site.settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
    for name, said, called in (
        ("OTEL_SERVICE_NAME", "shop", "shop"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=stall,deployment.environment=attic", "stall"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=attic", "everystall-web"),
    ):
        with monkeypatch.context() as here:
            here.setenv(name, said)
            sending = traces.sent(settings, "web")
            sending.__enter__()
            assert (await alice.get("/api/account")).status_code == 200
            await asyncio.to_thread(sending.__exit__, None, None, None)
        assert collector.spans[-1].service == called, said


async def test_a_trace_that_somebody_began_goes_on_and_what_is_none_begins_one(
    told: Site, collector: Collector, alice: Seller
):
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    for said in (f"00-{trace}-{parent}-01", f"00-{CANARY}", "", f"00-{'0' * 32}-{'0' * 16}-01",
                 f"00-{trace}-{parent}-01-{CANARY}", f"ff00-{trace}-{parent}-01"):  # fmt: skip
        assert (await alice.get("/api/listings", headers={"traceparent": said})).status_code == 200
    await alice.get("/api/listings", headers={"traceparent": f"00-{trace}-{parent}-00"})  # not to be kept
    await sent_all()
    first, *others = collector.named("GET /api/listings")
    assert (first.trace, first.parent) == (trace, parent)
    assert [one.parent for one in others] == [""] * 5
    assert trace not in {one.trace for one in others}


async def test_no_span_holds_what_somebody_sent_or_wrote(told: Site, collector: Collector, alice: Seller):
    alice.client.headers["x-secret"] = CANARY
    alice.client.cookies.set("theirs", CANARY)
    listing = await alice.listing(title=CANARY, description=CANARY, sku=CANARY)
    for path in (f"/api/listings?q={CANARY}", f"/api/listings/{CANARY}", f"/{CANARY}",
                 f"/invitation/{CANARY}", f"/api/hints/mail/{CANARY}"):  # fmt: skip
        await alice.get(path)
    await alice.post(f"/api/hints/mail/{CANARY}", {"text": CANARY})
    await alice.connect("poshmark")
    assert (await alice.publish(listing, "poshmark")).status_code == 200
    await work(told, 1)
    with pytest.raises(ValueError, match=CANARY), traces.part(traces.begin("broken")):
        raise ValueError(f"cannot read {CANARY}")
    with traces.part(traces.begin("logged")):
        traces.report(None, "info", {"event": "visit.at", "at": "click", "target": CANARY})
        traces.report(None, "info", {"event": "step.failed", "error": "challenge", "message": CANARY})
    await sent_all()
    everything = b"".join(collector.raw)
    assert collector.named("GET /api/listings/{listing_id}") or collector.named(
        "GET /api/listings/{listingId}"
    )
    assert b"publish" in everything
    assert CANARY.encode() not in everything
    assert alice.token.encode() not in everything
    assert b"alice@example.com" not in everything
    (broken,) = collector.named("broken")
    assert (broken.failed, broken.attributes, broken.events) == (True, {"error.type": "ValueError"}, [])
    (logged,) = collector.named("logged")
    assert (logged.failed, logged.events) == (True, ["step.failed"])
    (click,) = collector.named("click")
    assert click.parent == logged.id


async def test_health_and_files_make_no_span_and_headers_of_the_setting_go_along(
    site: Site, collector: Collector, alice: Seller
):
    settings = site.settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url + "/"})
    settings = type(settings)(_env_file=None, otel_exporter_otlp_endpoint=collector.url + "/",
                              otel_exporter_otlp_headers="X-Key=a%20b, x-other=c=d")  # fmt: skip

    async def ask() -> None:
        for path in ("/healthz", "/readyz", "/static/app.css", "/api/account"):
            await alice.get(path)

    sending = traces.sent(settings, "web")
    sending.__enter__()
    await ask()
    await asyncio.to_thread(sending.__exit__, None, None, None)
    await ask()  # nobody takes them now
    assert not traces.on()
    assert [one.name for one in collector.spans] == ["GET /api/account"]
    assert collector.spans[0].service == "everystall-web"
    assert collector.spans[0].attributes["http.response.status_code"] == 200
    (headers,) = collector.headers
    assert (headers["x-key"], headers["x-other"]) == ("a b", "c=d")


@pytest.mark.longer
async def test_where_nobody_takes_them_posts_go_on_and_the_end_is_not_held_up(site: Site, alice: Seller):
    settings = site.settings.model_copy(update={"otel_exporter_otlp_endpoint": "http://127.0.0.1:9"})
    sending = traces.sent(settings, "web")
    sending.__enter__()
    await alice.connect("poshmark")
    assert (await alice.publish(await alice.listing(), "poshmark")).status_code == 200
    await work(site, 1)
    async with asyncio.timeout(2 * traces.END_SECONDS):
        await asyncio.to_thread(sending.__exit__, None, None, None)


@pytest.mark.longer
def test_nothing_of_it_is_loaded_without_the_setting():
    script = (
        "import sys, everystall.web.app, everystall.worker.run\n"
        "from everystall import traces\nfrom everystall.settings import Settings\n"
        "with traces.sent(Settings(_env_file=None), 'web'): pass\n"
        "print([one for one in sys.modules if one.startswith(('opentelemetry.sdk', 'opentelemetry.exporter',"
        " 'opentelemetry.proto', 'google.protobuf'))])"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
