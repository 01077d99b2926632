"""How a seller signs in to the practice Poshmark, in their own browser."""

from __future__ import annotations

from typing import Any

from everystall.sandbox.core import PASSWORD


async def sign_in(page: Any, base_url: str, username: str) -> None:
    """Through the sign-in page; ends on the feed."""
    await page.goto(f"{base_url}/login")
    await page.fill("#login_form_username_email", username)
    await page.fill("#login_form_password", PASSWORD)
    await page.click("button[type=submit]")
    await page.wait_for_url("**/feed")
