"""Measurements, each with the hardware and settings it was taken on. Run by `make bench`."""
