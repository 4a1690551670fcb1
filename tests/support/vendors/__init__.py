"""Stand-ins for the vendors' servers: real ones, on real sockets, that take nothing but their wire."""

from tests.support.vendors.cases import CASES, Case
from tests.support.vendors.double import Asked, Vendor, Wire, serving

__all__ = ["CASES", "Asked", "Case", "Vendor", "Wire", "serving"]
