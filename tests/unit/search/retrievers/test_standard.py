"""The grammar of `standard`, and what it may not have in a compound retriever."""

from typing import Any

import pytest

from rerank_proxy.search.retrievers.standard import StandardRetriever
from tests.support.retrievers import diversify, read, refusal, rescorer, rewrite_refusal, rrf, texts
from tests.support.searches import STANDARD


def standard(**options: Any) -> StandardRetriever:
    retriever = read({"standard": options})
    assert isinstance(retriever, StandardRetriever)
    return retriever


def test_without_keys() -> None:
    assert standard() == StandardRetriever()


def test_every_key() -> None:
    retriever = standard(
        query={"match_all": {}},
        search_after=[1, None, "a"],
        terminate_after=3,
        sort=[{"n": "asc"}, "_score"],
        collapse={"field": "n"},
        min_score=1,
        filter={"term": {"a": 1}},
        _name="child",
    )
    assert retriever == StandardRetriever(
        query=b'{"match_all": {}}',
        search_after=b'[1, null, "a"]',
        terminate_after=3,
        sort=b'[{"n": "asc"}, "_score"]',
        collapse=b'{"field": "n"}',
        min_score=1.0,
        filters=(b'{"term": {"a": 1}}',),
        name="child",
    )


def test_a_string_is_not_a_sort() -> None:
    assert texts(refusal({"standard": {"sort": "n"}})) == [
        "[standard] sort doesn't support values of type: VALUE_STRING"
    ]


@pytest.mark.parametrize("wrap", [rescorer, diversify, rrf, lambda child: rrf(STANDARD, rescorer(child))])
@pytest.mark.parametrize("option", [{"search_after": [1]}, {"terminate_after": 5}, {"terminate_after": -1}])
def test_children_may_not_terminate_early_or_search_after(wrap: Any, option: dict[str, Any]) -> None:
    name = next(iter(option))
    reason = f"[{name}] cannot be used in children of compound retrievers"
    assert rewrite_refusal(wrap({"standard": option})) == reason
