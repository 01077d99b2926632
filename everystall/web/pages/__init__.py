"""What people see in a browser. A page reads and changes things by the functions that the API's routes call
too; what it adds is words, forms that work without a script, and the way on after an error."""

from __future__ import annotations

from everystall.web.pages import (
    account,
    bulk,
    connections,
    door,
    extension,
    installed,
    inventory,
    listing,
    needs_you,
    notifications,
    reference,
    sales,
    stalls,
    today,
)

PAGES = (
    today.router,
    inventory.router,
    bulk.router,
    door.router,
    account.router,
    connections.router,
    stalls.router,
    needs_you.router,
    sales.router,
    listing.router,
    extension.router,
    installed.router,
    notifications.router,
    reference.router,
)
