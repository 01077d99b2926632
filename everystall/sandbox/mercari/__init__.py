"""The practice Mercari: see site.py. It imports nothing of Everystall but the practice world."""

from everystall.sandbox.mercari.site import site

__all__ = ("site",)
