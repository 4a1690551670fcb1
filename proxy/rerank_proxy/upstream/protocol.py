"""The requests that the proxy makes of Elasticsearch in the name of a caller, and their answers."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import Cause, ElasticsearchError, encode, status_error

UNLICENSED_FEATURE: Final = "license.expired.feature"
"""A member of the errors that Elasticsearch answers with when its licence does not suffice, be it expired or
not (``LicenseUtils#newComplianceException``).
"""
_LICENCE: Final = b'"%b"' % UNLICENSED_FEATURE.encode()
_NO_HANDLER: Final = (b"no handler found for uri [", b"Incorrect HTTP method for uri [")
_MISREAD: Final = (
    ElasticsearchError, AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""Raised by reading an answer that is not as it should be."""


_MAX_ERROR: Final = 512 * 1024
"""Bytes of an error, which is read at several places. Elasticsearch's are far shorter."""


class _Exception(msgspec.Struct):
    type: str


class _Error(msgspec.Struct):
    """The body of an error: what all of them have."""

    error: str | _Exception


_decode_error: Final = msgspec.json.Decoder(_Error).decode


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of upstream, its body decoded from any content coding.

    The status is 200, or one of an error, whose body then is one of Elasticsearch's. `headers` keep order,
    spelling and repeats.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def has_no_handler(self) -> bool:
        """Return whether this Elasticsearch does not have the API at all (``RestController``)."""
        return self.status in (400, 405) and any(words in self.body for words in _NO_HANDLER)

    @property
    def is_of_licence(self) -> bool:
        """Return whether Elasticsearch refused because its licence does not suffice."""
        return self.status == 403 and _LICENCE in self.body


class UpstreamRefusedError(Exception):
    """Upstream answered a search with an error. The client gets that answer as it is."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"upstream answered {reply.status}")
        self.reply = reply


class Upstream(Protocol):
    """Elasticsearch, asked with one caller's credentials and headers.

    Attributes:
        caller: A digest of the credentials, the same for equal ones.
    """

    @property
    def caller(self) -> bytes: ...

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        """Send one request and return its answer.

        Args:
            target: Path and query, sent as it is: one character for each byte.
            body: JSON.

        Raises:
            ElasticsearchError: 5xx when upstream cannot be reached, does not answer in time, or answers with
                a status that Elasticsearch does not have for such requests.
        """


def shaped(reply: Reply, method: str, target: str) -> Reply:
    """Return an answer of whatever is upstream as one of Elasticsearch's.

    An error in another shape, of a gateway for example, keeps its status and loses its words.

    Raises:
        ElasticsearchError: 502, the status is neither 200 nor an error's.
    """
    if reply.status == 200 or (400 <= reply.status < 600 and _is_error(reply.body)):
        return reply
    asked = _asked(method, target)
    reason = f"upstream answered {asked} with status [{reply.status}], and not as Elasticsearch does"
    if not 400 <= reply.status < 600:
        raise status_error(502, reason)
    return replace(reply, body=encode(status_error(reply.status, reason).body()))


class TooLateError(ElasticsearchError):
    """504: upstream did not answer a request in time."""

    def __init__(self, method: str, target: str, deadline: Deadline) -> None:
        reason = deadline.missed(f"upstream did not answer {_asked(method, target)} in time")
        super().__init__(504, Cause("status_exception", reason))


def _asked(method: str, target: str) -> str:
    return f"[{method} {target.partition('?')[0]}]"


def _is_error(body: bytes) -> bool:
    if len(body) > _MAX_ERROR:
        return False
    try:
        _decode_error(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _is_odd_error(body)
    return True


def _is_odd_error(body: bytes) -> bool:
    try:
        value = json.loads(body)  # which, unlike msgspec, reads unpaired surrogates
        msgspec.convert(value, _Error)
    except (msgspec.ValidationError, RecursionError, ValueError):
        return False
    return True


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Read an answer of upstream's in this context: if that fails, the fault is upstream's, not the client's.

    Args:
        what: What was asked, for the message.

    Raises:
        ElasticsearchError: 502.
    """
    try:
        yield
    except _MISREAD as failure:
        if isinstance(failure, ElasticsearchError) and failure.status >= 500:
            raise  # of a request that was made meanwhile
        reason = f"upstream answered {what} with 200, but not as Elasticsearch does"
        raise status_error(502, reason) from failure
