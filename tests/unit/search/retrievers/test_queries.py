"""Query clauses put together: valid JSON whatever the names, scores as they are, clauses as written."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers import queries
from rerank_proxy.search.retrievers.pinned import PinnedDoc, PinnedRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever

QUERY = b'{"match":{"text":"crime"}}'
FILTER = b'{ "term": {"price": 1.10} }'


def doc(id_: str, score: float = 1.0, index: str = "films") -> RankDoc:
    return RankDoc(index, id_, 0, score=score)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ('{"match":{"a":{"query":"x","_name":"n"}}}', '{"match":{"a":{"query":"x"}}}'),
        ('{"terms":{"a":[1.10],"_name":"n"}}', '{"terms":{"a":[1.10]}}'),
        ('{"match_all":{"_name":"n"}}', '{"match_all":{}}'),
        ('{"exists":{"_name":"n","field":"a"}}', '{"exists":{"field":"a"}}'),
        ('{ "term" : { "a" : { "value" : 1E0 , "_name" : "n" } } }', '{"term":{"a":{"value":1E0}}}'),
    ],
)
def test_a_query_loses_its_own_name(named: str, expected: str) -> None:
    assert queries.unnamed(named.encode()) == expected.encode()


@pytest.mark.parametrize(
    "clause",
    [
        '{"match":{"a":"x"}}',
        '{ "match" : {"a": {"query": "x" } } }',
        '{"bool":{"must":[{"match":{"a":{"query":"x","_name":"inner"}}}]}}',
        '{"bool":{"must":{"match":{"a":{"query":"x","_name":"inner"}}}}}',
        '{"nested":{"path":"p","query":{"match":{"a":{"query":"x","_name":"inner"}}}}}',
        '{"terms":{"a":["_name"]}}',
    ],
)
def test_all_other_names_stay(clause: str) -> None:
    assert json.loads(queries.unnamed(clause.encode())) == json.loads(clause)


def test_what_has_no_name_stays_as_it_was_written() -> None:
    assert queries.unnamed(FILTER) == FILTER


@pytest.mark.parametrize(
    ("retriever", "expected"),
    [
        (StandardRetriever(query=QUERY), QUERY),
        (StandardRetriever(), b'{"match_all":{}}'),
        (
            StandardRetriever(query=QUERY, filters=(FILTER,)),
            b'{"bool":{"must":[' + QUERY + b'],"filter":[' + FILTER + b"]}}",
        ),
        (StandardRetriever(filters=(FILTER,)), b'{"bool":{"filter":[' + FILTER + b"]}}"),
        (StandardRetriever(query=QUERY, name="n"), QUERY),
    ],
)
def test_the_query_of_a_standard_retriever(retriever: StandardRetriever, expected: bytes) -> None:
    assert retriever.narrowed_query() == expected


def test_a_retrievers_name_takes_the_place_of_its_querys_unless_a_filter_parts_them() -> None:
    query = b'{"match":{"a":{"query":"x","_name":"own"}}}'
    alone = json.loads(StandardRetriever(query=query, name="n").matching_query())
    assert alone == {"bool": {"must": [{"match": {"a": {"query": "x"}}}], "_name": "n"}}
    unnamed = json.loads(StandardRetriever(query=query).matching_query())
    assert unnamed == {"match": {"a": {"query": "x"}}}
    narrowed = json.loads(StandardRetriever(query=query, filters=(FILTER,), name="n").matching_query())
    assert narrowed["bool"] == {"filter": [json.loads(query), json.loads(FILTER)], "_name": "n"}


@pytest.mark.parametrize(
    ("retriever", "expected"),
    [
        (StandardRetriever(), b'{"match_all":{}}'),
        (StandardRetriever(query=QUERY), QUERY),
        (
            StandardRetriever(query=QUERY, filters=(FILTER,)),
            b'{"bool":{"filter":[' + QUERY + b"," + FILTER + b"]}}",
        ),
        (StandardRetriever(filters=(FILTER,)), b'{"bool":{"filter":[' + FILTER + b"]}}"),
    ],
)
def test_what_stands_for_a_standard_retriever_in_the_tail(
    retriever: StandardRetriever, expected: bytes
) -> None:
    assert retriever.matching_query() == expected


NO_DOCS: Any = {"dis_max": {"queries": [{"match_none": {}}]}}
names = st.text(st.characters(exclude_categories=()), max_size=6)
scores = st.floats(float(np.float32(1e-45)), float(np.finfo(np.float32).max), width=32)
documents = st.lists(
    st.builds(doc, names, scores, names), max_size=6, unique_by=lambda each: (each.index, each.id)
)


@given(documents, st.none() | names)
def test_rank_docs_have_their_scores_to_the_last_bit(docs: list[RankDoc], name: str | None) -> None:
    query = json.loads(queries.rank_docs(docs, name))
    if not docs:
        assert query == NO_DOCS
        return
    assert query["bool"].get("_name") == name
    scored = {
        (group["bool"]["filter"][0]["term"]["_index"], clause["filter"]["ids"]["values"][0]): np.float32(
            clause["boost"]
        )
        for group in query["bool"]["should"]
        for clause in (each["constant_score"] for each in group["bool"]["should"])
    }
    assert scored == {(doc.index, doc.id): np.float32(doc.score) for doc in docs}
    groups = [group["bool"]["filter"][0]["term"]["_index"] for group in query["bool"]["should"]]
    assert len(groups) == len(set(groups))  # in few clauses: their number is limited


@pytest.mark.parametrize(
    ("score", "boost"),
    [
        (0.0, b"1.4E-45"),
        (-2.0, b"1.4E-45"),
        (float("-inf"), b"1.4E-45"),
        (float("nan"), b"1.4E-45"),
        (float("inf"), b"3.4028235E38"),
        (0.5, b"0.5"),
    ],
)
def test_a_rank_docs_score_is_positive_and_finite(score: float, boost: bytes) -> None:
    """Else Elasticsearch refuses the boost, or the tail stands on a level with it."""
    assert b'"boost":' + boost + b"}" in queries.rank_docs([doc("1", score)])


@given(documents, st.none() | names)
def test_any_of_matches_each_document_in_its_own_index(docs: list[RankDoc], name: str | None) -> None:
    query = json.loads(queries.any_of(docs, name))
    if not docs:
        assert query == NO_DOCS
        return
    assert query["bool"].get("_name") == name
    matched = [
        (of_index["term"]["_index"], id_)
        for of_index, ids in (group["bool"]["filter"] for group in query["bool"]["should"])
        for id_ in ids["ids"]["values"]
    ]
    assert sorted(matched) == sorted((doc.index, doc.id) for doc in docs)


def test_pins_stand_above_what_is_found() -> None:
    pins = (PinnedDoc(id="1"), PinnedDoc(id="2", index="a"))
    query = json.loads(PinnedRetriever(child=StandardRetriever(), docs=pins).above(QUERY))
    first, second, organic = query["dis_max"]["queries"]
    assert first["constant_score"] == {"filter": {"ids": {"values": ["1"]}}, "boost": 1.7014124e38}
    assert second["constant_score"] == {
        "filter": {"bool": {"filter": [{"term": {"_index": "a"}}, {"ids": {"values": ["2"]}}]}},
        "boost": 1.7014122e38,
    }
    assert organic == json.loads(QUERY)


def test_disjunctions() -> None:
    assert queries.disjunction([]) == b'{"match_none":{}}'
    assert queries.disjunction([QUERY]) == QUERY
    assert queries.disjunction([QUERY, FILTER]) == b'{"bool":{"should":[' + QUERY + b"," + FILTER + b"]}}"


@pytest.mark.parametrize(
    ("value", "printed"),
    [(1.5, b"1.5"), (float("inf"), b'"Infinity"'), (float("-inf"), b'"-Infinity"'), (float("nan"), b'"NaN"')],
)
def test_floats_that_json_cannot_write_are_strings(value: float, printed: bytes) -> None:
    assert queries.to_float(value) == printed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | names, lambda inner: st.dictionaries(names, inner, max_size=3)
)


@given(st.dictionaries(names, json_values, max_size=4))
def test_objects_are_json(values: dict[str, Any]) -> None:
    parts = {name: queries.to_json(value) for name, value in values.items()}
    assert json.loads(queries.to_object(parts)) == values
    assert json.loads(queries.array(parts.values())) == [*values.values()]
