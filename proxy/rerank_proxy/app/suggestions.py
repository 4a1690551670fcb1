"""Suggestions for misspelt names of retrievers, where upstream does not know the retriever that was meant.

Upstream is asked for its own words before such a search is answered: it is refused in any case, and only
upstream can tell whether the name is that of a retriever which it has.
"""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec
from cachetools import TTLCache

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.edge.retriever_names import NATIVE, odd_names
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.object_parser import did_you_mean

_KNOWN: Final = dict.fromkeys(NATIVE)
_MAX_NAMES: Final = 1000
_RECHECK_S: Final = 600.0
"""Seconds that an answer holds: upstream may be upgraded."""
_UNKNOWN: Final = rb'unknown retriever \[%b\](?: did you mean [^"]*\?)?(?=")'


class Suggestions:
    """Completes upstream's words on the name of a retriever at the top of a tree. Elasticsearch suggests
    nothing for one below another.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._differs: TTLCache[str, bool] = TTLCache(_MAX_NAMES, _RECHECK_S, clock)

    async def completed(self, context: RequestContext) -> Reply | None:
        """Return upstream's answer to a search with a misspelt retriever, completed.

        Returns:
            None if the request is to go upstream as it came: it has no such name, or upstream has the same
            words.

        Raises:
            UpstreamRefusedError: The answer is a refusal.
        """
        odd = await offload(len(context.body), odd_names, context.body)
        misspelt = {name: hint for name in sorted(odd) if (hint := did_you_mean(name, _KNOWN))}
        if not misspelt:
            return None
        upstream = context.upstream()
        if not any([await self._asked(name, hint, upstream) for name, hint in misspelt.items()]):
            return None
        query = context.params.without(())
        target = context.path + (f"?{query}" if query else "")
        reply = await upstream.request(context.method, target, context.body)
        for name, hint in misspelt.items():
            words = f"unknown retriever [{name}]{hint}".encode()
            reply = replace(reply, body=re.sub(_UNKNOWN % re.escape(name.encode()), words, reply.body))
        if reply.status != 200:
            raise UpstreamRefusedError(reply)
        return reply

    async def _asked(self, name: str, hint: str, upstream: Upstream) -> bool:
        """Return whether upstream does not know the name and suggests something else."""
        if name not in self._differs:
            body = msgspec.json.encode({"retriever": {name: {}}})
            reply = await upstream.request("POST", "/_search?filter_path=error.reason", body)
            if reply.status not in (200, 400):  # which say nothing of it, as that the caller is not known
                return False
            told = re.search(_UNKNOWN % re.escape(name.encode()), reply.body)
            self._differs[name] = told is not None and told[0].decode() != f"unknown retriever [{name}]{hint}"
        return self._differs[name]
