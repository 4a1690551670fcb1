"""Benchmarks, which print hardware and settings with their figures. `make bench` runs them."""
