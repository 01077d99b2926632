"""The practice eBay: see site.py. It imports nothing of Everystall but the practice world."""

from everystall.sandbox.ebay.site import site

__all__ = ("site",)
