"""Everystall: write a listing once; sell it at every stall."""

__version__ = "0.1.0"
