"""A seller's inbox, by IMAP over TLS: what marketplaces wrote about sales. Nothing else knows imap_tools.

Reads only: nothing is marked as seen, moved or deleted. The host is the seller's word: it is resolved once,
each answer is checked, and the connection goes to an address that was checked. All of it blocks: it is for a
thread.
"""

from __future__ import annotations

import imaplib
import socket
import ssl
from collections.abc import Iterator

import ssrfguard
from imap_tools import MailBox
from imap_tools.errors import ImapToolsError, MailboxLoginError

from everystall.inventory import sale_mails

#: Seconds that an answer may take.
TIMEOUT_SECONDS = 20.0
#: Bytes of a mail that we read: longer ones are no mail about a sale.
LARGEST = 1_000_000
#: Mails whose heads one look reads at most; what came before is no news any more.
MOST = 500
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

    def newer(self, than: int) -> tuple[int, list[bytes]]:
        """The number of the last mail, and those after `than` that are about a sale."""
        self.client.noop()
        # "n:*" holds the last one whatever its number is
        numbers = [int(uid) for uid in self.uids(f"UID {than + 1}:*", charset=None)]
        new = sorted(number for number in numbers if number > than)
        about = list(self._about_sales(new[-MOST:]))
        mails = [mail.obj.as_bytes() for mail in self.fetch(uid_list=about, mark_seen=False)] if about else []
        return (new[-1] if new else than), mails

    def _about_sales(self, numbers: list[int]) -> Iterator[str]:
        if not numbers:
            return
        uids = [str(number) for number in numbers]
        for mail in self.fetch(uid_list=uids, mark_seen=False, headers_only=True, bulk=50):
            told = sale_mails.read(sale_mails.parse(mail.obj.as_bytes()))
            if told is not None and mail.uid is not None and mail.size_rfc822 <= LARGEST:
                yield mail.uid

    def wait(self, seconds: float) -> None:
        """Until something comes, or for so long."""
        self.idle.wait(timeout=seconds)
