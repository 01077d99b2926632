"""Web push: what proves to a browser's push service that it is us (VAPID), and messages that only the
subscribed browser can read (RFC 8291). Sent by the same careful hand as webhooks: the address is a stranger's
word.
"""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everystall.errors import ChannelRefused, Misconfigured, WebhookRefused
from everystall.notify import webhooks
from everystall.notify.webhooks import Outcome, Sender
from everystall.settings import Settings

log = structlog.get_logger()

#: Seconds that a push service keeps a message for a browser that is off.
TTL_SECONDS: Final = 24 * 3600
#: Bytes, as they stand in a message: sealed it is 103 more, and a push service may take no more than 4,096.
LONGEST_TITLE, LONGEST_TEXT = 1000, 2400


class Vapid:
    """The installation's key: every subscription is made for it, and is worth nothing with another."""

    def __init__(self, number: int) -> None:
        self._key = ec.derive_private_key(number, ec.SECP256R1())

    def __repr__(self) -> str:
        return "Vapid(***)"

    @classmethod
    def load(cls, settings: Settings) -> Vapid:
        """VAPID_PRIVATE_KEY, else the file beside the key ring, which the first that asks makes."""
        if settings.vapid_private_key is not None:
            return cls(_number(settings.vapid_private_key.get_secret_value(), "VAPID_PRIVATE_KEY"))
        path = settings.everystall_home / "keys" / "vapid"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
            whole = path.with_name(f"vapid.{os.getpid()}")
            whole.unlink(missing_ok=True)
            with open(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(_text(made.to_bytes(32, "big")))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(whole, path)  # of two at once one is there, and whole
                log.info("vapid.made", path=str(path))
            except FileExistsError:
                pass
            finally:
                whole.unlink()
        return cls(_number(path.read_text(), str(path)))

    @property
    def public_key(self) -> str:
        """What a browser subscribes with."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return _text(point)

    def header(self, endpoint: str, settings: Settings) -> dict[str, str]:
        from py_vapid import Vapid02

        parts = urlsplit(endpoint)
        by = (
            settings.public_url if settings.public_url.startswith("https://") else "mailto:operator@localhost"
        )
        ends = int((datetime.now(UTC) + timedelta(hours=12)).timestamp())
        signed: dict[str, str] = Vapid02(self._key).sign(
            {"aud": f"{parts.scheme}://{parts.netloc}", "exp": ends, "sub": by}
        )
        return signed


def _number(text: str, where: str) -> int:
    try:
        raw = _bytes(text.strip())
        ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise Misconfigured(
            f"{where} holds no VAPID key.",
            action="It is 32 bytes in base64url, as web-push tools make it. Without one, every browser that "
            "takes pushes has to be asked again.",
        )
    return int.from_bytes(raw, "big")


def check_subscription(given: Any, settings: Settings) -> dict[str, Any]:
    """{endpoint, keys: {p256dh, auth}}, nothing else. Raises ChannelRefused for what is no subscription, and
    for an endpoint where we do not send to."""
    try:
        endpoint, keys = str(given["endpoint"]), given["keys"]
        p256dh, auth = str(keys["p256dh"]), str(keys["auth"])
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(p256dh))
        if len(_bytes(auth)) != 16:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ChannelRefused(
            "That is no browser's subscription.", action="Press the button in the browser that is to be told."
        ) from None
    try:
        webhooks.check_url(endpoint, webhooks.policy_of(settings))
    except WebhookRefused as e:
        raise ChannelRefused(e.message) from None
    return {"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}


async def send(
    sender: Sender, vapid: Vapid, subscription: dict[str, Any], message: dict[str, str], *, urgent: bool,
    settings: Settings,
) -> Outcome:  # fmt: skip
    """One push; `gone` where the subscription is over. `message`: title, body, url, page, tag."""
    from pywebpush import WebPusher  # a second of imports that the web has no use for

    title, text = _cut(message["title"], LONGEST_TITLE), _cut(message["body"], LONGEST_TEXT)
    body = WebPusher(subscription).encode(_json({**message, "title": title, "body": text}))["body"]
    headers = {
        "content-type": "application/octet-stream",
        "content-encoding": "aes128gcm",
        "ttl": str(TTL_SECONDS),
        "urgency": "high" if urgent else "normal",
        "topic": message["tag"],  # while the browser is off, a second try takes the first one's place
        **{name.lower(): value for name, value in vapid.header(subscription["endpoint"], settings).items()},
    }
    outcome = await sender.send(subscription["endpoint"], headers, body)
    return Outcome(outcome.status, "gone") if outcome.status in (404, 410) else outcome


def _json(what: Any) -> bytes:
    return json.dumps(what, ensure_ascii=False).encode()


def _cut(text: str, most: int) -> str:
    """What of it is no more bytes than that in a message."""
    begin = text
    while len(_json(begin)) > most:
        begin = begin[: -1 - len(begin) // 20]
    return text if begin == text else f"{begin}…"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii", "strict") + b"=" * (-len(text) % 4))
