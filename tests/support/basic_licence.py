"""An Elasticsearch of the full distribution with a Basic licence, as far as that differs.

The full distribution is not to be had in tests. This is a relay in front of the minimal one, which answers as
the full one is published to do: which retrievers are refused, in which words and with which status, follows
from the published sources (``LicenseUtils#newComplianceException``, ``RRFRetrieverBuilder``,
``LinearRetrieverBuilder``, ``QueryRuleRetrieverBuilder``, ``PinnedRetrieverBuilder``,
``InferenceLicenceCheck``, ``TransportDeleteInferenceEndpointAction``) and from reports of users of 8.14 and
9.5. It refuses; it evaluates no retriever that the minimal distribution lacks, for which `EVALUATED` stands.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.support.relay import relay

JSON = dict[str, Any]

FEATURES: Final = {
    "rrf": "Reciprocal Rank Fusion (RRF)",
    "linear": "linear retriever",
    "rule": "Query Rules",
    "text_similarity_reranker": "text_similarity_reranker",
}
"""What the refusal of each retriever names. `pinned` takes no licence."""
_WRAPPING: Final = ("pinned", "rescorer")
"""Retrievers that tell any fault below them as a fault of their own in parsing, a 400."""
_HEADERS: Final = {"X-elastic-product": "Elasticsearch"}
EVALUATED: Final[JSON] = {"took": 1, "timed_out": False, "hits": {"hits": [{"_id": "by Elasticsearch"}]}}


def _internal(inference_id: str, task_type: str, model_id: str, **more: Any) -> JSON:
    allocations = {"enabled": True, "min_number_of_allocations": 0, "max_number_of_allocations": 32}
    settings = {"num_threads": 1, "model_id": model_id, "adaptive_allocations": allocations}
    return {
        "inference_id": inference_id,
        "task_type": task_type,
        "service": "elasticsearch",
        "service_settings": settings,
        **more,
    }


_CHUNKING: Final = {"strategy": "sentence", "max_chunk_size": 250, "sentence_overlap": 1}
DEFAULTS: Final = {
    each["inference_id"]: each
    for each in (
        _internal(
            ".elser-2-elasticsearch", "sparse_embedding", ".elser_model_2", chunking_settings=_CHUNKING
        ),
        _internal(
            ".multilingual-e5-small-elasticsearch",
            "text_embedding",
            ".multilingual-e5-small",
            chunking_settings=_CHUNKING,
        ),
        _internal(
            ".rerank-v1-elasticsearch", "rerank", ".rerank-v1", task_settings={"return_documents": True}
        ),
    )
}
"""The endpoints that are there from the beginning."""


@dataclass
class BasicLicence:
    """What such an Elasticsearch is asked, and says.

    Attributes:
        licensed: The licence allows everything from now on, as a trial does.
        asked: Method and path of each request that could have been refused.
    """

    url: str = ""
    licensed: bool = False
    asked: list[str] = field(default_factory=list)

    async def search(self, request: web.Request) -> web.Response | None:
        """Refuse a search for its licence, while its body is parsed."""
        self.asked.append(f"{request.method} {request.path}")
        return self._parsed(await request.read())

    async def multi_search(self, request: web.Request) -> web.Response | None:
        """Refuse all searches if one cannot be parsed; what is evaluated stands for the whole answer."""
        self.asked.append(f"{request.method} {request.path}")
        for body in (await request.read()).split(b"\n")[1::2]:
            if (answer := self._parsed(body)) is not None:
                return answer
        return None

    def _parsed(self, body: bytes) -> web.Response | None:
        try:
            tree = json.loads(body)["retriever"]
        except (KeyError, TypeError, ValueError):
            return None
        types = [*_types(tree)]
        for at, name in enumerate(types):
            if name in FEATURES and not self.licensed:
                wrapped = any(above in _WRAPPING for above in types[:at])
                return _unlicensed(FEATURES[name], 400 if wrapped else 403)
        known = {*FEATURES, "pinned"}
        if not known.intersection(types):
            return None
        if any(not tree.get(name, True) for name in known):
            return _refusal(400, "parsing_exception", f"[{types[0]}] lacks what it requires")
        return web.json_response(EVALUATED, headers=_HEADERS)

    async def read_endpoints(self, request: web.Request) -> web.Response:
        """Show endpoints, for which no licence is needed."""
        wanted = request.match_info.get("id", "_all")
        shown = [*DEFAULTS.values()] if wanted in ("_all", "*") else [DEFAULTS.get(wanted)]
        type_ = request.match_info.get("type")
        shown = [each for each in shown if each is None or type_ in (None, each["task_type"])]
        if None in shown:
            return _refusal(404, "resource_not_found_exception", f"Inference endpoint not found [{wanted}]")
        return web.json_response({"endpoints": shown}, headers=_HEADERS)

    async def change_endpoint(self, request: web.Request) -> web.Response:
        """Refuse to make, run or delete an endpoint."""
        self.asked.append(f"{request.method} {request.path}")
        wanted = request.match_info["id"]
        if request.method == "DELETE":
            if wanted not in DEFAULTS:
                return _refusal(
                    404, "resource_not_found_exception", f"Inference endpoint not found [{wanted}]"
                )
            reason = (
                f"[{wanted}] is a reserved inference endpoint. Use the force=true query parameter to delete "
                "the inference endpoint."
            )
            return _refusal(400, "status_exception", reason)
        return _unlicensed("inference")

    def routes(self) -> dict[tuple[str, str], Any]:
        routes: dict[tuple[str, str], Any] = {}
        for index in ("", "/{index}"):
            for name in ("_search", "_async_search"):
                routes["POST", f"{index}/{name}"] = self.search
            routes["POST", f"{index}/_msearch"] = self.multi_search
        routes["GET", "/_inference"] = self.read_endpoints
        for path in ("/_inference/{id}", "/_inference/{type}/{id}"):
            routes["GET", path] = self.read_endpoints
            for method in ("PUT", "POST", "DELETE"):
                routes[method, path] = self.change_endpoint
        return routes


def _types(tree: Any) -> Iterator[str]:
    """Yield the types of the retrievers of a tree, in the order in which they are parsed."""
    for name, options in tree.items():
        yield name
        if not isinstance(options, dict):
            continue
        children = [*options.get("retrievers", ()), options.get("retriever")]
        for child in children:
            if isinstance(child, dict):
                yield from _types(child.get("retriever", child))


def _unlicensed(feature: str, status: int = 403) -> web.Response:
    reason = f"current license is non-compliant for [{feature}]"
    cause = {"type": "security_exception", "reason": reason, "license.expired.feature": feature}
    if status == 403:
        return _error(403, cause, cause)
    error = {"type": "parsing_exception", "reason": reason, "line": 1, "col": 1, "caused_by": cause}
    return _error(status, error, cause)


def _refusal(status: int, type_: str, reason: str) -> web.Response:
    cause = {"type": type_, "reason": reason}
    return _error(status, cause, cause)


def _error(status: int, error: JSON, root: JSON) -> web.Response:
    body = {"error": {"root_cause": [root], **error}, "status": status}
    return web.Response(
        status=status,
        body=json.dumps(body, separators=(",", ":")).encode(),
        headers=_HEADERS,
        content_type="application/json",
    )


@asynccontextmanager
async def with_basic_licence(url: str) -> AsyncIterator[BasicLicence]:
    """Serve in front of the Elasticsearch at `url`."""
    licence = BasicLicence()
    async with relay(url, licence.routes()) as address:
        licence.url = address
        yield licence
