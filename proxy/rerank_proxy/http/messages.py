"""Requests and responses of the application, as they are read from the wire and written to it.

Header values are decoded as UTF-8 with surrogates for all other bytes, so that each is passed on as it came.
A target has one character for each byte, as in Elasticsearch.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from rerank_proxy.errors import illegal_argument
from rerank_proxy.http.head import RequestHead, status_line

Header = tuple[bytes, bytes]

_UNSAFE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_BODY: Final = (204, 304)


@dataclass(frozen=True)
class Request:
    """One complete request.

    Attributes:
        target: As it came.
        raw_headers: Names and values in order.
        body: Without its chunk framing, and in the coding in which it came.
    """

    method: str
    target: str
    raw_headers: Sequence[Header] = ()
    body: bytes = b""

    @classmethod
    def of(cls, head: RequestHead, body: bytes) -> "Request":
        return cls(head.method.decode("ascii"), head.target.decode("latin-1"), fields_of(head.raw), body)

    @cached_property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers by name, in any case."""
        pairs = ((name.decode("ascii"), to_text(value)) for name, value in self.raw_headers)
        return CIMultiDictProxy(CIMultiDict(pairs))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""

    def printed(self, *, close: bool) -> tuple[bytes, bytes]:
        """Return the bytes of head and body.

        Args:
            close: The connection ends after the answer.
        """
        fields = list(self.headers)
        if self.status not in _NO_BODY:
            fields.append(("content-length", str(len(self.body))))
        if close:
            fields.append(("connection", "close"))
        return print_head(status_line(self.status), fields), self.body


def fields_of(head: bytes) -> list[Header]:
    """Return the header fields of a head that matches the grammar."""
    lines = head.split(b"\r\n")[1:-2]
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


def print_head(first_line: bytes, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a head with this first line and these fields.

    Raises:
        ElasticsearchError: 400 for a control character, which could end a line early.
    """
    lines = [first_line]
    for name, value in fields:
        lines.append(b"%b: %b" % (name.encode("ascii"), to_bytes(value)))
    for line in lines:
        if _UNSAFE.search(line):
            raise illegal_argument("a header holds a control character")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def to_text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
