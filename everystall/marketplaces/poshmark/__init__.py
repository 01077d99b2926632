"""Poshmark (United States)."""
