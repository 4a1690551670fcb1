"""CBOR (RFC 8949)."""

from typing import Final

from rerank_proxy.edge.addresses.place import LONGEST, Place

_MAX_DEPTH: Final = 200
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(2, 8)
_INDEFINITE: Final = 31
_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_ENDLESS: Final = -1


def _head_of_text(length: int) -> bytes:
    """Return what stands before a text, as short as Elasticsearch has it."""
    if length < 24:
        return bytes((0x60 + length,))
    return bytes((0x78, length)) if length < 256 else b"\x79" + length.to_bytes(2, "big")


class _Open:
    """An array, a map, or a string in parts, that is not complete.

    Attributes:
        left: How many items are still to come; of a map, names and values.
        at_name: In a map: the next item is a name.
    """

    __slots__ = ("at_name", "kind", "left")

    def __init__(self, kind: int, left: int) -> None:
        self.kind = kind
        self.left = left
        self.at_name = kind == _MAP


class CborRewriter:
    """Replaces addresses in CBOR. What follows something that is not CBOR passes as it is.

    Args:
        address: What each of them becomes.
    """

    def __init__(self, address: bytes) -> None:
        self._address = _head_of_text(len(address)) + address
        self._place = Place()
        self._open: list[_Open] = []
        self._rest = b""  # the beginning of an item
        self._skipped = 0  # bytes of a string that are still to come
        self._is_broken = False

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, and return what can be sent on by now."""
        data = self._rest + data
        sent: list[bytes] = []
        copied = at = min(self._skipped, len(data))
        sent.append(data[:at])
        self._skipped -= at
        while at < len(data) and not self._is_broken:
            end, is_address = self._item(data, at)
            if end > len(data):
                self._skipped = end - len(data)
                end = len(data)
            if end == at:
                break
            if is_address:
                sent += (data[copied:at], self._address)
                copied = end
            at = end
        if self._is_broken:
            at = len(data)
        sent.append(data[copied:at])
        self._rest = data[at:]
        return b"".join(sent)

    def end(self) -> bytes:
        """Return the rest: the content is complete."""
        return self._rest

    def _item(self, data: bytes, at: int) -> tuple[int, bool]:
        """Take an item, or the beginning of an array or a map.

        Returns:
            Where it ends, which may be behind what has come; `at` for one that is to be awaited. And whether
            it is an address.
        """
        kind, short = data[at] >> 5, data[at] & 0x1F
        begin = at + 1 + _ARGUMENT_BYTES.get(short, 0)
        if begin > len(data):
            return at, False
        if 27 < short < _INDEFINITE or (short == _INDEFINITE and kind in (0, 1, _TAG)):
            self._is_broken = True
            return at, False
        argument = short if short < 24 else int.from_bytes(data[at + 1 : begin], "big")
        if short == _INDEFINITE:
            self._without_length(kind)
        elif kind in (_ARRAY, _MAP):
            self._begin(kind, argument * (2 if kind == _MAP else 1))
        elif kind in (_BYTES, _TEXT):
            return self._string(kind, data, at, begin, argument)
        elif kind != _TAG:
            if self._open and self._open[-1].at_name:
                self._place.named(b"")
            self._completed()
        return begin, False

    def _string(self, kind: int, data: bytes, at: int, begin: int, length: int) -> tuple[int, bool]:
        end = begin + length
        container = self._open[-1] if self._open else None
        is_address = False
        if container is not None and self._place.on_the_way and container.kind in (_ARRAY, _MAP):
            is_short = kind == _TEXT and length <= LONGEST
            if is_short and end > len(data):
                return at, False
            if container.at_name:
                self._place.named(data[begin:end] if is_short else b"")
            else:
                is_address = is_short and self._place.at_address
        self._completed()
        return end, is_address

    def _without_length(self, kind: int) -> None:
        if kind != _SIMPLE:
            self._begin(kind, _ENDLESS)
        elif self._open and self._open[-1].left < 0:
            self._end()
        else:
            self._is_broken = True

    def _begin(self, kind: int, left: int) -> None:
        if len(self._open) >= _MAX_DEPTH:
            self._is_broken = True
            return
        if kind in (_ARRAY, _MAP):
            self._place.opened(is_object=kind == _MAP)
        elif self._open and self._open[-1].at_name:
            self._place.named(b"")  # a name in parts is none on the way
        self._open.append(_Open(kind, left))
        if not left:
            self._end()

    def _end(self) -> None:
        if self._open.pop().kind in (_ARRAY, _MAP):
            self._place.closed()
        self._completed()

    def _completed(self) -> None:
        """Take note of a complete item of the innermost array or map, which may be complete then, too."""
        if not self._open:
            return
        container = self._open[-1]
        if container.kind == _MAP:
            container.at_name = not container.at_name
        if container.left > 0:
            container.left -= 1
            if not container.left:
                self._end()
