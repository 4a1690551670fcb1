"""Whether upstream has an API that is answered here too."""

import time
from collections.abc import Callable
from typing import Final

from rerank_proxy.upstream.protocol import Upstream

_RECHECK_S: Final = 60.0
"""Seconds that an answer is believed: upstream may be upgraded, or get a plugin."""


class UpstreamApi:
    """Asks upstream once in a while, with the headers of whoever needs to know.

    Args:
        probe: What is asked, by GET.
        clock: Seconds, never going back.
    """

    def __init__(self, probe: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._probe = probe
        self._clock = clock
        self._exists = False
        self._checked = float("-inf")

    async def exists(self, upstream: Upstream) -> bool:
        """Whether upstream answers such requests at all.

        Where it refuses to say (this caller may not look, it is in trouble), it is left to answer for itself.
        A 404 is no refusal: the probe was taken for the name of an index.
        """
        if self._clock() - self._checked > _RECHECK_S:
            reply = await upstream.request("GET", self._probe, b"")
            if reply.status not in (200, 404) and not reply.has_no_handler:
                return True
            self._exists, self._checked = reply.status == 200, self._clock()
        return self._exists
