"""`highlight` in the final search: all terms of the leaves, as natively."""

from typing import Any

import pytest

from tests.support.searches import QUERY, reranking
from tests.unit.search.inner.sent import final


def test_all_terms_of_the_leaves_are_highlighted() -> None:
    body = {**reranking(_name="top"), "highlight": {"fields": {"text": {}}}, "runtime_mappings": {"r": {}}}
    sent = final(body)
    (runtime,) = sent["runtime_mappings"].keys() - {"r"}
    assert sent["highlight"] == {
        "fields": [{"text": {}}],
        "highlight_query": {"bool": {"should": [QUERY, {"term": {runtime: ""}}]}},
    }


def test_the_fast_vector_highlighter_finds_nothing() -> None:
    """It does if the client has a `highlight_query`."""
    own = {"type": "fvh", "highlight_query": QUERY}
    fields = {"a": {"type": "fvh"}, "b": {}, "c": own}
    blind: Any = {"highlight_query": {"match_none": {}}}
    by_default = final(
        {**reranking(), "highlight": {"type": "fvh", "fields": [{"a": {}}, {"b": {"type": "plain"}}]}}
    )
    assert by_default["highlight"]["fields"] == [{"a": blind}, {"b": {"type": "plain"}}]
    shown = final({**reranking(), "highlight": {"fields": fields}})["highlight"]["fields"]
    assert shown == [{"a": {"type": "fvh", **blind}}, {"b": {}}, {"c": own}]


@pytest.mark.parametrize(
    "options",
    [
        {"highlight": {"fields": {"text": {}}}, "track_total_hits": False},  # native shows none of the leaves
        {"highlight": {"fields": {"text": {}}, "highlight_query": QUERY}},
        {"highlight": []},
        {"highlight": {"fields": {"text": {}}}, "runtime_mappings": 1},
    ],
)
def test_other_highlighting_is_unchanged(options: Any) -> None:
    sent = final({**reranking(), **options})
    assert sent["highlight"] == options["highlight"]
    assert sent.get("runtime_mappings") == options.get("runtime_mappings")
