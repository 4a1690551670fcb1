"""Refuse `inner_hits` of a request's `collapse` where native cannot expand them.

Native searches for them separately, with the request's routing and options for indices, which are not allowed
in the point in time that these searches run in (``ExpandSearchPhase``, ``SearchRequest#validate``).
"""

from typing import Final

from rerank_proxy.errors import Cause, ElasticsearchError, validation_error
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.language.validation import inner_hits_failures
from rerank_proxy.search.run import AN_INNER_SEARCH
from rerank_proxy.upstream.protocol import reading
from rerank_proxy.xcontent.splicing import elements, members

_PHASE: Final = {"phase": "expand", "grouped": True, "failed_shards": []}


def expansion_failures(request: SearchRequest) -> list[str]:
    """Return what is wrong with the searches that expand one hit; nothing if hits are not expanded."""
    collapse = request.opaque_members.get("collapse")
    failures = [] if collapse is None else inner_hits_failures(request.params)
    if collapse is None or not failures:
        return []
    inner_hits = members(collapse).get("inner_hits", b"[]")
    kinds = len(elements(inner_hits)) if inner_hits.startswith(b"[") else 1
    return failures * kinds


def check_expanded(failures: list[str], answer: bytes) -> None:
    """Refuse hits that native cannot expand.

    Args:
        failures: What is wrong with the searches for each hit.
        answer: The answer to the final search.

    Raises:
        ElasticsearchError: 400, there are hits.
    """
    with reading(AN_INNER_SEARCH):
        hits = len(elements(members(members(answer)["hits"])["hits"]))
    if hits:
        inner = validation_error(failures * hits).cause
        cause = Cause("search_phase_execution_exception", "failed to expand hits", _PHASE, caused_by=inner)
        raise ElasticsearchError(400, cause)
