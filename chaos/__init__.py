"""The fault matrix: every step of every verb, struck by every fault, and what the ledger says afterwards.

Real worker processes, a real Chromium, a real PostgreSQL; the practice marketplaces behind a door that can
fail (door.py). `make chaos` runs it and writes docs/reliability.md.
"""
