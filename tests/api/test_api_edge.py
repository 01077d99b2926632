"""The outermost layer: tokens, shapes of errors, sizes, health; and that the web loads no browser."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from everystall.db import Database
from everystall.processes import free_port
from everystall.web.app import create_app
from everystall.web.draining import DRAIN_SECONDS
from everystall.web.render import static
from everystall.web.tokens import make_token


@pytest.mark.longer
def test_the_web_loads_no_browser_no_models_library_and_nothing_that_migrates():
    code = (
        "import sys, everystall.web.app\n"
        "from everystall.marketplaces import MARKETPLACES, get_form\n"
        "[get_form(name) for name in MARKETPLACES]\n"
        "never = ('playwright', 'everystall.browser', 'pydantic_ai', 'alembic')\n"
        "loaded = [m for m in sys.modules if m.startswith(never)]\n"
        "sys.exit(repr(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_without_a_token_nothing_is_told(site):
    client = site.client()
    for path in ("/api/listings", "/api/connections", "/api/jobs", "/api/jobs/job_x"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert {"error", "message", "action"} <= answer.json().keys()


@pytest.mark.parametrize("token", ["evs_unknown_" + "x" * 43, "nonsense", "evs_", "evs_" + "y" * 5000])
async def test_a_token_that_is_not_ours_is_refused(site, token):
    answer = await site.client(token).get("/api/listings")
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated")


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
async def test_a_revoked_or_expired_token_is_refused(site, alice, column):
    assert (await alice.get("/api/listings")).status_code == 200
    await site.rows(f"UPDATE api_tokens SET {column} = now() - interval '1 second'")
    assert (await alice.get("/api/listings")).status_code == 401


async def test_a_token_is_stored_as_a_hash_only_and_says_when_it_was_used(site, alice):
    await alice.get("/api/listings")
    (row,) = await site.rows("SELECT * FROM api_tokens")
    assert alice.token not in repr(row)
    assert alice.token.startswith("evs_")
    assert len(row["token_hash"]) == 32
    assert row["last_used_at"] is not None


async def test_the_extensions_token_hands_over_sessions_and_nothing_else(site, alice):
    extension = await site.seller("alice", scopes=("sessions:write",))
    assert (await extension.connect("mercari")).startswith("bp_mercari_")
    assert (await extension.post("/api/sessions/validate", {})).status_code == 200
    for path in ("/api/listings", "/api/jobs", "/api/connections"):
        answer = await extension.get(path)
        assert (answer.status_code, answer.json()["error"]) == (403, "not_allowed")
    everything = await site.seller("alice", scopes=("*",))
    assert (await everything.get("/api/listings")).status_code == 200


async def test_an_unknown_address_and_method_answer_in_the_one_shape(alice):
    nowhere = await alice.get("/api/nowhere")
    assert (nowhere.status_code, nowhere.json()["error"]) == (404, "not_found")
    wrong = await alice.client.put("/api/listings")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "method_not_allowed")
    assert {"error", "message", "action"} <= nowhere.json().keys() & wrong.json().keys()
    assert wrong.headers["allow"] == "GET, POST"
    assert (await alice.client.put("/sign-in")).headers["allow"] == "GET, POST"


async def test_wrong_fields_are_named_and_what_was_in_them_is_not_repeated(alice):
    secret = "s3cret-cookie-value"
    answer = await alice.post("/api/sessions/sync", {"marketplace": "mercari", "cookies": secret})
    assert (answer.status_code, answer.json()["error"]) == (422, "bad_request")
    named = {field["field"] for field in answer.json()["fields"]}
    assert {"cookies", "isLoggedIn", "timestamp"} <= named
    assert secret not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1", b"\xff\xfe", b'{"title": NaN}', b"[" * 100_000, b'"x"', b"null"]
)
async def test_what_is_no_json_of_ours_is_refused_with_what_to_send(alice, body):
    answer = await alice.client.post(
        "/api/listings", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["error"] == "bad_request"
    assert "JSON" in answer.json()["action"] or answer.json()["fields"][0]["field"] == "title"


async def test_json_without_its_content_type_is_told_the_header(alice):
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await alice.client.post("/api/listings", content=b'{"title": "x"}', headers=form)
    assert (answer.status_code, answer.json()["message"]) == (422, "the body must be an object, in { }.")
    assert "Content-Type: application/json" in answer.json()["action"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"title": 5}, "title: must be a text, in quotes."),
        ({"title": "T" * 1001}, "title: may have at most 1000 characters."),
        ({"colors": "red"}, "colors: must be a list, in [ ]."),
        ({"colors": ["red"] * 11}, "colors: may have at most 10 entries."),
        ({"tags": [""]}, "tags.0: must have 1 or more characters."),
        ({"quantity": 0}, "quantity: must be at least 1."),
        ({"package": {"lengthIn": "long"}}, "package.lengthIn: must be a number."),
        ({"package": {"lengthIn": 0}}, "package.lengthIn: must be more than 0."),
        ({"shippingPayer": "nobody"}, "shippingPayer: must be 'buyer' or 'seller'."),
        ({"shipsFromZip": "ABC"}, "shipsFromZip: must be a ZIP code: 97205 or 97205-1234."),
        ({"overrides": {"ebay": {"title": 5}}}, "overrides.ebay.title: must be a text, in quotes."),
        ({"price": 2500}, "price: must be an object, in { }."),
        ({"tittle": "slip of the pen"}, "tittle: there is no such field."),
    ],
)
async def test_what_is_wrong_with_a_field_is_said_in_our_words(alice, body, said):
    assert (await alice.post("/api/listings", body)).json()["message"] == said


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/sessions/sync", 2),
        ("/api/listings", 1),
        ("/api/listings/x/photos", 26),
        ("/api/listings/post", 1),
    ],
)
async def test_too_much_is_refused_with_and_without_a_length(alice, path, limit):
    megabytes = limit * 1024 * 1024 + 1

    async def pieces() -> AsyncIterator[bytes]:
        left = megabytes
        while left > 0:
            yield b" " * min(left, 65_536)
            left -= 65_536

    json = {"content-type": "application/json"}
    if "photos" in path:
        path, json = f"/api/listings/{await alice.listing(photos=0)}/photos", {"content-type": "image/jpeg"}
    for content in (b" " * megabytes, pieces()):
        answer = await alice.client.post(path, content=content, headers=json)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large"), answer.text
        assert f"{limit} MB" in answer.json()["message"]
        assert ("cookies" in answer.json()["action"]) == ("sessions" in path)


async def test_what_nobody_foresaw_tells_nothing(site, alice, monkeypatch):
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("everystall.web.jobs.jobs.get_job", broken)
    answer = await alice.get("/api/jobs/job_x")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "secret detail" not in answer.text


async def test_answers_carry_headers_that_keep_browsers_from_guessing(alice):
    answer = await alice.get("/api/listings")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_health_and_readiness_need_no_token(site):
    client = site.client()
    assert (await client.get("/healthz")).json()["status"] == "ok"
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"], ready.json()["workerSeenAt"]) == (200, True, None)


async def test_not_ready_while_the_database_is_away(site):
    away = site.settings.model_copy(update={"database_url": None})
    app = create_app(away, database=type(site.database)("postgresql://nobody:x@127.0.0.1:9/none"),
                     vault=site.vault, photos=site.app.state.parts.photos)  # fmt: skip
    site.app = app
    client = site.client("evs_a_b")
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert (await client.get("/healthz")).status_code == 200
    with capture_logs() as lines:
        for _ in range(3):
            away_answer = await client.get("/api/listings")
            assert (away_answer.status_code, away_answer.json()["error"]) == (503, "database_away")
    assert [line["event"] for line in lines] in ([], ["database.away"]), "the process says it, no request"
    await app.state.parts.database.close()


async def test_not_ready_over_a_database_of_an_older_version_and_ready_over_a_newer_one(site):
    """As one that is put back under a running web; and a web that is still to be replaced by a newer one."""
    client = site.client()
    (known,) = await site.rows("SELECT version_num AS at FROM alembic_version")
    for at, status in (("0067", 503), ("9901", 200), (known["at"], 200)):
        await site.rows("UPDATE alembic_version SET version_num = :at", at=at)
        ready = await client.get("/readyz")
        assert ready.status_code == status, at
        assert ("0067" in ready.json()["database"]) == (status == 503)
        assert (await client.get("/healthz")).status_code == 200
    await site.rows("ALTER FUNCTION everystall.migration() RENAME TO other")
    ready = await client.get("/readyz")
    assert (ready.status_code, "before 0068" in ready.json()["database"]) == (503, True)


async def test_a_web_that_drains_is_not_ready_answers_all_the_same_and_keeps_no_connection(site, alice, bob):
    client = site.client()
    assert "connection" not in (await client.get("/readyz")).headers
    assert site.app.state.draining.begin() == DRAIN_SECONDS
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["draining"], ready.json()["database"]) == (503, True, "ok")
    assert (await client.get("/healthz")).status_code == 200
    for seller in (alice, bob):
        answer = await seller.get("/api/listings")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert site.app.state.draining.begin() == 0, "told twice it ends at once"


async def test_a_web_that_nobody_asks_whether_it_is_ready_ends_at_once(site):
    assert site.app.state.draining.begin() == 0
    assert (await site.client().get("/readyz")).status_code == 503


async def test_a_file_of_another_version_is_not_kept_under_the_address_of_that(site):
    """A page of a newer web asks an older one beside it."""
    client = site.client()
    ours = await client.get(static("live.js"))
    theirs = await client.get("/static/live.js?v=0123456789ab")
    assert "immutable" in ours.headers["cache-control"]
    assert (theirs.status_code, theirs.headers["cache-control"]) == (200, "no-cache")


async def test_who_runs_a_container_asks_for_its_health_by_any_name_and_for_nothing_else(site):
    parts = site.app.state.parts
    for listen, health in (("127.0.0.1", 421), ("0.0.0.0", 200)):
        settings = site.settings.model_copy(update={"everystall_listen": listen})
        site.app = create_app(settings, database=parts.database, vault=parts.vault, photos=parts.photos)
        client = site.client(address="100.64.0.2")
        for path, status in (("/healthz", health), ("/readyz", health), ("/sign-in", 421), ("/metrics", 421)):
            answer = await client.get(path, headers={"host": "healthcheck.example.app"})
            assert answer.status_code == status, (listen, path)
        await site.app.state.parts.captures.close()


async def test_an_administrator_who_is_no_superuser_makes_tokens_and_leaves_the_wall_standing(site):
    role = f"plain_{secrets.token_hex(4)}"
    await site.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    await site.rows(f"GRANT everystall_owner TO {role}")
    plain = type(site.database)(
        site.admin.engine.url.set(username=role, password="x").render_as_string(hide_password=False)
    )
    try:
        tokens = []
        for _ in range(2):  # the second finds the seller that the first made
            async with plain.as_app() as session:
                tokens.append(await make_token(session, "Carol@Example.com", "test"))
    finally:
        await plain.close()
        await site.rows(f"DROP ROLE {role}")
    for token in tokens:
        assert (await site.client(token).get("/api/listings")).status_code == 200
    assert await site.rows("SELECT email FROM users") == [{"email": "carol@example.com"}]
    forced = "SELECT relforcerowsecurity AS f FROM pg_class WHERE relname IN ('users', 'api_tokens')"
    assert await site.rows(forced) == [{"f": True}, {"f": True}]


async def test_connections_that_the_server_ended_cost_nobody_an_error(site, alice):
    """As after its restart: all at once, and those that are pooled are known by nothing but their end."""
    for _ in range(2):
        answers = await asyncio.gather(*(alice.get("/api/listings") for _ in range(8)))
        assert {answer.status_code for answer in answers} == {200}
        assert site.database.engine.pool.checkedin() >= 2
        ended = await site.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert len(ended) >= 2
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("broken", [False, True], ids=["away", "broken"])
async def test_no_secret_that_is_asked_with_is_in_the_log(site, capfd, monkeypatch, broken):
    """Addresses of sale mails, links of confirmations and invitations, codes, tokens and cookies, while
    nothing works: the database does not answer, or fails as nobody foresaw."""
    # the first eight are a code, too; none has a 0 or a 1, and for one that has no database is asked
    mark = "canary77" + secrets.token_hex(16)

    def fail(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    if broken:
        for way in ("ask", "as_app", "as_user"):
            monkeypatch.setattr(Database, way, fail)
    site.app.state.parts.database = away = Database(f"postgresql://x@127.0.0.1:{free_port()}/x")
    with capture_logs() as lines:
        for method, path, how in (
            ("POST", f"/api/hints/mail/{mark}", {"content": mark}),
            ("GET", f"/notifications/confirm?token={mark}", {"headers": {"cookie": f"everystall={mark}"}}),
            ("GET", f"/invitation?token={mark}", {}),
            ("GET", f"/first?token={mark}", {}),
            ("POST", "/api/pairings/look", {"json": {"code": mark[:8]}}),
            ("GET", "/metrics", {"headers": {"authorization": f"Bearer {mark}"}}),
            ("GET", "/api/listings", {"headers": {"authorization": f"Bearer evs_{mark}"}}),
            ("GET", f"/nowhere/{mark}", {}),
        ):
            answer = await site.client().request(method, path, **how)
            assert mark not in answer.text or path.startswith(("/invitation", "/first")), path
    await away.close()
    if broken:
        assert {"/api/hints/mail/{token}", "/api/pairings/look"} <= {line.get("path") for line in lines}
    else:
        assert "database.away" in {line["event"] for line in lines}
    said = str(lines) + "".join(capfd.readouterr())
    assert mark not in said
    assert mark[:8] not in said
