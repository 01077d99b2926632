"""`make bench`: the figures of docs/benchmarks.md, measured against the practice marketplaces."""
