"""The end of a request, as the client's connection learns of it: see `ports.Client.finished`."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from rerank_proxy.edge.response import ResponseRelay
from rerank_proxy.edge.told import Told
from rerank_proxy.http.head import RequestHead
from rerank_proxy.upstream.connection import Owner
from rerank_proxy.upstream.targets import TcpTarget

_NO_TIMES: Final[Mapping[str, float]] = {}


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was sent nowhere. Implements `ports.Ended`."""

    request: RequestHead | None
    reason: str | None = None
    node: str | None = None
    request_id: str | None = None
    told: Told | None = None

    def times(self) -> Mapping[str, float]:
        return _NO_TIMES


class Sent:
    """A request that was sent to a target, or was about to be. Implements `ports.Ended`."""

    # Defaults of the class, so that an object sets only what becomes of it.
    _owner: Owner | None = None
    _sent_at = 0.0
    _response: ResponseRelay | None = None
    reason: str | None = None
    request_id: str | None = None
    request: RequestHead

    @property
    def node(self) -> str | None:
        target = None if self._owner is None else self._owner.target
        return target.address if isinstance(target, TcpTarget) else None

    @property
    def status(self) -> int:
        """Return the status that the client got from the target; 0 before that."""
        return 0 if self._response is None else self._response.status

    @property
    def told(self) -> Told | None:
        return None if self._response is None else self._response.told

    def times(self) -> Mapping[str, float]:
        told = self.told
        if told is not None:
            return told.times
        return {"upstream": perf_counter() - self._sent_at} if self.node is not None else _NO_TIMES
