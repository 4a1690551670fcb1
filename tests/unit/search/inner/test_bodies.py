"""The searches that are sent upstream are valid JSON with the client's clauses as it wrote them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.inner import bodies
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.xcontent.source import parse
from tests.support.searches import KNN, QUERY, STANDARD, request, reranking
from tests.unit.search.inner.sent import PIT, docs, final, final_bytes, inner, inner_bytes, parts, single

NO_DOCS: Any = {"dis_max": {"queries": [{"match_none": {}}]}}
OLD = {"range": {"year": {"lt": 1990}}}
GOOD = {"term": {"genre": "crime"}}


def test_single_search() -> None:
    body = {**reranking(rank_window_size=7), "size": 2, "from": 1, "track_total_hits": 3, "_source": ["a"]}
    assert single(body, "track_total_hits=4") == {
        "query": QUERY,
        "size": 7,
        "fields": ["text"],
        "track_total_hits": 4,
        "_source": ["a"],
    }
    assert "track_total_hits" not in single(reranking())


def test_top_level_min_score_is_of_reranked_scores() -> None:
    assert "min_score" not in single({**reranking(), "min_score": 5})
    assert single(reranking({"standard": {"min_score": 0.5}}))["min_score"] == 0.5


def test_inner_search() -> None:
    assert inner({**reranking(rank_window_size=7), "size": 2, "aggs": {}, "timeout": "1s"}) == {
        "pit": {"id": "abc", "keep_alive": "5m"},
        "query": QUERY,
        "size": 7,
        "sort": ["_score", {"_shard_doc": "asc"}],
        "track_total_hits": False,
        "_source": False,
        "fields": ["text"],
    }


@pytest.mark.parametrize(
    ("sort", "merged"),
    [
        ('{"n":"desc"}', [{"n": "desc"}]),
        ('["n", {"m":"asc"}]', ["n", {"m": "asc"}]),
        ("[]", ["_score"]),
        ("[ /* none */ ]", ["_score"]),
        ('[{"n":"asc"} // by n\n]', [{"n": "asc"}]),
        ('["a","b","c","d","e","f","g","h","i","j"]', list("abcdefghij")),
    ],
)
def test_a_childs_sort_comes_before_shard_and_doc(sort: str, merged: list[Any]) -> None:
    body = json.dumps(reranking({"standard": {"sort": "SORT"}})).replace('"SORT"', sort)
    assert inner(body.encode())["sort"] == [*merged, {"_shard_doc": "asc"}]


def test_a_pattern_is_not_fetched() -> None:
    assert inner(reranking(field="*"))["fields"] == []
    assert single(reranking(field="te*"))["fields"] == []


@pytest.mark.parametrize(
    ("child", "filters", "query", "matching"),
    [
        ({"query": QUERY}, [], QUERY, QUERY),
        ({}, [], {"match_all": {}}, {"match_all": {}}),
        (
            {"query": QUERY},
            [GOOD],
            {"bool": {"must": [QUERY], "filter": [GOOD]}},
            {"bool": {"filter": [QUERY, GOOD]}},
        ),
        (
            {"query": QUERY, "filter": OLD},
            [GOOD],
            {"bool": {"must": [QUERY], "filter": [OLD, GOOD]}},
            {"bool": {"filter": [QUERY, OLD, GOOD]}},
        ),
        ({"filter": [OLD]}, [], {"bool": {"filter": [OLD]}}, {"bool": {"filter": [OLD]}}),
        ({}, [GOOD], {"bool": {"filter": [GOOD]}}, {"bool": {"filter": [GOOD]}}),
        ({"query": QUERY, "_name": "c"}, [], QUERY, {"bool": {"must": [QUERY], "_name": "c"}}),
        (
            {"_name": "c"},
            [],
            {"match_all": {}},
            {"bool": {"must": [{"match_all": {}}], "_name": "c"}},
        ),
        ({"_name": "c"}, [GOOD], {"bool": {"filter": [GOOD]}}, {"bool": {"filter": [GOOD], "_name": "c"}}),
    ],
)
def test_filters_are_merged_into_standard(child: Any, filters: list[Any], query: Any, matching: Any) -> None:
    """The query is scored in the child's search; in the tail native has one filter of all, with names."""
    body = reranking({"standard": child}, filter=filters)
    assert single(body)["query"] == inner(body)["query"] == query
    assert final(body)["query"]["bool"]["filter"] == [matching]


def test_filters_are_merged_into_knn() -> None:
    child = {"knn": {**KNN["knn"], "filter": OLD, "_name": "leg", "min_score": 3}}
    section = {**KNN["knn"], "filter": [OLD, GOOD], "_name": "leg"}
    body = reranking(child, filter=[GOOD])
    assert inner(body)["knn"] == single(body)["knn"] == section
    assert "min_score" not in inner(body)
    assert "filter" not in single(reranking(KNN))["knn"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([{"a": 2}, {"b*": 0.5}], [{"a": 1}, {"b*": 1}]),
        ([], []),
        *((odd, odd) for odd in (5, {"a": 2}, [{"a": "2"}], [{"a": 2, "b": 2}], [{"a": 2}, {}], [7])),
    ],
)
def test_boosts_of_indices_are_checked_and_multiply_nothing(given: Any, sent: Any) -> None:
    """What cannot be read is left for upstream to refuse."""
    assert final({**reranking(), "indices_boost": given})["indices_boost"] == sent


def test_boosts_of_indices_that_may_not_exist_are_not_sent() -> None:
    search = request({**reranking(), "indices_boost": [{"a": 2}]}, "ignore_unavailable=true")
    assert "indices_boost" not in json.loads(final_bytes(search, docs(2.5, 0.5)))


def test_the_final_search() -> None:
    body = {**reranking(_name="top"), "aggs": {"a": {}}, "indices_boost": [{"a": 2}]}
    assert final(body) == {
        "aggs": {"a": {}},
        "pit": {"id": "abc", "keep_alive": "5m"},
        "query": {
            "bool": {
                "should": [
                    {"bool": {"should": [scored(("id 0", 2.5), ("id 1", 0.5))], "minimum_should_match": 1}}
                ],
                "filter": [QUERY],
                "_name": "top",
            }
        },
        "from": 0,
        "size": 2,
        "indices_boost": [{"a": 1}],
    }


def test_the_same_page_is_searched_for_again_to_identify_its_documents() -> None:
    body = {
        **reranking(),
        "stored_fields": "_none_",
        "aggs": {"a": {}},
        "post_filter": GOOD,
        "collapse": {"field": "a"},
        "runtime_mappings": {"r": {"type": "long"}},
        "min_score": 0.7,
        "from": 1,
        "explain": True,
        "version": True,
    }
    whole = final_bytes(request(body), docs(2.5, 0.5))
    decisive = ("pit", "query", "from", "size", "min_score", "post_filter", "collapse", "runtime_mappings")
    expected = {name: value for name, value in json.loads(whole).items() if name in decisive}
    assert expected.keys() == {*decisive}
    assert json.loads(bodies.identifying_search(whole)) == {
        **expected,
        "track_total_hits": False,
        "_source": False,
    }


def scored(*docs: tuple[str, float], index: str = "films") -> Any:
    return {
        "bool": {
            "filter": [{"term": {"_index": index}}],
            "should": [
                {"constant_score": {"filter": {"ids": {"values": [id_]}}, "boost": score}}
                for id_, score in docs
            ],
            "minimum_should_match": 1,
        }
    }


def test_documents_are_distinguished_by_index() -> None:
    ranked = [
        RankDoc("a", "1", 0, score=3.0),
        RankDoc("b", "1", 1, score=2.0),
        RankDoc("a", "2", 2, score=1.0),
    ]
    rank_docs = final({**reranking(), "track_total_hits": False}, ranked)["query"]["bool"]["should"]
    assert rank_docs == [scored(("1", 3.0), ("2", 1.0), index="a"), scored(("1", 2.0), index="b")]


def test_without_the_tail_only_rank_docs_match() -> None:
    query = final({**reranking(), "track_total_hits": False})["query"]
    assert query["bool"]["minimum_should_match"] == 1
    assert "filter" not in query["bool"]
    assert final({**reranking(), "track_total_hits": False}, [])["query"] == NO_DOCS


def test_a_vector_search_stands_for_its_window() -> None:
    window = docs(0.0, 0.0, 0.0)
    query = final(reranking(KNN), docs(2.0), window=window)["query"]
    (stands_for_it,) = query["bool"]["filter"]
    (rank_docs,) = stands_for_it["bool"]["must"]
    assert [
        clause["constant_score"]["filter"] for clause in rank_docs["bool"]["should"][0]["bool"]["should"]
    ] == [{"ids": {"values": [f"id {place}"]}} for place in range(3)]
    nothing = final(reranking(KNN), [], window=[])["query"]["bool"]["filter"]
    assert nothing == [{"bool": {"must": [NO_DOCS]}}]


def test_the_filters_of_a_vector_search_are_there_for_their_names() -> None:
    child = {"knn": {**KNN["knn"], "filter": OLD, "_name": "leg"}}
    (leaf,) = final(reranking(child, filter=[GOOD]))["query"]["bool"]["filter"]
    assert leaf["bool"]["filter"] == [OLD, GOOD]
    assert leaf["bool"]["_name"] == "leg"


@pytest.mark.parametrize(("min_score", "counts"), [(None, False), (0, False), (0.1, True)])
def test_aggregations_do_not_assume_that_the_query_matches_all(min_score: float | None, counts: bool) -> None:
    """If scores are needed, Elasticsearch must not know that the query matches all documents."""
    body = {**reranking(), "aggs": {"a": {}}}
    plain = final(body)["query"]
    asked = final(body if min_score is None else {**body, "min_score": min_score})["query"]
    if not counts:
        assert asked == plain
        return
    first, second = asked["dis_max"]["queries"]
    assert first == plain
    (no_id,) = second["ids"]["values"]
    assert len(no_id) > 512


def test_a_search_with_explanations_or_a_profile_has_a_query_that_hides_its_parts() -> None:
    """Elasticsearch analyses a `bool` query, and may add a clause that excludes nested documents."""
    plain = final(reranking(_name="top"))["query"]
    for option in ("explain", "profile"):
        for value in (True, "true"):
            assert final({**reranking(_name="top"), option: value})["query"] == {
                "dis_max": {"queries": [plain]}
            }
        assert final({**reranking(_name="top"), option: False})["query"] == plain


def test_explaining_some_documents() -> None:
    ranked = [RankDoc("a", "1", 0), RankDoc("b", "1", 1), RankDoc("a", "2", 2)]
    sent = json.loads(bodies.explaining_search(PIT, json.dumps(QUERY).encode(), ranked))
    of_index = [group["bool"]["filter"] for group in sent.pop("query")["bool"]["should"]]
    assert of_index == [
        [{"term": {"_index": "a"}}, {"ids": {"values": ["1", "2"]}}],
        [{"term": {"_index": "b"}}, {"ids": {"values": ["1"]}}],
    ]
    assert sent == {
        "pit": json.loads(PIT),
        "rescore": {"window_size": 3, "query": {"rescore_query": QUERY}},
        "explain": True,
        "profile": False,
        "size": 3,
        "track_total_hits": False,
        "_source": False,
    }


@pytest.mark.parametrize("fields", [{"b", "a"}, {"a", "b", "c*"}])
def test_the_fields_of_all_retrievers_above_are_asked_for(fields: set[str]) -> None:
    sent = bodies.inner_search(PIT, {"query": b"{}"}, 3, fields)
    assert json.loads(sent)["fields"] == ["a", "b"]


@pytest.mark.parametrize(
    ("top", "ranked", "expected"),
    [
        ({}, 2, True),
        ({"track_total_hits": True}, 2, True),
        ({"track_total_hits": False}, 2, False),
        ({"track_total_hits": 3}, 2, True),
        ({"track_total_hits": 2}, 2, False),
        ({"track_total_hits": 0}, 0, False),
        ({"track_total_hits": False, "aggs": {}}, 2, True),
        ({"track_total_hits": False, "aggregations": {}}, 2, True),
        ({"track_total_hits": False, "highlight": {}}, 2, False),
        ({"track_total_hits": False, "explain": True}, 2, True),
        ({"track_total_hits": False, "explain": False}, 2, False),
        ({"track_total_hits": False, "profile": True}, 2, True),
    ],
)
def test_when_the_tail_takes_part(top: dict[str, Any], ranked: int, expected: bool) -> None:
    assert bodies.needs_tail(request({**reranking(), **top}), ranked) is expected


@pytest.mark.parametrize(
    ("size", "from_", "ranked", "cut"),
    [(None, 0, 2, 2), (5, 0, 2, 2), (1, 0, 2, 1), (5, 1, 2, 1), (5, 9, 2, 0), (0, 0, 2, 0), (5, 0, 0, 0)],
)
def test_size_is_limited_to_the_ranked_documents(size: int | None, from_: int, ranked: int, cut: int) -> None:
    body = {**reranking(), "from": from_, **({} if size is None else {"size": size})}
    sent = final(body, docs(*[1.0] * ranked))
    assert (sent["from"], sent["size"]) == (from_, cut)


@pytest.mark.parametrize(("from_", "size"), [(2**31 - 3, 0), (2**31 - 2, 2), (2**31 - 1, 2)])
def test_an_end_beyond_32_bits_is_not_cut(from_: int, size: int) -> None:
    assert final({**reranking(), "from": from_, "size": 2}, docs(1.0))["size"] == size


@pytest.mark.parametrize(
    ("body", "min_score"),
    [
        ({**reranking(), "min_score": 1.5}, 1.5),
        ({**reranking(min_score=-1), "min_score": 1.5}, -1.0),
        (reranking({"standard": {"min_score": 3}}), 1.4e-45),
        ({**reranking(), "min_score": 1e39}, "Infinity"),
        ({**reranking(), "min_score": "NaN"}, "NaN"),
        (reranking(min_score=-1e39), "-Infinity"),
        (reranking(), None),
    ],
)
def test_min_score_of_the_final_search(body: Any, min_score: float | None) -> None:
    assert final(body).get("min_score") == min_score


def test_an_infinite_min_score_of_a_child_is_still_json() -> None:
    assert inner(reranking({"standard": {"min_score": 1e39}}))["min_score"] == "Infinity"


def test_clauses_are_passed_on_byte_for_byte() -> None:
    clause = b'{ "term" : {"price": 1.10, /* dollars */ "boost":1E0} }'
    body = (
        b'{"retriever":{"text_similarity_reranker":{"retriever":{"standard":{"query":'
        + clause
        + b',"filter":'
        b"[" + clause + b"]}},"
        b'"field":"t","inference_text":"q","filter":' + clause + b'}},"aggs": {"n" :1.10}}'
    )
    parsed = request(body)
    for sent in (
        bodies.single_search(parsed, *parts(parsed)),
        inner_bytes(parsed),
        final_bytes(parsed, docs(1.0)),
    ):
        assert sent.count(clause) == 3
        parse(sent)
    assert b'"aggs":{"n" :1.10}' in final_bytes(parsed, [])


ids = st.text(min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(ids, ids, st.floats(2.0**-100, 2.0**100, width=32)),
        max_size=5,
        unique_by=lambda doc: doc[:2],
    ),
    st.text(max_size=5),
    st.text(max_size=5),
    st.booleans(),
)
def test_any_names_make_valid_json(
    found: list[tuple[str, str, float]], name: str, field: str, knn: bool
) -> None:
    parsed: SearchRequest = request(reranking(KNN if knn else STANDARD, field=field, _name=name))
    ranked = [RankDoc(index, id_, place, score=score) for place, (index, id_, score) in enumerate(found)]
    query = json.loads(final_bytes(parsed, ranked))["query"]["bool"]
    assert query["_name"] == name
    if ranked:
        found_again = {
            (
                clause["bool"]["filter"][0]["term"]["_index"],
                each["constant_score"]["filter"]["ids"]["values"][0],
            ): each["constant_score"]["boost"]
            for clause in query["should"][0]["bool"]["should"]
            for each in clause["bool"]["should"]
        }
        expected = {(doc.index, doc.id): doc.score for doc in ranked}
        assert found_again == pytest.approx(expected, rel=1e-7)
    json.loads(inner_bytes(parsed))
