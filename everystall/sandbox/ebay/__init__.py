"""The practice eBay. Its pages are in site.py, what it offers in menu.py."""
