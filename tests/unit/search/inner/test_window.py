"""The hits of an inner search are read, whatever else is in them and around them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.inner.fields import text_of
from rerank_proxy.search.inner.window import read_window
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.xcontent.splicing import Printer

texts = st.text(st.characters(exclude_categories=()), max_size=8)  # unpaired surrogates too
tricky = texts | st.sampled_from(
    ['"hits":[', "]}}", ',"fields":{"text":["x"]}', '"_score":1', "\\ud800", "\ufdd0"]
)
values = st.recursive(
    tricky | st.none() | st.integers() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["hits", "fields", "_score", "_id", "sort"]) | texts, inner, max_size=3
        )
    ),
    max_leaves=8,
)
texts_of_a_field = st.lists(tricky | values | st.floats(allow_nan=False, allow_infinity=False), max_size=3)
hits = st.fixed_dictionaries(
    {"_index": tricky, "_id": tricky, "_score": st.none() | st.floats(0, width=32, allow_infinity=False)},
    optional={
        "_version": st.integers(1),
        "_ignored": st.lists(texts, max_size=2),
        "_source": values,
        "fields": st.dictionaries(st.just("text") | texts, texts_of_a_field, max_size=2),
        "ignored_field_values": st.just({"text": ["long"]}),
        "highlight": st.just({"text": ["<em>x</em>"]}),
        "sort": st.tuples(values, st.integers(0, 2**62)).map(list),
        "matched_queries": st.just(["name"]),
        "inner_hits": values.map(lambda value: {"a": {"hits": {"hits": [{"_source": value}]}}}),
    },
)


def answer(hits: list[Any], **more: Any) -> Any:
    outer = {"total": {"value": 9, "relation": "gte"}, "max_score": None, "hits": hits}
    return {"took": 1, "_shards": {"total": 1, "failures": []}, "hits": outer, **more}


def printed(value: Any, pretty: bool = False) -> bytes:
    return (json.dumps(value, indent=2) if pretty else json.dumps(value, separators=(",", ":"))).encode()


def expected(place: int, hit: dict[str, Any]) -> RankDoc:
    """Read the hits with the standard library."""
    fields = json.dumps(hit["fields"]).encode() if "fields" in hit else None
    shard_doc = hit["sort"][-1] if "sort" in hit else None
    return RankDoc(hit["_index"], hit["_id"], place, shard_doc, hit["_score"], text_of(fields, "text"))


@given(st.lists(hits, max_size=4), st.booleans(), st.booleans())
def test_hits_are_read(found: list[dict[str, Any]], pretty: bool, followed: bool) -> None:
    value = answer(found, **({"suggest": {"hits": []}} if followed else {}))
    raw = printed(value, pretty)
    window = read_window(raw, "text")
    assert window.docs == [expected(place, hit) for place, hit in enumerate(found)]
    assert [json.loads(bytes(hit)) for hit in window.hits] == found
    for hit in window.hits:
        assert bytes(hit) in raw
    assert [*window.top] == [*value]
    assert [*window.outer] == [*value["hits"]]
    assert window.outer["hits"] == b"[]"
    assert json.loads(window.outer["total"]) == value["hits"]["total"]
    assert window.printer.pretty == pretty


@pytest.mark.parametrize(
    "raw",
    [
        b'{"_shards":{"hits":[1]},"hits":{"max_score":1.0,"hits":[HIT]}}',
        b'{"_shards":{"hits":[]}, "hits":{"hits":[HIT]}}',
        b'{"_shards":{},"hits":{"hits":[HIT],"max_score":1.0},"x":{"y":[]}}',
        b'{"_shards":{},"hits":{"hits" :[HIT]},"x":{"hits":[]}}',
        b'{"_shards":{},"hits":{"total":{"hits":[]},"hits":[HIT]}}',
        b'{"_shards":{},"hits":{"hits":[HIT]}}\n',
        b'{"_shards":{},"hits":{"hits":[]},"hits":{"hits":[HIT]}}',
    ],
)
def test_the_array_of_hits_is_where_the_object_says(raw: bytes) -> None:
    """Some of these begin or end as the usual answer does."""
    hit = b'{"_index":"i","_id":"1","_score":1.5}'
    window = read_window(raw.replace(b"HIT", hit), "text")
    assert [*map(bytes, window.hits)] == [hit]
    assert window.docs == [RankDoc("i", "1", 0, None, 1.5, None)]


def test_texts_that_are_not_strings_keep_their_spelling() -> None:
    raw = b'{"_shards":{},"hits":{"hits":[%b]}}' % b",".join(
        b'{"_index":"i","_id":"1","fields":{"n":[%b]}}' % value
        for value in (b"5.0", b"1.0E10", b"123456789012345678901234567890", b"true", b'{"a":1.10}', b"null")
    )
    texts = [doc.text for doc in read_window(raw, "n").docs]
    assert texts == ["5.0", "1.0E10", "123456789012345678901234567890", "true", "{a=1.10}", None]


def test_scores_and_sort_values_are_optional() -> None:
    raw = answer(
        [{"_index": "i", "_id": "1"}, {"_index": "i", "_id": "2", "_score": 1, "sort": ["x", 1.5, 7]}]
    )
    docs = read_window(printed(raw), "text").docs
    assert docs == [RankDoc("i", "1", 0), RankDoc("i", "2", 1, shard_doc=7, first_score=1.0)]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"took":1}',
        b'{"hits":{"hits":[]}}',
        b'{"_shards":5,"hits":{"hits":[]}}',
        b'{"_shards":{},"hits":5}',
        b'{"_shards":{},"hits":{}}',
        b'{"_shards":{},"hits":{"hits":5}}',
        b'{"_shards":{},"hits":{},"x":{"hits":[]}}',
        b'{"_shards":{},"hits":{"hits":[{"_id":"1"}]}}',
        b'{"_shards":{},"hits":{"hits":[{"_index":{},"_id":"1"}]}}',
        b'{"_shards":{},"hits":{"hits":[{"_index":"i","_id":1}]}}',
        b'{"_shards":{},"hits":{"hits":[{"_index":"i","_id":"1","_score":"high"}]}}',
        b'{"_shards":{},"hits":{"hits":[{"_index":"i","_id":"1"}}}]}}',
        b'{"_shards":{},"hits":{"hits":[{"_index":"i","_id":"1"},]}}',
        b'{"_shards":{},"took":1 "hits":{"hits":[]}}',
    ],
)
def test_what_is_not_an_answer_is_refused(raw: bytes) -> None:
    with pytest.raises((ElasticsearchError, KeyError, TypeError, ValueError)):
        read_window(raw, "text")


def test_an_unusual_hit_changes_nothing_for_the_others() -> None:
    found = [{"_index": "i", "_id": str(place), "_score": 1.0, "_source": {"n": place}} for place in range(3)]
    found[1]["_source"] = {"cut": "\ud83d", "whole": "\U0001f600", "path": "\\ud800"}
    raw = printed(answer(found))
    assert [json.loads(bytes(hit)) for hit in read_window(raw, "text").hits] == found
    assert Printer(False).array(map(bytes, read_window(raw, "text").hits), 0) in raw
