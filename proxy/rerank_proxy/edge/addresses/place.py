"""Where a text stands, as far as it matters for the HTTP addresses of nodes."""

from typing import Final

_ON_THE_WAY: Final = (b"nodes", None, b"http")
"""The names of the objects that lead to the addresses; None stands for the id of a node."""
_ADDRESS: Final = b"publish_address"
_ADDRESSES: Final = b"bound_address"
_HTTP: Final = len(_ON_THE_WAY) + 1
"""The depth of a node's object `http`."""

LONGEST: Final = 1024
"""Bytes of the longest token that is looked at; no name on the way and no address is as long."""


class Place:
    """Follows the objects, arrays and names of one text.

    Attributes:
        depth: How many objects and arrays are open.
        known: How many of them, from the outermost, are on the way to an address.
    """

    __slots__ = ("_leads_on", "_name", "depth", "known")

    def __init__(self) -> None:
        self.depth = 0
        self.known = 0
        self._leads_on = True
        self._name = b""

    @property
    def on_the_way(self) -> bool:
        """Return whether what comes next may be, or hold, an address."""
        return self.known == self.depth

    @property
    def in_object(self) -> bool:
        """Return whether the innermost of those on the way is an object, and not the list of addresses."""
        return self.known <= _HTTP

    @property
    def at_address(self) -> bool:
        """Return whether a string that comes next is an address."""
        if self.known != self.depth or self.depth < _HTTP:
            return False
        return self.depth > _HTTP or self._name == _ADDRESS

    def named(self, name: bytes) -> None:
        """Take note of the name of a field of the innermost object."""
        if self.known != self.depth:
            return
        self._name = name
        if self.depth <= len(_ON_THE_WAY):
            wanted = _ON_THE_WAY[self.depth - 1]
            self._leads_on = wanted is None or name == wanted
        else:
            self._leads_on = name == _ADDRESSES

    def opened(self, *, is_object: bool) -> None:
        """Take note of the beginning of an object or an array."""
        if self.known == self.depth and self._leads_on and is_object is (self.depth < _HTTP):
            self.known += 1
        self.depth += 1
        self._leads_on = False
        self._name = b""

    def closed(self) -> None:
        """Take note of the end of the innermost object or array."""
        self.depth -= 1
        self.known = min(self.known, self.depth)
        self._leads_on = False
        self._name = b""
