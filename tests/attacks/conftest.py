"""The attacks that must fail (docs/security.md), on the API's stage: Alice owns one of everything."""

from __future__ import annotations

import pytest

from tests.api.conftest import Site
from tests.api.conftest import site as site
from tests.attacks.estate import Estate, furnish
from tests.journeys.conftest import driver as driver
from tests.journeys.conftest import own_browsers as own_browsers
from tests.journeys.conftest import practice as practice
from tests.journeys.conftest import stall as stall


@pytest.fixture
async def estate(site: Site) -> Estate:
    return await furnish(site)
