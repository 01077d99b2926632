"""How the mail looks by which a marketplace tells its seller of a sale: `SALE_MAIL` of its form.py. Pure.

A mail is a hint: it says where to look, and not that something was sold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

#: What mail programs put before the subject of what they pass on.
_PASSED_ON = re.compile(r"^(?:\s*(?:fwd?|wg|tr)\s*:\s*)+", re.IGNORECASE)


@dataclass(frozen=True)
class SaleMail:
    #: Whose mail it is: the domain of its sender, and what is below it.
    domain: str
    #: Of the subject; a group `title` is the listing's, as the marketplace has it.
    subjects: Sequence[str]
    #: Where it was read, and when.
    source: str
    checked: date
    #: Of the text: the site's id of the listing; None: it is found by its address alone (Form.REMOTE_ID).
    remote_id: str | None = None

    def is_from(self, domain: str) -> bool:
        return domain == self.domain or domain.endswith(f".{self.domain}")

    def title_of(self, subject: str) -> str | None:
        """The title that the subject names, or "" if it tells of a sale and names none; None: of no sale."""
        plain = _PASSED_ON.sub("", " ".join(subject.split()))
        for pattern in self.subjects:
            found = re.search(pattern, plain, re.IGNORECASE)
            if found is not None:
                return (found.groupdict().get("title") or "").strip()
        return None
