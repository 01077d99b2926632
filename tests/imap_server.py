"""A real IMAP server (pymap) on this machine, for one mailbox, behind TLS with a certificate of its own."""

from __future__ import annotations

import asyncio
import imaplib
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "alice@example.com", "made for this app"


@dataclass
class ImapServer:
    #: By TLS, and without.
    port: int
    plain_port: int
    #: What believes its certificate.
    context: ssl.SSLContext
    #: Connections that came by TLS.
    came: int = 0

    def deliver(self, raw: bytes) -> None:
        """A mail arrives."""
        client = self._client()
        answer, _ = client.append("INBOX", None, None, raw)
        assert answer == "OK"
        client.logout()

    def begin_anew(self) -> None:
        """No mail is there, and nobody came: for the next test, since a server takes seconds to start."""
        client = self._client()
        _, (held,) = client.select("INBOX")
        if int(held):
            client.store("1:*", "+FLAGS", "\\Deleted")
            client.expunge()
        client.logout()
        self.came = 0

    def _client(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.plain_port, timeout=10)
        client.login(USER, PASSWORD)
        return client


@asynccontextmanager
async def imap_server(folder: Path):
    key, certificate = _certificate(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        plain_port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "pymap"), "--host", "127.0.0.1", "--port", str(plain_port),
         "--no-tls", "dict", "--demo-user", USER, "--demo-password", PASSWORD],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    trusting = ssl.create_default_context(cafile=str(certificate))
    server = ImapServer(0, plain_port, trusting)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate, key)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.came += 1
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", plain_port)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    try:
        async with asyncio.timeout(30):
            await _until_it_listens(plain_port)
        tls = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=own)
        server.port = tls.sockets[0].getsockname()[1]
        yield server
        tls.close()
    finally:
        process.terminate()
        process.wait(10)


async def _until_it_listens(port: int) -> None:
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "imap.key", folder / "imap.pem"
    paths[0].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    paths[1].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return paths
