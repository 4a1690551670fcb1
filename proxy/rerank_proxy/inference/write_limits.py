"""How many endpoints clients may have, and how often they may change any.

A change is more than a line in a registry: a new endpoint is tried by a call that a vendor charges for, or
has a model loaded, and all proxies read it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final

from rerank_proxy.errors import ElasticsearchError, rejected
from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.settings import InferenceSettings

_MINUTE_S: Final = 60.0
_SHARE_OF_ONE: Final = 0.5
"""The part of the changes that one caller may make: some remain for others."""


class WriteLimits:
    """Counts the changes of the last minute.

    Args:
        clock: In seconds.
    """

    def __init__(self, settings: InferenceSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._changes: deque[tuple[float, bytes]] = deque()
        self._coming = 0

    def use(self, settings: InferenceSettings) -> None:
        """Follow other settings from now on."""
        self._settings = settings

    def check_number(self, endpoints: int) -> None:
        """Check that there may be one more endpoint than there are, and than are about to be.

        Raises:
            InferenceFailedError: 400, there are as many as there may be.
        """
        most = self._settings.max_endpoints
        if endpoints + self._coming >= most:
            raise _too_many(endpoints + self._coming, most)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Count an endpoint in while it is tried: all that are at the same time would pass for the last."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def admit(self, caller: bytes) -> None:
        """Count a change of a caller's.

        Raises:
            ElasticsearchError: 429, there were too many in the last minute, and this one is not counted.
        """
        most = self._settings.max_writes_per_minute
        if not most:
            return
        now = self._clock()
        changes = self._changes
        while changes and changes[0][0] <= now - _MINUTE_S:
            changes.popleft()
        own = [at for at, by in changes if by == caller]
        most_of_one = ceil(most * _SHARE_OF_ONE)
        if len(own) >= most_of_one:
            raise _too_often(f"one caller may make {most_of_one}", most, own[-most_of_one] + _MINUTE_S - now)
        if len(changes) >= most:
            raise _too_often("all callers have made as many", most, changes[-most][0] + _MINUTE_S - now)
        changes.append((now, caller))


def _too_many(endpoints: int, most: int) -> InferenceFailedError:
    return status_error(
        400,
        f"there are [{endpoints}] inference endpoints, as many as [inference.max_endpoints: {most}] allows; "
        "delete some, or raise the setting of the proxy",
    )


def _too_often(whose: str, most: int, retry_after_s: float) -> ElasticsearchError:
    return rejected(
        f"inference endpoints can be changed {most} times a minute (inference.max_writes_per_minute), and "
        f"{whose}; try again later",
        retry_after_s,
    )
