"""Searches drawn at random: any tree of retrievers under any options, and an index that has it all."""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from hypothesis import strategies as st

JSON = dict[str, Any]

SIZE: Final = 16
"""Documents of the larger index; the other has half as many."""

_VECTORS: Final = {"dims": 2, "similarity": "max_inner_product", "index_options": {"type": "flat"}}


def mappings(parts: str) -> JSON:
    """`parts` is the type of a field of objects: `nested` ones take a clause that keeps them out."""
    return {
        "properties": {
            "text": {"type": "text", "copy_to": "copied", "fields": {"raw": {"type": "keyword"}}},
            "copied": {"type": "text"},
            "called": {"type": "alias", "path": "text"},
            "also": {"type": "text", "term_vector": "with_positions_offsets"},
            "group": {"type": "keyword"},
            "low": {"type": "text"},
            "n": {"type": "integer"},
            "odd": {"type": "boolean"},
            "v": {"type": "dense_vector", **_VECTORS},
            "parts": {"type": parts, "properties": {"p": {"type": "integer"}}},
        }
    }


def documents(count: int) -> list[JSON]:
    """Alike enough for ties, before reranking and after; some without text, vector or group."""
    return [_document(n) for n in range(count)]


def _document(n: int) -> JSON:
    document: JSON = {"n": n, "odd": n % 2 == 1, "parts": [{"p": n}, {"p": n + 1}]}
    if n % 7 != 3:
        document["text"] = "crime " * (n % 3 + 1) + f"and punishment {n * 5 % 8 - 2}"
        document["low"] = f"{-100 * n}"
    if n % 5 != 4:
        document["v"] = [n % 4, n // 4]
    if n % 6 != 5:
        document["group"] = "abc"[n % 3]
    if n % 4 == 0:
        document["also"] = [f"war {n % 5}.5", "and peace 9"]
    return document


ODD: Final = {"term": {"odd": True}}
_NAMES: Final = st.sampled_from(["a", "b", "leaf"])


def _range(least: int) -> JSON:
    return {"range": {"n": {"gte": least}}}


_FILTERS: Final = st.one_of(
    st.just(ODD),
    st.integers(0, 9).map(_range),
    st.lists(
        st.sampled_from([ODD, _range(2), {"term": {"group": {"value": "a", "_name": "in a"}}}]), max_size=2
    ),
)

_QUERIES: Final = st.sampled_from(
    [
        {"match": {"text": "crime"}},
        {"match": {"text": {"query": "punishment crime", "_name": "clause"}}},
        {"match": {"text": "nothing"}},
        {"match_all": {}},
        {"match_none": {}},
        {"term": {"group": {"value": "b", "boost": 3}}},
        {
            "bool": {
                "must": [{"match": {"text": "crime"}}],
                "should": [{"term": {"odd": {"value": True, "_name": "odd"}}}],
            }
        },
        {"constant_score": {"filter": _range(3), "boost": 0.5}},
        {
            "nested": {
                "path": "parts",
                "query": {"range": {"parts.p": {"gte": 4}}},
                "inner_hits": {},
                "ignore_unmapped": True,
            }
        },
        {"multi_match": {"query": "war crime", "fields": ["text", "also"]}},
        {"wildcard": {"group": {"value": "*"}}},
        {"dis_max": {"queries": [{"match": {"text": "war"}}, {"match": {"also": "peace"}}], "_name": "best"}},
    ]
)


@st.composite
def _options(draw: st.DrawFn) -> JSON:
    options: JSON = {}
    if draw(st.integers(0, 2)) == 0:
        options["filter"] = draw(_FILTERS)
    if draw(st.integers(0, 3)) == 0:
        options["_name"] = draw(_NAMES)
    return options


@st.composite
def standard(draw: st.DrawFn) -> JSON:
    options = draw(_options())
    if draw(st.integers(0, 3)) == 0:
        options["min_score"] = draw(st.sampled_from([0, 0.1, 0.2, 1]))
    if draw(st.integers(0, 4)) == 0:
        options["collapse"] = {"field": "group"}
    if draw(st.integers(0, 5)) == 0:
        options["sort"] = draw(st.sampled_from([[{"n": "desc"}], [{"group": "asc"}, "_score"], ["_doc"]]))
    return {"standard": {"query": draw(_QUERIES), **options}}


@st.composite
def knn(draw: st.DrawFn) -> JSON:
    options = draw(_options())
    if draw(st.integers(0, 5)) == 0:
        options["similarity"] = draw(st.sampled_from([0, 4]))
    k = draw(st.integers(1, 9))
    return {"knn": {"field": "v", "query_vector": [3, 1], "k": k, "num_candidates": 20, **options}}


_FIELDS: Final = ("also", "n", "missing", "text.raw", "copied", "called", "parts.p", "te*", "_id", "v.x", "")


@st.composite
def _reranker(draw: st.DrawFn, child: JSON, window: int) -> JSON:
    options = draw(_options())
    if draw(st.integers(0, 2)) == 0:
        options["min_score"] = draw(st.sampled_from([-1, 0, 1, 1.5, 3, 20]))
    if draw(st.integers(0, 5)) == 0:
        options["allow_rerank_failures"] = draw(st.booleans())
        options["inference_id"] = draw(st.sampled_from([".rerank-v1-elasticsearch", "unknown"]))
    field = draw(st.sampled_from(["text", "text", "text", "text", *_FIELDS]))
    given = {"field": field, "inference_text": "q", "rank_window_size": window}
    return {"text_similarity_reranker": {"retriever": child, **given, **options}}


@st.composite
def _rescorer(draw: st.DrawFn, child: JSON, window: int) -> JSON:
    query = {"constant_score": {"filter": _range(draw(st.integers(0, SIZE))), "boost": 2}}
    rescore = {"window_size": window, "query": {"rescore_query": query}}
    return {"rescorer": {"retriever": child, "rescore": rescore, **draw(_options())}}


@st.composite
def _diversify(draw: st.DrawFn, child: JSON, window: int) -> JSON:
    options = {"type": "mmr", "field": "v", "query_vector": [1, 2], "lambda": 0.3, "rank_window_size": window}
    return {"diversify": {"retriever": child, "size": draw(st.integers(1, max(1, window))), **options}}


@st.composite
def _rrf(draw: st.DrawFn, children: list[JSON], window: int) -> JSON:
    weighted = draw(st.booleans())
    listed = [
        {"retriever": each, "weight": draw(st.sampled_from([0, 0.5, 2]))} if weighted else each
        for each in children
    ]
    return {
        "rrf": {
            "retrievers": listed,
            "rank_window_size": window,
            "rank_constant": draw(st.sampled_from([1, 60])),
            **draw(_options()),
        }
    }


@st.composite
def _linear(draw: st.DrawFn, children: list[JSON], window: int) -> JSON:
    options = draw(_options())
    if draw(st.integers(0, 3)) == 0:
        options["min_score"] = draw(st.sampled_from([0, 0.5, 2]))
    listed = [
        {
            "retriever": each,
            "weight": draw(st.sampled_from([0.5, 1, 2])),
            "normalizer": draw(st.sampled_from(["none", "minmax"])),
        }
        for each in children
    ]
    return {"linear": {"retrievers": listed, "rank_window_size": window, **options}}


_OF_ONE: Final = (_reranker, _reranker, _reranker, _rescorer, _diversify)
_OF_MANY: Final = (_rrf, _linear)


@st.composite
def trees(draw: st.DrawFn, levels: int = 3, least: int = 1) -> JSON:
    """Any tree whose windows grow towards the leaves."""
    window = draw(st.integers(least, least + 5))

    def child() -> JSON:
        if levels > 1 and draw(st.booleans()):
            return draw(trees(levels - 1, window))
        return draw(st.one_of(standard(), standard(), standard(), knn()))

    if draw(st.integers(0, 2)) == 0:
        return draw(
            draw(st.sampled_from(_OF_MANY))([child() for _ in range(draw(st.integers(1, 3)))], window)
        )
    return draw(draw(st.sampled_from(_OF_ONE))(child(), window))


BODY_OPTIONS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "aggs": st.sampled_from(
        [
            {"g": {"terms": {"field": "group"}}},
            {"g": {"terms": {"field": "odd"}}, "n": {"stats": {"field": "n"}}},
            {"f": {"filter": ODD, "aggs": {"top": {"top_hits": {"size": 2, "_source": False}}}}},
            {"all": {"global": {}, "aggs": {"c": {"value_count": {"field": "n"}}}}},
            {"h": {"histogram": {"field": "n", "interval": 4}}, "m": {"missing": {"field": "group"}}},
            {"p": {"nested": {"path": "parts"}, "aggs": {"m": {"max": {"field": "parts.p"}}}}},
        ]
    ),
    "post_filter": st.just(ODD),
    "collapse": st.sampled_from(
        [{"field": "group"}, {"field": "group", "inner_hits": {"name": "all", "size": 2, "_source": False}}]
    ),
    "min_score": st.sampled_from([0, 0.08, 2.05, 4]),
    "highlight": st.sampled_from(
        [
            {"fields": {"text": {}}},
            {"fields": {"*": {"number_of_fragments": 0}}, "require_field_match": False},
            {"fields": [{"text": {}}, {"also": {}}, {"group": {}}]},
            {"fields": {"also": {}, "text": {"type": "unified"}}, "type": "fvh"},
            {"fields": {"text": {"highlight_query": {"match": {"text": "and"}}}, "also": {}}},
            {"fields": {"text": {}, "also": {"type": "fvh"}}, "highlight_query": {"match_all": {}}},
        ]
    ),
    "_source": st.sampled_from(
        [
            *(True, False, "text", ["n"], [], ["n", "odd", "text"], ["p*s", "*d*"], ["parts.p"]),
            {"excludes": ["text"]},
            {"excludes": ["parts.p"]},
            {"includes": ["parts", "n"], "excludes": ["*.p"]},
        ]
    ),
    "fields": st.sampled_from([["group", "parts.*"], ["*"], [{"field": "n", "format": "#.0"}], []]),
    "docvalue_fields": st.sampled_from([["n"], [{"field": "odd"}, "group"]]),
    "stored_fields": st.sampled_from(["_none_", ["group"], [], ["*"]]),
    "version": st.booleans(),
    "seq_no_primary_term": st.booleans(),
    "explain": st.sampled_from([True, False, "true", ""]),
    "profile": st.booleans(),
    "track_scores": st.booleans(),
    # None that can come to pass: it would be chance what has been found by then.
    "timeout": st.sampled_from(["1m", -1, "-1"]),
    "indices_boost": st.sampled_from([[{"*": 7}], [{"one": 2.5}, {"t*": 0.5}], [], [{"missing": 1}], [{}]]),
    "terminate_after": st.sampled_from([0, "0", 0.5, 1, -1]),
    "sort": st.sampled_from([[], ["n"], [{"n": "up"}]]),
    "slice": st.just({"id": 0, "max": 2}),
    "runtime_mappings": st.just({"r": {"type": "keyword"}}),
    "suggest": st.just({"s": {"text": "crimes", "term": {"field": "text"}}}),
    "stats": st.just(["some"]),
    "ext": st.just({}),
}

URL_OPTIONS: Final = (
    "typed_keys=true", "rest_total_hits_as_int=true", "search_type=dfs_query_then_fetch", "preference=_local",
    "routing=1", "ignore_unavailable=true", "include_named_queries_score=true", "pretty", "human",
    "filter_path=hits.hits._id,hits.total,error", "size=2", "from=1", "track_total_hits=3", "explain=true",
    "max_concurrent_shard_requests=1", "request_cache=true", "version=true", "error_trace=false",
    "explain", "_source=n,odd", "_source_excludes=text", "stored_fields=group", "docvalue_fields=n", "size=9",
    "from=x", "scroll=1m", "terminate_after=0", "format=json",
    "filter_path=-took,-**.p", "track_scores", "seq_no_primary_term", "stats=a,b", "sort=n:up", "timeout=1x",
    "ccs_minimize_roundtrips=false", "pre_filter_shard_size=1", "search_type=x", "unknown=1",
)  # fmt: skip


def _named_apart(value: Any, numbers: Iterator[int]) -> Any:
    """With a number at the end of each name: of two clauses of one name Elasticsearch tells about one, and it
    refuses two inner hits of one name.
    """
    if isinstance(value, list):
        return [_named_apart(each, numbers) for each in value]
    if not isinstance(value, dict):
        return value
    named = {name: _named_apart(each, numbers) for name, each in value.items()}
    if "_name" in value:
        named["_name"] = f"{value['_name']} {next(numbers)}"
    if "inner_hits" in value:
        named["inner_hits"] = {"name": f"parts {next(numbers)}"}
    return named


@st.composite
def bodies(draw: st.DrawFn) -> JSON:
    body: JSON = {"retriever": _named_apart(draw(trees()), count())}
    if draw(st.integers(0, 1)):
        body["from"] = draw(st.integers(0, 4) | st.sampled_from([9, "2", 1.5, 10_000, 2**31 - 1]))
    if draw(st.integers(0, 1)):
        body["size"] = draw(st.integers(0, 3) | st.sampled_from([7, "1", 2.0, -1, 10_001]))
    if draw(st.integers(0, 1)):
        body["track_total_hits"] = draw(st.booleans() | st.integers(0, 2 * SIZE))
    for name in draw(st.lists(st.sampled_from(sorted(BODY_OPTIONS)), max_size=3, unique=True)):
        body[name] = draw(BODY_OPTIONS[name])
    return body
