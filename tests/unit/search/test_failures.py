"""Failures of children, wrapped as natively."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.search.failures import RankPhaseError, children_failed, search_failure
from rerank_proxy.upstream.protocol import Reply
from tests.support.searches import request, reranking
from tests.unit.search.doubles import refused, shards_failed

PARENT = request(reranking()).retriever
NOT_FOUND = Cause("resource_not_found_exception", "Inference endpoint not found [x]")


def reason(names: str) -> str:
    return (
        f"[text_similarity_reranker] search failed - retrievers '[{names}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )


@pytest.mark.parametrize("name", ["standard", "knn", "rank_docs_retriever"])
def test_a_failed_rank_phase(name: str) -> None:
    wrapped = children_failed(PARENT.TYPE, [(name, RankPhaseError(ElasticsearchError(404, NOT_FOUND)))])
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
            "root_cause": [{"type": "status_exception", "reason": reason(name), "suppressed": [phase]}],
            "type": "status_exception",
            "reason": reason(name),
            "suppressed": [{**phase, "caused_by": inner}],
        },
        "status": 404,
    }


def test_several_failures_in_one_wrapper() -> None:
    """The wrapper has all names and the highest status."""
    failures = [
        ("standard", ElasticsearchError(400, Cause("a", "first"))),
        ("rank_docs_retriever", ElasticsearchError(503, Cause("b", "second"))),
        ("standard", ElasticsearchError(404, Cause("c", "third"))),
    ]
    wrapped = children_failed(PARENT.TYPE, failures)
    assert wrapped.status == 503
    error = wrapped.body()["error"]
    assert error["reason"] == reason("standard, rank_docs_retriever, standard")
    assert [each["type"] for each in error["suppressed"]] == ["a", "b", "c"]


def test_a_failed_search_is_read_as_upstream_reports_it() -> None:
    reply = shards_failed("no field [x]", 422)
    failure = search_failure(reply)
    assert failure is not None
    assert failure.status == 422
    told = json.loads(reply.body)["error"]
    told.pop("root_cause")
    assert failure.cause.render() == told


def test_at_the_root_its_shards_have_no_causes() -> None:
    failure = search_failure(shards_failed("no field [x]"))
    assert failure is not None
    body = children_failed(PARENT.TYPE, [("standard", failure)]).body()["error"]
    ((suppressed,), (at_root,)) = (each["suppressed"] for each in (body, body["root_cause"][0]))
    assert suppressed["failed_shards"][0]["reason"]["caused_by"] == {"type": "x", "reason": "y"}
    assert suppressed["caused_by"]["reason"] == "no field [x]"
    assert "caused_by" not in at_root
    assert at_root["failed_shards"][0]["reason"] == {
        "type": "query_shard_exception",
        "reason": "no field [x]",
    }


def test_what_is_suppressed_in_a_failed_search_stays() -> None:
    """This happens if a shard is missing and partial results are not allowed."""
    lost = {"type": "status_exception", "reason": "failed to retrieve data from shard [[films][0]]"}
    error = {"type": "search_phase_execution_exception", "reason": None, "suppressed": [lost]}
    failure = search_failure(Reply(503, (), json.dumps({"error": error, "status": 503}).encode()))
    assert failure is not None
    assert failure.cause.render() == error


@pytest.mark.parametrize(
    "reply",
    [
        refused(),
        refused("index_not_found_exception", 404),
        Reply(406, (), b'{"error":"Content-Type header [text/plain] is not supported","status":406}'),
        Reply(502, (), b"<html>"),
        Reply(502, (), b""),
        Reply(500, (), b"{}"),
        Reply(500, (), b"[]"),
        Reply(500, (), b'{"error":null}'),
        Reply(500, (), b'{"error":{"type":"search_phase_execution_exception","caused_by":5}}'),
    ],
)
def test_other_refusals_are_not_failures_of_a_search(reply: Reply) -> None:
    assert search_failure(reply) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.integers(400, 599), st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_any_metadata_comes_through(status: int, metadata: dict[str, Any]) -> None:
    taken = ("type", "reason", "root_cause", "caused_by", "suppressed")
    told = {name: value for name, value in metadata.items() if name not in taken}
    error = {"type": "search_phase_execution_exception", "reason": "r", **told}
    failure = search_failure(Reply(status, (), json.dumps({"error": error}).encode()))
    assert failure is not None
    assert (failure.status, failure.cause.render()) == (status, error)
