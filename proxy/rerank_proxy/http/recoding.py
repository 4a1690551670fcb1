"""Changes the content of an answer that is compressed, piece by piece."""

import zlib
from typing import Final, Protocol

from rerank_proxy.http.inflate import STEP, CodingError

LEVEL: Final = 3
"""The level at which Elasticsearch compresses its answers."""
WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Arguments of zlib for the codings of Elasticsearch's answers."""


class Transformation(Protocol):
    """What is done to the content: `end` returns what is left when all of it was fed."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class Recoded:
    """A transformation of compressed content: it decodes, has `inner` change it, and encodes again.

    Args:
        coding: One of `WINDOW_BITS`.
    """

    def __init__(self, inner: Transformation, coding: str) -> None:
        self._inner = inner
        self._decoder = zlib.decompressobj(WINDOW_BITS[coding])
        self._encoder = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[coding])

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, and return what can be sent on by now. What follows the coding's end is
        dropped.

        Raises:
            CodingError: It is corrupt.
        """
        sent: list[bytes] = []
        part = b""
        # A full step may have left output inside the decoder even when all input is taken.
        while (data or len(part) == STEP) and not self._decoder.eof:
            try:
                part = self._decoder.decompress(data, STEP)
            except zlib.error as fault:
                raise CodingError(str(fault)) from None
            sent.append(self._encoder.compress(self._inner.feed(part)))
            data = self._decoder.unconsumed_tail
        return b"".join(sent)

    def end(self) -> bytes:
        """Return the rest.

        Raises:
            CodingError: The content is not complete.
        """
        if not self._decoder.eof:
            raise CodingError("it ends too early")
        return self._encoder.compress(self._inner.end()) + self._encoder.flush()
