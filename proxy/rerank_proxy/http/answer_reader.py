"""Reading an answer from the pieces in which it arrives: its heads, and the answer as a whole."""

from rerank_proxy.http.fields import fields_of_response
from rerank_proxy.http.framing import Body, FramingError, response_body
from rerank_proxy.http.grammar import END_OF_HEAD
from rerank_proxy.http.head import HeadError, RequestHead, ResponseHead, parse_response
from rerank_proxy.http.inbox import Inbox

MAX_HEADS = 256 * 1024
"""Bytes of a status line and headers, which may hold many long `Warning` fields, and of all interim heads
(`100 Continue`, …) before them.
"""


class AnswerError(Exception):
    """There is no valid answer. The message says in a few words what the other side did instead.

    Attributes:
        has_head: It began with a valid head, so the other side speaks HTTP.
    """

    def __init__(self, what: str, *, has_head: bool) -> None:
        super().__init__(what)
        self.has_head = has_head


def malformed(problem: HeadError | FramingError) -> AnswerError:
    """Return the error for an answer with a malformed head, or with one that fits no body."""
    return AnswerError(f"sent a malformed answer: {problem}", has_head=isinstance(problem, FramingError))


class TooLargeError(Exception):
    """The body of the answer is larger than it may be."""


def whole_answer(data: bytes, request: RequestHead) -> tuple[int, bytes] | None:
    """Return status and bytes to send on of an answer that came as a whole and ends no connection.

    Nearly all answers do. Of all others the result is None: `AnswerHeads` reads them, and says what is wrong.

    Args:
        data: The first piece of the answer.
    """
    asked = request.fields
    if request.method == b"HEAD" or not asked.keep_alive or asked.expects_continue or asked.expects_other:
        return None
    end = data.find(END_OF_HEAD, 0, MAX_HEADS) + len(END_OF_HEAD)
    if end < len(END_OF_HEAD):
        return None
    try:
        read = fields_of_response(data[:end])
    except HeadError:
        return None
    if read is None:
        return None
    fields, length = read
    if not fields.ordinary or int(length) != len(data) - end:
        return None
    if fields.sent_on is None:
        return fields.status, data
    before, behind = fields.sent_on
    return fields.status, b"".join((before, length, behind, data[end:]))


class AnswerHeads(Inbox):
    """Takes the heads of one answer: interim ones, then the final one.

    Attributes:
        limit: The most bytes of one head, and of all interim ones together.
    """

    # Defaults of the class: there is one object for each answer.
    limit = MAX_HEADS
    _interim_bytes = 0

    def take(self) -> ResponseHead | None:
        """Take the next head; None when it is not complete. A status below 200 makes it an interim one.

        Raises:
            HeadError: It is malformed, switches protocols, or is one of too many interim ones.
        """
        raw = self.take_head(self.limit)
        if raw is None:
            return None
        head = parse_response(raw)
        if head.status < 200:
            self._check_interim(head)
        return head

    def _check_interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise HeadError("it switches to another protocol, without being asked")
        self._interim_bytes += len(head.raw)
        if self._interim_bytes > self.limit:
            raise HeadError(f"its interim answers are longer than {self.limit} bytes")


class AnswerReader:
    """Reads one final answer. Interim answers are dropped.

    Args:
        max_body: The most bytes of its body.

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
        self._heads = AnswerHeads()
        self._body: Body | None = None

    @property
    def done(self) -> bool:
        return self._body is not None and self._body.done

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            AnswerError: It is malformed, or does not answer an ordinary request.
            TooLargeError.
        """
        self.begun = True
        try:
            if self._body is None:
                self._read_heads(data)
            else:
                self._read_body(self._body, data)
        except (HeadError, FramingError) as problem:
            raise malformed(problem) from None

    def ended(self, *, in_order: bool = True) -> None:
        """Take note that the connection was closed.

        Args:
            in_order: It was closed by an end, not by a reset.

        Raises:
            AnswerError: The answer is not complete.
        """
        if self._body is not None and self._body.until_close and in_order:
            self._body.done = True
        elif not self.done:
            what = "broke off its answer" if self.begun else "closed the connection before it answered"
            raise AnswerError(what, has_head=self._body is not None)

    def _read_heads(self, data: bytes) -> None:
        """Read heads up to the final one, and the beginning of the body behind it."""
        heads = self._heads
        heads.append(data)
        while head := heads.take():
            if head.status >= 200:
                self._begin_body(head, heads.block[heads.at :])
                return

    def _begin_body(self, head: ResponseHead, data: bytes) -> None:
        self.head = head
        self._body = response_body(head)
        self.reusable = head.allows_another and not self._body.until_close
        self._read_body(self._body, data)

    def _read_body(self, body: Body, data: bytes) -> None:
        pieces: list[bytes] = []
        end = body.feed(data, 0, pieces)
        self._size += sum(map(len, pieces))
        if self._size > self._max_body:
            raise TooLargeError
        self.pieces += pieces
        if end < len(data):
            self.reusable = False  # more than it announced: its next answer would begin with it
