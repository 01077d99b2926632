"""A seller's inbox, by IMAP over TLS: what marketplaces wrote about sales. Nothing else knows imap_tools.

Reads only: nothing is marked as seen, moved or deleted. The host is the seller's word: it is resolved once,
each answer is checked, and the connection goes to an address that was checked. All of it blocks: it is for a
thread.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import ssrfguard
from imap_tools import MailBox
from imap_tools.errors import ImapToolsError, MailboxLoginError

from everystall.inventory import sale_mails
from everystall.inventory.sale_mails import SaleTold

#: Seconds that an answer may take.
TIMEOUT_SECONDS = 20.0
#: Bytes of a mail that we read: longer ones are no mail about a sale.
LARGEST = 1_000_000
#: Mails whose heads one look reads at most; what came before is no news any more.
MOST = 500
#: Heads asked for at once.
HEADS = 50
_UID, _SIZE = re.compile(rb"\bUID (\d+)"), re.compile(rb"\bRFC822\.SIZE (\d+)")
#: What goes wrong between us and a server.
Failed = (OSError, imaplib.IMAP4.error, ImapToolsError, ssrfguard.SSRFGuardError, ValueError)


class Refused(Exception):
    """The server does not let us in with this name and password."""


class _Checked(imaplib.IMAP4_SSL):
    """Dials an address that the policy allows, and speaks TLS with the name that was asked for."""

    def __init__(self, host: str, port: int, policy: ssrfguard.Policy, context: ssl.SSLContext) -> None:
        self._policy, self._context = policy, context
        super().__init__(host, port, ssl_context=context, timeout=TIMEOUT_SECONDS)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        target = self._policy.check_url(f"https://{self.host}:{self.port}")
        addresses = ssrfguard.resolve(target, policy=self._policy)
        plain = ssrfguard.connect(addresses, policy=self._policy, timeout=timeout)
        return self._context.wrap_socket(plain, server_hostname=self.host)


class Inbox(MailBox):
    """One connection."""

    def __init__(self, host: str, port: int, policy: ssrfguard.Policy, context: ssl.SSLContext) -> None:
        self._policy, self._context = policy, context
        super().__init__(host, port)

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        return _Checked(self._host, self._port, self._policy, self._context)

    def enter(self, username: str, password: str) -> tuple[int, int]:
        """(what its numbers are valid for, the number of its last mail). Raises Refused, or of `Failed`."""
        try:
            self.login(username, password, initial_folder=None)
        except MailboxLoginError:
            raise Refused from None
        self.folder.set("INBOX", readonly=True)
        stands = self.folder.status("INBOX", ["UIDVALIDITY", "UIDNEXT"])
        return stands["UIDVALIDITY"], stands["UIDNEXT"] - 1

    def newer(self, than: int) -> tuple[int, list[SaleTold]]:
        """The number of the last mail, and what those after `than` tell of sales."""
        self.client.noop()
        # "n:*" holds the last one whatever its number is
        numbers = [int(uid) for uid in self.uids(f"UID {than + 1}:*", charset=None)]
        new = sorted(number for number in numbers if number > than)
        told = [
            sale_mails.read_raw(raw, self._host)
            for uid in self._about_sales(new[-MOST:])
            for _, raw in self._fetch(uid, "(BODY.PEEK[])")
        ]
        return (new[-1] if new else than), [one for one in told if one is not None]

    def _about_sales(self, numbers: list[int]) -> list[str]:
        about = []
        for start in range(0, len(numbers), HEADS):
            uids = ",".join(map(str, numbers[start : start + HEADS]))
            for said, head in self._fetch(uids, "(UID RFC822.SIZE BODY.PEEK[HEADER])"):
                uid, size = _UID.search(said), _SIZE.search(said)
                small = size is not None and int(size[1]) <= LARGEST
                if uid is not None and small and sale_mails.read_raw(head, self._host) is not None:
                    about.append(uid[1].decode())
        return about

    def _fetch(self, uids: str, what: str) -> Iterator[tuple[bytes, bytes]]:
        status, answer = self.client.uid("fetch", uids, what)
        if status != "OK":
            raise imaplib.IMAP4.error(f"{what} was answered with {status}")
        return each(answer)

    def wait(self, seconds: float) -> None:
        """Until something comes, or for so long."""
        self.idle.wait(timeout=seconds)


def each(answer: Sequence[Any]) -> Iterator[tuple[bytes, bytes]]:
    """(what is said of a mail, its text), from an answer to FETCH as imaplib has it. Its number may stand
    before the text or after it; between two a server may say what nobody asked for (another's flags)."""
    for one, after in zip(answer, [*answer[1:], b""], strict=True):
        if isinstance(one, tuple):
            yield one[0] + (after if isinstance(after, bytes) else b""), one[1]
