"""What a misspelt retriever is said to be meant for, and whom that costs a question."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from multidict import CIMultiDict

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.suggestions import Suggestions
from rerank_proxy.edge.detection import KNOWN_RETRIEVERS, unknown_retrievers
from rerank_proxy.http.media_types import Format
from rerank_proxy.search.retrievers.types import RETRIEVER_TYPES
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.params import parse_params
from tests.unit.search.doubles import ScriptedUpstream

PROBE: Final = "/_search?filter_path=error.reason"
TYPO: Final = "text_similarity_rerank"


def test_the_names_are_those_of_the_grammar_and_a_test_aid() -> None:
    assert {*KNOWN_RETRIEVERS} == RETRIEVER_TYPES | {"random_reranker"}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"retriever":{"standrd":{}}}', {"standrd"}),
        (b'{"retriever" :\n {\t"a-b.c_1" : 1}}\n{"retriever":{"x":[]}}', {"a-b.c_1", "x"}),
        (b'{"retriever":{"standard":{}}}', set()),
        (b'{"retriever":{"standard_":{}}}', {"standard_"}),
        (b'{"retriever":"standrd"}', set()),
        (b'{"retrievers":{"standrd":{}}}', set()),
        (b'{"query":{"term":{"retriever":{"value":1}}}}', {"value"}),  # which resembles none
    ],
)
def test_unknown_retrievers(body: bytes, names: set[str]) -> None:
    assert unknown_retrievers(body) == names


class Elasticsearch:
    """One that knows some retrievers, and suggests these."""

    def __init__(self, answer: Callable[[str], str], status: int = 400) -> None:
        self.upstream = ScriptedUpstream(self._answer)
        self._reason = answer
        self._status = status
        self.now = 0.0
        self.asked: list[str] = []
        self.suggestions = Suggestions(lambda: self.now)

    def _answer(self, method: str, target: str, body: Any) -> Reply:
        self.asked.append(target)
        reason = self._reason(next(iter(body["retriever"])))
        error = {"root_cause": [{"reason": reason}], "type": "parsing_exception", "reason": reason}
        return Reply(self._status, (), json.dumps({"error": error}).encode())

    async def told(self, body: Any, query: str = "") -> str | None:
        """The reason of the refusal; None when the request is to go upstream as it came."""
        context = RequestContext(
            "POST",
            "/i/_search",
            {"index": "i"},
            parse_params(query),
            CIMultiDict(),
            json.dumps(body).encode(),
            "application/json",
            Format.JSON,
            Format.JSON,
            lambda: self.upstream,
        )
        try:
            answer = await self.suggestions.completed(context)
        except UpstreamRefusedError as refused:
            answer = refused.reply
        if answer is None:
            return None
        error = json.loads(answer.body)["error"]
        assert error["root_cause"][0]["reason"] == error["reason"]
        return str(error["reason"])


def searching(name: str) -> Any:
    return {"retriever": {name: {}}}


async def test_upstreams_words_are_completed() -> None:
    node = Elasticsearch(lambda name: f"unknown retriever [{name}]")
    expected = f"unknown retriever [{TYPO}] did you mean [text_similarity_reranker]?"
    assert await node.told(searching(TYPO), "pretty&human") == expected
    assert node.asked == [PROBE, "/i/_search?pretty&human"]


async def test_its_own_suggestion_gives_way() -> None:
    node = Elasticsearch(lambda name: f"unknown retriever [{name}] did you mean [standard]?")
    assert await node.told(searching("rff")) == "unknown retriever [rff] did you mean [rrf]?"


async def test_what_comes_first_is_what_is_told() -> None:
    """The name is not the first mistake in the text."""
    answers = iter([f"unknown retriever [{TYPO}]", "unknown query [bogus]"])
    node = Elasticsearch(lambda _: next(answers))
    assert await node.told(searching(TYPO)) == "unknown query [bogus]"


@pytest.mark.parametrize(
    "reason",
    [
        f"unknown retriever [{TYPO}] did you mean [text_similarity_reranker]?",
        "[text_similarity_rerank] is a retriever of this version",
    ],
)
async def test_an_elasticsearch_that_knows_is_left_to_it(reason: str) -> None:
    node = Elasticsearch(lambda _: reason)
    assert await node.told(searching(TYPO)) is None
    assert await node.told(searching(TYPO)) is None
    assert node.asked == [PROBE]


@pytest.mark.parametrize("name", ["standard", "rule", "xyz", "a", "completely_different"])
async def test_what_resembles_nothing_costs_no_question(name: str) -> None:
    node = Elasticsearch(lambda name: f"unknown retriever [{name}]")
    assert await node.told(searching(name)) is None
    assert node.asked == []


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_who_does_not_tell_is_asked_again(status: int) -> None:
    node = Elasticsearch(lambda _: "no", status)
    assert await node.told(searching(TYPO)) is None
    assert await node.told(searching(TYPO)) is None
    assert node.asked == [PROBE] * 2


async def test_an_answer_is_believed_for_a_while() -> None:
    node = Elasticsearch(lambda name: f"unknown retriever [{name}]")
    await node.told(searching(TYPO))
    await node.told(searching(TYPO))
    node.now += 601
    await node.told(searching(TYPO))
    assert node.asked.count(PROBE) == 2
