"""An answer of upstream's, put together from the pieces in which it arrives."""

from rerank_proxy.edge.exchange import MAX_INTERIM_HEADS, MAX_RESPONSE_HEAD
from rerank_proxy.http.framing import Body, BodyUntilClose, ChunkedBody, FramingError, SizedBody
from rerank_proxy.http.head import HeadError, ResponseHead, parse_response
from rerank_proxy.http.inbox import Inbox


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
        self._inbox = Inbox()
        self._interim_bytes = 0
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
                self._inbox.append(data)
                self._read_heads(self._inbox)
            else:
                self._read_body(self._body, data)
        except HeadError as problem:
            raise AnswerError(f"sent a malformed answer: {problem.reason}") from None
        except FramingError as problem:
            raise AnswerError(f"sent a malformed answer: {problem}") from None

    def ended(self, *, in_order: bool = True) -> None:
        """The connection was closed.

        Args:
            in_order: By an end, not by a reset.

        Raises:
            AnswerError: The answer is not complete.
        """
        if isinstance(self._body, BodyUntilClose) and in_order:
            self._body.done = True
        elif not self.done:
            raise AnswerError(
                "broke off its answer" if self.begun else "closed the connection before it answered"
            )

    def _read_heads(self, inbox: Inbox) -> None:
        """Read heads up to the final one, and what of the body came with it."""
        while raw := inbox.take_head(MAX_RESPONSE_HEAD):
            head = parse_response(raw)
            if head.status >= 200:
                self._read_body(self._begin_body(head), inbox.block[inbox.at :])
                return
            if head.status == 101:
                raise AnswerError("switched to another protocol, without being asked")
            self._interim_bytes += len(raw)
            if self._interim_bytes > MAX_INTERIM_HEADS:
                raise AnswerError(f"sent interim answers of more than {MAX_INTERIM_HEADS} bytes")

    def _begin_body(self, head: ResponseHead) -> Body:
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
        return self._body

    def _read_body(self, body: Body, data: bytes) -> None:
        pieces: list[bytes] = []
        end = body.feed(data, 0, pieces)
        self._size += sum(map(len, pieces))
        if self._size > self._max_body:
            raise TooLargeError
        self.pieces += pieces
        if end < len(data):
            self.reusable = False  # more than it announced: its next answer would begin with it
