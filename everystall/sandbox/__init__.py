"""Practice marketplaces: local replicas with a ledger, buyers, faults and drift. No test and no demo ever
touches a real one. They stand apart: nothing of Everystall is imported here. How to write one: core.py."""

from __future__ import annotations


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serves all practice sites and the control API until interrupted (port 0: one that is free)."""
    import uvicorn

    from everystall.sandbox.app import build

    uvicorn.run(build(), host=host, port=port, log_level="warning", proxy_headers=False, access_log=False)
