"""Holds bytes that arrive in pieces, and finds the heads in them."""

import re

from rerank_proxy.http.grammar import END_OF_HEAD, cannot_begin_a_head
from rerank_proxy.http.head import HeadError

_OVERLAP = len(END_OF_HEAD) - 1
"""Bytes at the end of a piece that may begin an `END_OF_HEAD`."""

_MAY_BE_EMPTY_LINE = (b"\r", b"")
_EMPTY_LINES = re.compile(rb"(?:\r\n)*+")


class HeadTooLongError(HeadError):
    """A head is longer than allowed."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"its head is longer than {limit} bytes")


class Inbox:
    """Bytes that have arrived and were not taken yet.

    However they are cut, each byte is copied and searched a fixed number of times: a head that arrives byte
    by byte is not joined anew with each, and the rest of many requests in one piece is not moved for each.

    Attributes:
        block: The first bytes, to be taken from `at` on.
        at: How far `block` was taken. Set by the caller that takes bytes.
    """

    __slots__ = ("_more", "_searched", "at", "block")

    def __init__(self) -> None:
        self.block = b""
        self.at = 0
        self._more = bytearray()  # what follows `block`
        self._searched = 0  # how far no head ends in `_more`

    def __len__(self) -> int:
        return len(self.block) - self.at + len(self._more)

    def __bool__(self) -> bool:
        return self.at < len(self.block) or bool(self._more)

    def append(self, data: bytes) -> None:
        if self._more or self.at < len(self.block):
            self._more += data
        else:
            self.block, self.at = data, 0

    def next_block(self) -> bool:
        """Make what follows `block`, which was taken, the next block. Return False if nothing follows."""
        if not self._more:
            return False
        self.block, self.at = bytes(self._more), 0
        self._more = bytearray()
        self._searched = 0
        return True

    def take_head(self, limit: int) -> bytes | None:
        """Take the next head, final empty line included, or return None if it is not complete.

        Raises:
            HeadTooLongError: It has more than `limit` bytes.
            HeadError: No continuation can make it valid.
        """
        end = self.block.find(END_OF_HEAD, self.at)
        if end < 0:
            self._join()
            end = self._more.find(END_OF_HEAD, self._searched)
            if end < 0:
                self._check_beginning(limit)
                return None
            self.next_block()
        end += len(END_OF_HEAD)
        start = self.at
        if end - start > limit:
            raise HeadTooLongError(limit)
        self.at = end
        return self.block[start:end]

    def skip_empty_lines(self) -> None:
        """Skip empty lines, of which some clients send one after a body (RFC 9112 §2.2)."""
        if self.block[self.at : self.at + 1] not in _MAY_BE_EMPTY_LINE:
            return
        if self.block.startswith(b"\r\n", self.at):
            lines = _EMPTY_LINES.match(self.block, self.at)
            self.at = lines.end() if lines else self.at
        if self.block.endswith(b"\r") and self.at == len(self.block) - 1:
            self._join()  # half a line end: the other half follows, or will
        if self.at == len(self.block) and self._more.startswith(b"\r\n"):
            lines = _EMPTY_LINES.match(self._more)
            del self._more[: lines.end() if lines else 0]
            self._searched = 0

    def _join(self) -> None:
        """Put the rest of `block`, in which no head ends, in front of what follows."""
        if self.at < len(self.block):
            self._more[:0] = self.block[self.at :]
            self._searched = 0
        self.block, self.at = b"", 0

    def _check_beginning(self, limit: int) -> None:
        size = len(self._more)
        if size >= limit:
            raise HeadTooLongError(limit)
        if cannot_begin_a_head(self._more, self._searched):
            raise HeadError("its head holds a control character, or half a line end")
        self._searched = max(size - _OVERLAP, 0)
