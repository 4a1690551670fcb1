"""What `text_similarity_reranker` accepts."""

import json
from typing import Any

import pytest

from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from tests.support.retrievers import (
    BASE,
    FILTERS,
    chain,
    read,
    refusal,
)
from tests.support.searches import RERANKER, STANDARD, reranking

RERANKING = reranking()["retriever"]


class TestReranker:
    def test_defaults(self) -> None:
        retriever = read(RERANKING)
        assert isinstance(retriever, TextSimilarityReranker)
        assert (retriever.inference_id, retriever.rank_window_size) == (".rerank-v1-elasticsearch", 10)
        assert (retriever.allow_rerank_failures, retriever.chunk_rescorer) == (None, None)
        assert (retriever.filters, retriever.min_score, retriever.name) == ((), None, None)

    def test_every_key(self) -> None:
        options: dict[str, Any] = {
            "inference_id": "mine",
            "field": "a.b",
            "inference_text": "",
            "rank_window_size": "50",
            "allow_rerank_failures": "true",
        }
        retriever = read(reranking(**options, **BASE)["retriever"])
        assert isinstance(retriever, TextSimilarityReranker)
        assert (retriever.inference_id, retriever.field, retriever.inference_text) == ("mine", "a.b", "")
        assert (retriever.rank_window_size, retriever.allow_rerank_failures) == (50, True)
        assert (retriever.filters, retriever.min_score, retriever.name) == (FILTERS, 0.5, "n")

    def test_an_unpaired_surrogate_in_the_question_is_replaced(self) -> None:
        retriever = read(reranking(inference_text="a\ud800b")["retriever"])
        assert isinstance(retriever, TextSimilarityReranker)
        assert retriever.inference_text == "a\ufffdb"

    @pytest.mark.parametrize(
        ("key", "value", "token"),
        [
            ("field", 1, "VALUE_NUMBER"),
            ("inference_text", None, "VALUE_NULL"),
            ("inference_id", True, "VALUE_BOOLEAN"),
            ("rank_window_size", True, "VALUE_BOOLEAN"),
            ("rank_window_size", [1], "START_ARRAY"),
            ("allow_rerank_failures", 1, "VALUE_NUMBER"),
            ("filter", "x", "VALUE_STRING"),
            ("filter", None, "VALUE_NULL"),
            ("min_score", {}, "START_OBJECT"),
            ("_name", 1, "VALUE_NUMBER"),
            ("retriever", [STANDARD], "START_ARRAY"),
            ("retriever", "standard", "VALUE_STRING"),
            ("chunk_rescorer", 1, "VALUE_NUMBER"),
        ],
    )
    def test_wrong_types(self, key: str, value: Any, token: str) -> None:
        options = {**RERANKING[RERANKER], key: value}
        text = json.dumps({RERANKER: options})
        at = text.index(f'"{key}": ') + len(f'"{key}": ') + 1
        cause = refusal({RERANKER: options})
        assert cause.type == "x_content_parse_exception"
        assert cause.reason == f"[1:{at}] [{RERANKER}] {key} doesn't support values of type: {token}"
        assert cause.root_causes() == [cause]

    @pytest.mark.parametrize(
        ("unknown", "hint"),
        [
            ("fild", " did you mean [field]?"),
            ("rank_window", " did you mean [rank_window_size]?"),
            ("inference_tex", " did you mean any of [inference_text, inference_id]?"),
            ("foo", ""),
        ],
    )
    def test_unknown_keys(self, unknown: str, hint: str) -> None:
        cause = refusal({RERANKER: {unknown: 1}})
        assert cause.type == "x_content_parse_exception"
        assert cause.reason == f"[1:31] [{RERANKER}] unknown field [{unknown}]{hint}"

    def test_missing_keys(self) -> None:
        assert chain(refusal({RERANKER: {}})) == [
            ("illegal_argument_exception", "Required [retriever, inference_text, field]")
        ]
        cause = refusal({RERANKER: {"field": "text", "retriever": STANDARD}})
        assert cause.reason == "Required [inference_text]"

    def test_chunks(self) -> None:
        retriever = read(reranking(chunk_rescorer={"size": 3})["retriever"])
        assert isinstance(retriever, TextSimilarityReranker)
        assert retriever.chunk_rescorer is not None
        assert retriever.chunk_rescorer.size == 3
