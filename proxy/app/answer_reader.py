"""An answer of upstream's, put together from the pieces in which it arrives."""

from typing import Final

from proxy.edge.framing import Body, BodyUntilClose, ChunkedBody, FramingError, SizedBody
from proxy.edge.grammar import END_OF_HEAD, cannot_begin_a_head
from proxy.edge.head import HeadError, ResponseHead, parse_response

_MAX_HEAD: Final = 256 * 1024
"""Bytes of a status line and headers; Elasticsearch may send many long `Warning` fields."""


class AnswerError(Exception):
    """What came is no answer. The message says in a few words why not."""


class TooLargeError(Exception):
    """The body of the answer is larger than it may be."""


class AnswerReader:
    """Reads one final answer. Interim answers are dropped.

    Args:
        max_body: Bytes of its body.

    Attributes:
        begun: At least one byte came.
        done: The answer is complete.
        pieces: Its body so far.
        reusable: After it, its connection can be used again.
    """

    head: ResponseHead | None = None
    begun = False
    reusable = False

    def __init__(self, max_body: int) -> None:
        self.pieces: list[bytes] = []
        self._size = 0
        self._max_body = max_body
        self._partial_head = b""
        self._body: Body | None = None

    @property
    def done(self) -> bool:
        return self._body is not None and self._body.done

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            AnswerError: It breaks the grammar, or is no answer to a request that asked for nothing special.
            TooLargeError.
        """
        self.begun = True
        try:
            if self._body is None:
                data = self._read_heads(self._partial_head + data)
            if self._body is not None:
                self._read_body(self._body, data)
        except HeadError as problem:
            raise AnswerError(f"sent a malformed answer: {problem.reason}") from None
        except FramingError as problem:
            raise AnswerError(f"sent a malformed answer: {problem}") from None

    def ended(self) -> None:
        """The connection was closed in good order.

        Raises:
            AnswerError: The answer is not complete.
        """
        if isinstance(self._body, BodyUntilClose):
            self._body.done = True
        elif not self.done:
            raise AnswerError("broke off its answer" if self.begun else "closed the connection")

    def _read_heads(self, data: bytes) -> bytes:
        """Read heads up to the final one; returns what follows it."""
        self._partial_head = b""
        while (end := data.find(END_OF_HEAD) + len(END_OF_HEAD)) >= len(END_OF_HEAD):
            head = parse_response(data, end)
            data = data[end:]
            if head.status >= 200:
                self._begin_body(head)
                return data
            if head.status == 101:
                raise AnswerError("switched to a protocol that nobody asked for")
        if len(data) > _MAX_HEAD:
            raise AnswerError(f"sent a head of more than {_MAX_HEAD} bytes")
        if cannot_begin_a_head(data):
            raise AnswerError("sent a malformed answer: its head holds a control character")
        self._partial_head = data
        return b""

    def _begin_body(self, head: ResponseHead) -> None:
        """Know how the answer ends (RFC 9112 §6.3)."""
        self.head = head
        self.reusable = head.keep_alive
        if head.status in (204, 304):
            self._body = SizedBody(0)
        elif head.chunked:
            self._body = ChunkedBody()
        elif head.length is not None:
            self._body = SizedBody(head.length)
        else:
            self._body = BodyUntilClose()
            self.reusable = False

    def _read_body(self, body: Body, data: bytes) -> None:
        pieces: list[bytes] = []
        end = body.feed(data, 0, pieces)
        self._size += sum(map(len, pieces))
        if self._size > self._max_body:
            raise TooLargeError
        self.pieces += pieces
        if end < len(data):
            self.reusable = False  # more than it announced: its next answer would begin with it
