"""The seller's own mailbox, in which marketplaces' mails about sales arrive. worker/mailboxes.py reads it."""

from __future__ import annotations

import ssrfguard
from ssrfguard import Policy, SSRFGuardError

from everystall.errors import BadRequest
from everystall.models import Mailbox
from everystall.settings import Settings

#: IMAP over TLS, on the Internet.
PUBLIC = Policy(allowed_schemes=frozenset({"https"}), allowed_ports=frozenset({993}))
#: The same, on any port, and in this machine's own network (WEBHOOK_ALLOW_PRIVATE).
NEARBY = Policy(
    allowed_schemes=frozenset({"https"}),
    allowed_networks=(
        "127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
    ),  # type: ignore[arg-type]  # texts are taken too
    allowed_ports=frozenset(range(1, 65536)),
    on_partial_block="drop",
)  # fmt: skip


def policy_of(settings: Settings) -> Policy:
    """Where sellers' mailboxes may be."""
    return NEARBY if settings.webhook_allow_private else PUBLIC


def check_host(host: str, port: int, policy: ssrfguard.Policy) -> None:
    """Raises BadRequest for a server that we would never ask; asks no name server."""
    try:
        policy.check_url(f"https://{host}:{port}")
    except (SSRFGuardError, ValueError):
        raise BadRequest(
            f"We do not read mail of {host[:80]}, port {port}.",
            action="Give the name of your mailbox's IMAP server on the Internet, as imap.example.com; it is "
            "asked by TLS on port 993.",
        ) from None


def said_of(box: Mailbox) -> str | None:
    """What is wrong with it, for its seller; None: nothing."""
    if box.failing_since is None:
        return None
    if box.failing_why == "refused":
        return (
            f"{box.host} does not let us in with this name and password. Many providers want a password made "
            "for one app. It is tried again when you change it."
        )
    return f"{box.host} cannot be read since {box.failing_since:%B %-d, %H:%M} UTC; we go on trying."
