"""What a seller reads while nobody knows whether a listing was posted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from everystall.worker import reconcile

VISIT = cast("Any", SimpleNamespace(label="Mercari"))


@pytest.mark.parametrize("stopped", [{"clicked": False}, {"clicked": False, "message": "It stopped."}])
def test_where_only_an_agent_acted_nobody_says_that_we_clicked(stopped):
    said = reconcile.did(VISIT, stopped)
    assert "no click of ours" in said
    assert "clicked" not in said


@pytest.mark.parametrize("stopped", [None, {"clicked": True}])
def test_where_we_clicked_it_says_so(stopped):
    assert "We clicked once, and will not click again" in reconcile.did(VISIT, stopped)
