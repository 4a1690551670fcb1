"""Test doubles of the vendors' servers, on real sockets, that accept nothing but the vendor's wire."""

from tests.support.vendors.cases import CASES, Case
from tests.support.vendors.double import Asked, Vendor, Wire, serving

__all__ = ["CASES", "Asked", "Case", "Vendor", "Wire", "serving"]
