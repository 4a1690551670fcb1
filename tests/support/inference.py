"""Requests of the `_inference` API that tests begin with, and the form of its refusals."""

from typing import Any, Final

from tests.support.search_app import Answer

SERVICE: Final = {"model_id": "numbers", "num_allocations": 1, "num_threads": 1}
NEW: Final = {"service": "elasticsearch", "service_settings": SERVICE}

ASKED: Final = {"query": "a question", "input": ["a 1", "b 3", "c 2"]}
RANKED: Final = [
    {"index": 1, "relevance_score": 3.0, "text": "b 3"},
    {"index": 2, "relevance_score": 2.0, "text": "c 2"},
    {"index": 0, "relevance_score": 1.0, "text": "a 1"},
]
NUMBER_AND_ADAPTIVE: Final = "[number_of_allocations] cannot be set if adaptive allocations is enabled"
STORED: Final = {
    "inference_id": "mine",
    "task_type": "rerank",
    "service": "elasticsearch",
    "service_settings": {"num_allocations": 1, "num_threads": 1, "model_id": "numbers"},
    "task_settings": {"return_documents": True},
}
ILLEGAL, STATUS, INVALID = "illegal_argument_exception", "status_exception", "validation_exception"
REQUEST = "action_request_validation_exception"
ONLY_RERANK: Final = (
    "rerank-proxy serves the task type [rerank] alone, "
    "and the Elasticsearch behind it has no [_inference] API"
)
"""What the proxy says of all else where Elasticsearch has no such API."""


def invalid(*messages: str) -> str:
    """Return all messages in one reason."""
    return "Validation Failed: " + "".join(f"{number}: {each};" for number, each in enumerate(messages, 1))


def settings(**changed: Any) -> dict[str, Any]:
    """Return the body of a new endpoint with other service settings; None takes one away."""
    values = {**SERVICE, **changed}
    return {**NEW, "service_settings": {name: each for name, each in values.items() if each is not None}}


def refused(answer: Answer, status: int, type_: str, reason: str) -> None:
    """Check for Elasticsearch's envelope around one error."""
    assert answer.json() == {
        "error": {"root_cause": [{"type": type_, "reason": reason}], "type": type_, "reason": reason},
        "status": status,
    }
    assert answer.status == status
    assert answer.headers["X-elastic-product"] == "Elasticsearch"
