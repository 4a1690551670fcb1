"""Bounds what is read of an answer."""

from dataclasses import dataclass
from typing import Final

from rerank_proxy.inference.remote.calls import HttpCall

_SIZE: Final = 64 * 1024
_SIZE_PER_TEXT: Final = 16 * 1024
_ECHO: Final = 6
"""A service that gives texts back may write one byte as `\\u0020`."""
_VALUES: Final = 1000
_VALUES_PER_TEXT: Final = 64
_BEFORE_A_VALUE: Final = (b",", b"[", b"{")


class UnusableAnswerError(Exception):
    """An answer of success is not read. The message says why and holds nothing of the answer."""


@dataclass(frozen=True, slots=True)
class AnswerLimit:
    """The bounds of one answer.

    Attributes:
        size: Bytes of its body.
        values: Values in it, apart from those in the texts that were sent, which a vendor may send back.
        why: The message that a larger answer is refused with.
    """

    size: int
    values: int
    why: str


TOKEN_LIMIT: Final = AnswerLimit(_SIZE, _VALUES, f"it is larger than the [{_SIZE}] bytes of any token")


def answer_limit(call: HttpCall, texts: int, max_answer: int) -> AnswerLimit:
    """Return the bounds of an answer about a number of texts; it has at most `max_answer` bytes."""
    size = _SIZE + texts * _SIZE_PER_TEXT + _ECHO * len(call.body)
    values = _VALUES + texts * _VALUES_PER_TEXT
    if size >= max_answer:
        return AnswerLimit(max_answer, values, f"it is larger than [remote.max_answer: {max_answer}] bytes")
    return AnswerLimit(
        size, values, f"it is larger than the [{size}] bytes that [{texts}] inputs account for"
    )


class Measured:
    """Takes the bytes of an answer as they come in, within its bounds.

    Values are counted by the marks before them, which is quick and never too few. The count keeps an answer
    with a few bytes per value from becoming very many objects.
    """

    def __init__(self, limit: AnswerLimit, sent: bytes) -> None:
        self._limit = limit
        self._sent = sent
        self._values = limit.values
        self._echo_counted = False
        self._marks = 0
        self.body = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            UnusableAnswerError: There are too many of them, or too many values in them.
        """
        if len(self.body) + len(chunk) > self._limit.size:
            raise UnusableAnswerError(self._limit.why)
        self._marks += _marks(chunk)
        if self._marks > self._values and not self._echo_counted:
            self._echo_counted = True
            self._values += _marks(self._sent)
        if self._marks > self._values:
            raise UnusableAnswerError("it holds more values than the inputs account for")
        self.body += chunk


def _marks(text: bytes) -> int:
    return sum(map(text.count, _BEFORE_A_VALUE))
