"""Mercari (United States)."""
