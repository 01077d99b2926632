"""The seller's own mailbox, in which marketplaces' mails about sales arrive. worker/mailboxes.py reads it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Final

import ssrfguard
from ssrfguard import Policy, SSRFGuardError

from everystall.errors import BadRequest
from everystall.models import Mailbox
from everystall.notify import webhooks
from everystall.settings import Settings

#: Mailboxes that one worker watches: each holds a thread.
MOST: Final = 50
#: What no worker watches for so long is said.
LONG: Final = timedelta(minutes=15)
#: IMAP over TLS, on the Internet.
PUBLIC = Policy(allowed_schemes=frozenset({"https"}), allowed_ports=frozenset({993}))
#: The same, on any port, and in this machine's own network (WEBHOOK_ALLOW_PRIVATE).
NEARBY = dataclasses.replace(webhooks.NEARBY, allowed_schemes=frozenset({"https"}))


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


def is_left(box: Mailbox) -> bool:
    """No worker watches it, for long: each has as many as it can, or none runs."""
    rests = box.failing_why == "refused"
    return not rests and (box.claimed_until or box.made_at) < datetime.now(UTC) - LONG


def said_of(box: Mailbox) -> str | None:
    """What is wrong with it, for its seller; None: nothing."""
    if is_left(box):
        return (
            f"No worker reads this mailbox: each reads at most {MOST}. Whoever runs Everystall starts "
            "another worker. Sales are still looked for on the marketplaces themselves."
        )
    if box.failing_since is None:
        return None
    if box.failing_why == "refused":
        return (
            f"{box.host} does not let us in with this name and password. Many providers want a password made "
            "for one app. It is tried again when you change it."
        )
    return f"{box.host} cannot be read since {box.failing_since:%B %-d, %H:%M} UTC; we go on trying."
