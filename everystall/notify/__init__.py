"""Telling others what happened. Knows no marketplace and decides nothing."""
