"""What people see in a browser. A page reads and changes things by the functions that the API's routes call
too; what it adds is words, forms that work without a script, and the way on after an error."""

from __future__ import annotations

from everystall.web.pages import (
    account,
    activity,
    backups,
    bulk,
    connection_check,
    connections,
    door,
    extension,
    inventory,
    listing,
    needs_you,
    palette,
    reference,
    sales,
    saved_views,
    settings,
    sitting,
    stalls,
    today,
)

PAGES = (
    today.router,
    inventory.router,
    bulk.router,
    saved_views.router,
    door.router,
    backups.router,
    activity.router,
    account.router,
    connections.router,
    stalls.router,
    needs_you.router,
    sales.router,
    settings.router,
    connection_check.router,
    listing.router,
    extension.router,
    sitting.router,
    reference.router,
    palette.router,
)
