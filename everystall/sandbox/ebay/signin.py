"""Signing in to the practice eBay through its own page, as a seller would."""

from __future__ import annotations

from typing import Any

from everystall.sandbox.core import PASSWORD


async def sign_in(page: Any, base_url: str, username: str) -> None:
    """`page` is a Playwright page. Returns on the page that follows the sign-in."""
    await page.goto(f"{base_url}/signin/")
    await page.locator('input[name="userid"]:not([type="hidden"])').fill(username)
    await page.locator('form[method="post"] button[type="submit"]').click()
    await page.locator('input[name="pass"]').fill(PASSWORD)
    await page.locator('form[method="post"] button[type="submit"]').click()
    await page.wait_for_url(lambda url: "/signin" not in url)
