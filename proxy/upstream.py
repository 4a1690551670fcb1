"""What the proxy asks of Elasticsearch, in the name of a caller."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of upstream, its body decoded from any content coding.

    `headers` keep order, spelling and repeats.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class UpstreamRefusedError(Exception):
    """Upstream answered a search with an error. The client gets that answer as it is."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"upstream answered {reply.status}")
        self.reply = reply


class Upstream(Protocol):
    """Elasticsearch, spoken to with one caller's credentials and headers.

    Attributes:
        caller: A digest of the credentials: equal ones have the same.
    """

    @property
    def caller(self) -> bytes: ...

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        """Send one request.

        Args:
            target: Path and query, percent-encoded, sent as it is.
            body: JSON.

        Raises:
            ElasticsearchError: 5xx when upstream cannot be reached or does not answer in time.
        """
