"""Places in a long list: the time and id of the last row shown, opaque to the caller."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from everystall.errors import BadRequest


def cursor_of(at: datetime, id: object) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Raises BadRequest for what is none of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, id = text.split(" ", 1)
        when = datetime.fromisoformat(at)
    except (ValueError, binascii.Error):
        raise BadRequest("That cursor is not one of ours.", action="Begin the list anew.") from None
    if when.tzinfo is None or "\x00" in id:
        raise BadRequest("That cursor is not one of ours.", action="Begin the list anew.")
    return when, id
