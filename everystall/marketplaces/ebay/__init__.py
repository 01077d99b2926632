"""eBay (United States)."""
