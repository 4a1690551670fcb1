"""A failed rank phase in the wrapper that native puts around its children's failures."""

from typing import Any

import pytest

from proxy.errors import Cause, ElasticsearchError
from proxy.search.failures import rank_phase_failure
from tests.support.searches import KNN, STANDARD, request, reranking

FAILURE = ElasticsearchError(404, Cause("resource_not_found_exception", "Inference endpoint not found [x]"))


@pytest.mark.parametrize(("child", "name"), [(STANDARD, "standard"), (KNN, "knn")])
def test_the_wrapper(child: Any, name: str) -> None:
    wrapped = rank_phase_failure(FAILURE, request(reranking(child)).retriever.child)
    reason = (
        f"[text_similarity_reranker] search failed - retrievers '[{name}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )
    phase = {
        "type": "search_phase_execution_exception",
        "reason": "Computing updated ranks for results failed",
        "phase": "rank-feature",
        "grouped": True,
        "failed_shards": [],
    }
    inner = {"type": "resource_not_found_exception", "reason": "Inference endpoint not found [x]"}
    assert wrapped.status == 404
    assert wrapped.body() == {
        "error": {
            "root_cause": [{"type": "status_exception", "reason": reason, "suppressed": [phase]}],
            "type": "status_exception",
            "reason": reason,
            "suppressed": [{**phase, "caused_by": inner}],
        },
        "status": 404,
    }
