"""A Supabase project on this machine, as far as Everystall meets one: its PostgreSQL's roles, schemas and
grants (after supabase/postgres, November 2026), its Auth, which signs tokens and tells its keys, and its
Storage by S3.

`postgres` is no superuser there, owns neither `auth` nor its functions, and cannot pass on its right to use
that schema; the Data API logs in as `authenticator`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import uvicorn
from fastapi import FastAPI, Request, Response
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from sqlalchemy import make_url

WORD = "a-word-of-the-tests"

#: Of the whole server.
_ROLES = f"""
CREATE ROLE supabase_admin LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD '{WORD}';
SET ROLE supabase_admin;
CREATE ROLE postgres LOGIN NOSUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD '{WORD}';
CREATE ROLE anon NOLOGIN INHERIT;
CREATE ROLE authenticated NOLOGIN INHERIT;
CREATE ROLE service_role NOLOGIN INHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD '{WORD}';
CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE PASSWORD '{WORD}';
CREATE ROLE supabase_storage_admin LOGIN NOINHERIT CREATEROLE PASSWORD '{WORD}';
GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role TO postgres WITH ADMIN OPTION;
ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET statement_timeout = '8s';
ALTER ROLE postgres SET search_path TO "$user", public, extensions;
ALTER ROLE supabase_auth_admin SET search_path = 'auth';
"""

#: Of one project's database, as supabase_admin.
_SCHEMAS = """
CREATE SCHEMA extensions;
CREATE SCHEMA auth AUTHORIZATION supabase_admin;
CREATE SCHEMA storage AUTHORIZATION supabase_admin;
CREATE TABLE auth.users (
    id uuid PRIMARY KEY, aud varchar(255), role varchar(255), email varchar(255) UNIQUE,
    encrypted_password varchar(255), created_at timestamptz DEFAULT now()
);
CREATE TABLE storage.objects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), bucket_id text, name text);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
  )::text
$$;
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;
ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.role() OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.jwt() OWNER TO supabase_auth_admin;
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
GRANT ALL ON SCHEMA auth TO supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO postgres, anon, authenticated, service_role;
GRANT ALL ON ALL TABLES IN SCHEMA auth TO postgres;
GRANT ALL ON ALL ROUTINES IN SCHEMA auth TO postgres;
GRANT USAGE ON SCHEMA storage TO postgres, anon, authenticated, service_role;
GRANT ALL ON ALL TABLES IN SCHEMA storage TO postgres, anon, authenticated, service_role;
GRANT USAGE ON SCHEMA public, extensions TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
-- the Data API's cache of the schema
CREATE FUNCTION extensions.pgrst_ddl_watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE cmd record;
BEGIN
    FOR cmd IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF cmd.command_tag IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE FUNCTION', 'CREATE TYPE')
           AND cmd.schema_name IS DISTINCT FROM 'pg_temp' THEN
            NOTIFY pgrst, 'reload schema';
        END IF;
    END LOOP;
END $$;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.pgrst_ddl_watch();
"""


def make_roles(superuser: str) -> None:
    """On a server of its own. `superuser`: the address of who made the cluster."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(_ROLES)


def make_project(superuser: str, name: str) -> str:
    """A project's database; its address as `postgres`, which is what people are shown."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER postgres")
    with psycopg.connect(as_role(superuser, "supabase_admin", name), autocommit=True) as connection:
        connection.execute(_SCHEMAS)
    return as_role(superuser, "postgres", name)


def as_role(url: str, role: str, database: str | None = None) -> str:
    """The same server by another of its roles."""
    there = make_url(url).set(username=role, password=WORD)
    return (there.set(database=database) if database else there).render_as_string(hide_password=False)


# ---- Auth ---------------------------------------------------------------------------------------------


@dataclass
class Auth:
    """Supabase Auth of one project."""

    #: SUPABASE_URL.
    url: str
    key: ECKey
    #: What it tells as its keys; None: it does not answer.
    told: list[dict[str, Any]] | None
    #: How often it was asked for them.
    asked: int = 0
    #: The secret of a project that signs by HS256.
    secret: str = "super-secret-jwt-token-with-at-least-32-characters"
    people: dict[str, UUID] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.url}/auth/v1"

    def claims(self, person: UUID, email: str = "", **otherwise: Any) -> dict[str, Any]:
        """As Auth makes them; `otherwise` None: it lacks that."""
        now = int(time.time())
        made = {
            "iss": self.issuer, "sub": str(person), "aud": "authenticated", "exp": now + 3600, "iat": now,
            "email": email, "phone": "", "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {"email_verified": True}, "role": "authenticated", "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}], "session_id": str(uuid4()),
            "is_anonymous": False, **otherwise,
        }  # fmt: skip
        return {name: value for name, value in made.items() if value is not None}

    def token(self, name: str, **otherwise: Any) -> str:
        """Of the person of that name, who signed up when first asked for."""
        person = self.people.setdefault(name, uuid4())
        return self.sign(self.claims(person, f"{name}@example.com", **otherwise))

    def sign(self, claims: dict[str, Any], key: Any = None, **header: Any) -> str:
        head = {"alg": "ES256", "typ": "JWT", "kid": self.key.kid, **header}
        head = {name: value for name, value in head.items() if value is not None}
        return str(jwt.encode(head, claims, key or self.key, algorithms=[head["alg"]]))

    def sign_by_secret(self, claims: dict[str, Any], secret: str | None = None) -> str:
        key = OctKey.import_key((secret or self.secret).encode())
        return str(jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, key, algorithms=["HS256"]))

    def rotate(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": str(uuid4()), "use": "sig", "alg": "ES256"})
        self.told = [public(self.key)]


def public(key: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "key_ops": ["verify"]}


@asynccontextmanager
async def running() -> AsyncIterator[Auth]:
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    key = ECKey.generate_key("P-256", {"kid": str(uuid4()), "use": "sig", "alg": "ES256"})
    auth = Auth(f"http://127.0.0.1:{listening.getsockname()[1]}", key, [public(key)])
    app = FastAPI()

    @app.get("/auth/v1/.well-known/jwks.json")
    async def keys(request: Request) -> Any:
        auth.asked += 1
        assert "authorization" not in request.headers
        if auth.told is None:
            raise RuntimeError
        return {"keys": auth.told}

    async with _served(app, listening):
        yield auth


# ---- Storage ------------------------------------------------------------------------------------------


@dataclass
class Storage:
    """Its S3 endpoint, which is not at the root of its host: signatures are over the whole path. It has one
    bucket and no write that depends on what is there (`If-None-Match`)."""

    url: str
    key_id: str = "an-access-key-id"
    key_secret: str = "its-secret"
    region: str = "eu-central-1"
    bucket: str = "everystall"
    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"{self.url}/storage/v1/s3"

    def settings(self) -> dict[str, str]:
        return {
            "photos_url": f"s3://{self.bucket}/photos",
            "photos_s3_endpoint": self.endpoint,
            "photos_s3_region": self.region,
            "photos_s3_key_id": self.key_id,
            "photos_s3_key_secret": self.key_secret,
        }

    def signed(self, request: Request) -> bool:
        """AWS Signature Version 4, over what came."""
        said = dict(re.findall(r"(\w+)=([^, ]+)", request.headers.get("authorization", "")))
        key_id, day, region, service, end = said.get("Credential", "////").split("/")
        if (key_id, region, service, end) != (self.key_id, self.region, "s3", "aws4_request"):
            return False
        names = said["SignedHeaders"].split(";")
        canonical = "\n".join(
            (
                request.method, request.scope["raw_path"].decode().partition("?")[0],
                "&".join(sorted(_with_value(each) for each in request.url.query.split("&"))),
                *(f"{name}:{request.headers[name].strip()}" for name in names),
                "", said["SignedHeaders"], request.headers["x-amz-content-sha256"],
            )
        )  # fmt: skip
        scope = f"{day}/{region}/s3/aws4_request"
        to_sign = "\n".join(
            ("AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope,
             hashlib.sha256(canonical.encode()).hexdigest())
        )  # fmt: skip
        key = f"AWS4{self.key_secret}".encode()
        for word in (day, region, "s3", "aws4_request", to_sign):
            key = hmac.digest(key, word.encode(), "sha256")
        return hmac.compare_digest(key.hex(), said["Signature"])


def _with_value(parameter: str) -> str:
    return parameter if "=" in parameter or not parameter else f"{parameter}="


def _error(code: str, status: int) -> Response:
    return Response(f"<Error><Code>{code}</Code></Error>", status, media_type="application/xml")


@asynccontextmanager
async def storing() -> AsyncIterator[Storage]:
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    storage = Storage(f"http://127.0.0.1:{listening.getsockname()[1]}")
    app = FastAPI()

    @app.api_route("/storage/v1/s3/{bucket}{key:path}", methods=["GET", "HEAD", "PUT", "DELETE", "POST"])
    async def store(request: Request, bucket: str, key: str) -> Response:
        body = await request.body()
        if not storage.signed(request):
            return _error("SignatureDoesNotMatch", 403)
        if bucket != storage.bucket:
            return _error("NoSuchBucket", 404)
        key = key.removeprefix("/")
        if request.method == "PUT":
            assert "if-none-match" not in request.headers
            storage.kept[key] = body
            return Response(headers={"etag": '"x"'})
        if request.method == "POST":  # many at once
            assert "delete" in request.query_params
            said = ""
            for name in re.findall(r"<Key>([^<]+)</Key>", body.decode()):
                if storage.kept.pop(name, None) is not None:
                    said += f"<Deleted><Key>{name}</Key></Deleted>"
                else:
                    said += (
                        f"<Error><Key>{name}</Key><Code>AccessDenied</Code><Message>You do not have "
                        "permission to delete this object or the object doesn't exist</Message></Error>"
                    )
            return Response(f"<DeleteResult>{said}</DeleteResult>", media_type="application/xml")
        if request.method == "DELETE":
            storage.kept.pop(key, None)
            return Response(status_code=204)
        if not key:
            prefix = request.query_params.get("prefix", "")
            found = "".join(
                f"<Contents><Key>{name}</Key><LastModified>2026-11-28T00:00:00.000Z</LastModified>"
                f'<ETag>"x"</ETag><Size>{len(data)}</Size></Contents>'
                for name, data in sorted(storage.kept.items()) if name.startswith(prefix)
            )  # fmt: skip
            said = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            return Response(said, media_type="application/xml")
        if key not in storage.kept:
            return _error("NoSuchKey", 404)
        headers = {"etag": '"x"', "last-modified": "Sat, 28 Nov 2026 00:00:00 GMT"}
        return Response(storage.kept[key], headers=headers, media_type="image/png")

    async with _served(app, listening):
        yield storage


@asynccontextmanager
async def _served(app: FastAPI, listening: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving
