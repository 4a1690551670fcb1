"""Endpoints that clients create: how they are written down, where they are kept, and who may change them."""
