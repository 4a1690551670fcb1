"""What happens around the searches of one request. The live tests have the searches themselves."""

import json
from collections.abc import Callable
from typing import Any, Final, cast

import pytest

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from tests.support.searches import request, reranking

TIMEOUT_S: Final = 60.0
BODY: Final[dict[str, Any]] = {**reranking({"standard": {"query": {"bogus": {}}}}), "size": 3}


def refusal(reason: str, status: int = 400, type_: str = "parsing_exception", **more: Any) -> Reply:
    body = {"error": {"root_cause": [], "type": type_, "reason": reason, **more}, "status": status}
    return Reply(status, [("X-Of", reason)], json.dumps(body).encode())


REFUSED: Final = refusal("as the inner search has it")
NOTHING: Final = refusal("[size] parameter cannot be negative, found [-1]")


class Upstream:
    """Refuses searches, and answers questions about texts.

    Attributes:
        questions: Their targets.
    """

    caller = b"the test"

    def __init__(self, refused: Reply, answer: Callable[[], Reply]) -> None:
        self._refused = refused
        self._answer = answer
        self.searches: list[str] = []
        self.questions: list[str] = []

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        if method == "POST":
            self.searches.append(target)
            return self._refused
        self.questions.append(target)
        return self._answer()


async def run(upstream: Upstream, body: dict[str, Any] = BODY, query: str = "") -> None:
    executor = Executor(cast("RankPhase", None), TIMEOUT_S)
    await executor.run(request(body, query), upstream)


async def test_a_fault_takes_the_place_of_the_refusal() -> None:
    inner = {"type": "parsing_exception", "reason": "found"}
    found = refusal("[1:99] [knn] failed to parse field [filter]", caused_by=inner)
    upstream = Upstream(REFUSED, lambda: found)
    with pytest.raises(ElasticsearchError) as raised:
        await run(upstream)
    assert raised.value.cause.reason.endswith("[text_similarity_reranker] failed to parse field [retriever]")
    assert upstream.questions == ["/_search?size=-1"]


async def test_a_fault_beside_the_tree_is_told_in_the_clients_style() -> None:
    upstream = Upstream(REFUSED, lambda: refusal("found"))
    with pytest.raises(UpstreamRefusedError) as raised:
        await run(upstream, query="pretty&preference=a")
    assert raised.value.reply.headers == [("X-Of", "found")]
    assert upstream.questions == ["/_search?size=-1", "/_search?size=-1&pretty"]


def no_answer() -> Reply:
    raise error(502, "status_exception", "gone")


@pytest.mark.parametrize("answer", [lambda: NOTHING, no_answer])
async def test_else_the_refusal_stands(answer: Callable[[], Reply]) -> None:
    upstream = Upstream(REFUSED, answer)
    with pytest.raises(UpstreamRefusedError) as raised:
        await run(upstream)
    assert raised.value.reply is REFUSED
    assert upstream.questions


@pytest.mark.parametrize(
    "refused",
    [
        refusal("no such index", 404, "index_not_found_exception"),
        refusal("action is unauthorized", 403, "security_exception"),
        refusal("too many", 429, "es_rejected_execution_exception"),
    ],
)
async def test_other_refusals_ask_no_questions(refused: Reply) -> None:
    upstream = Upstream(refused, no_answer)
    with pytest.raises(UpstreamRefusedError) as raised:
        await run(upstream)
    assert raised.value.reply is refused
    assert upstream.questions == []


async def test_a_tree_that_cannot_be_rewritten_is_not_searched() -> None:
    upstream = Upstream(REFUSED, no_answer)
    with pytest.raises(ElasticsearchError) as raised:
        await run(upstream, reranking({"standard": {"search_after": [1]}}))
    assert raised.value.cause.reason == "[search_after] cannot be used in children of compound retrievers"
    assert upstream.searches == []
