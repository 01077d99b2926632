"""What people see in a browser. A page reads and changes things by the functions that the API's routes call
too; what it adds is words, forms that work without a script, and the way on after an error."""

from __future__ import annotations

from everystall.web.pages import (
    account,
    bulk,
    connections,
    door,
    extension,
    imports,
    inventory,
    listing,
    matches,
    needs_you,
    openings,
    price_changes,
    price_drops,
    prices,
    reference,
    relisting,
    sales,
    selling,
    stalls,
    today,
)

PAGES = (
    today.router,
    imports.router,
    matches.router,
    inventory.router,
    bulk.router,
    door.router,
    account.router,
    openings.router,
    selling.router,
    connections.router,
    stalls.router,
    needs_you.router,
    sales.router,
    prices.router,
    price_drops.router,
    price_changes.router,
    relisting.router,
    listing.router,
    extension.router,
    reference.router,
)
