"""The grammar of retrievers is Elasticsearch's own: the very same bytes, read by both.

`rescorer` and `diversify` are the compound retrievers that every distribution has. What holds for them as
compound retrievers holds for the others, whose parsers and checks are built of the same parts.
"""

import json
import random
from typing import Any, Final

import pytest

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.language.request import SearchRequest, parse_search
from rerank_proxy.xcontent.params import parse_params
from testbed import RunningElasticsearch
from testbed.http import Reply
from tests.live.conftest import MakeIndex
from tests.support.retrievers import RESCORE, diversify, rescorer, window
from tests.support.searches import KNN, QUERY, STANDARD

EVALUATE: Final = frozenset({"rescorer", "diversify"})
BOTH: Final = {**STANDARD, **KNN}
AFTER: Final = {"standard": {"query": QUERY, "search_after": [1]}}
MAPPINGS: Final = {"properties": {"v": {"type": "dense_vector", "dims": 2}}}
_AT_RUN_TIME: Final = ("search_phase_execution_exception", "status_exception")


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    documents = [{"text": f"crime {number}", "n": number, "v": [1, number]} for number in range(12)]
    return make_index(documents, mappings=MAPPINGS)


def native(elasticsearch: RunningElasticsearch, index: str, body: bytes, query: str = "") -> Reply:
    headers = {"Content-Type": "application/json"}
    return elasticsearch.server.call("POST", f"/{index}/_search?{query}", body, headers=headers)


def ours(index: str, body: bytes, query: str = "") -> SearchRequest:
    request = parse_search(index, parse_params(query), body, evaluate=EVALUATE)
    assert request is not None, "the body has no reranker"
    return request


def refusal(index: str, body: bytes, query: str = "") -> Any:
    """Return the error that the client gets, or None if nothing is wrong."""
    try:
        ours(index, body, query).retriever.check_rewrite()
    except ElasticsearchError as failure:
        return json.loads(json.dumps(failure.body()))
    return None


def encode(tree: Any, **members: Any) -> bytes:
    return json.dumps({"retriever": tree, **members}).encode()


@pytest.mark.parametrize(
    "tree",
    [
        {"rescorer": 1},
        {"rescorer": {}},
        {"rescorer": {"retriever": STANDARD}},
        {"rescorer": {"rescore": RESCORE}},
        {"rescorer": {"rescore": [], "retriever": STANDARD}},
        {**rescorer(), "standard": {}},
        {"standard": {}, **rescorer()},
        {"rescrer": {"retriever": rescorer()}},
        rescorer(foo=1),
        rescorer(retriver={"a": 1}),
        rescorer(_name=1),
        rescorer(min_score="abc"),
        rescorer(filter="x"),
        rescorer(filter=[5]),
        rescorer(filter=[[]]),
        rescorer(filter=[{"match": 1}]),
        rescorer({}),
        rescorer([]),
        rescorer("x"),
        rescorer({"standrd": {}}),
        rescorer({"standard": 1}),
        rescorer({"standard": {"querry": [1]}}),
        rescorer({"standard": {"query": {}}}),
        rescorer({"standard": {"query": {"match": {"a": 1}, "term": {}}}}),
        rescorer({"standard": {"sort": "n"}}),
        rescorer({"standard": {"sort": [None]}}),
        rescorer({"standard": {"search_after": []}}),
        rescorer({"standard": {"search_after": {}}}),
        rescorer({"knn": {"field": "v"}}),
        rescorer({"knn": {"field": "v", "k": 3}}),
        rescorer({"knn": {**KNN["knn"], "query_vector": ["a"]}}),
        rescorer({"knn": {**KNN["knn"], "query_vector": [1, None]}}),
        rescorer({"knn": {**KNN["knn"], "query_vector_builder": {}}}),
        rescorer({"knn": {**KNN["knn"], "rescore_vector": {"oversample": -1}}}),
        rescorer({"knn": {**KNN["knn"], "rescore_vector": {"foo": 1}}}),
        rescorer(BOTH),
        rescorer(rescorer(BOTH)),
        rescorer(rescorer({})),
        rescorer(rescorer(foo=1)),
        rescorer(rescorer(rescorer({"standard": {"a": 1}}))),
        rescorer(diversify({"rescorer": {"a": 1}})),
        rescorer(diversify(type="x")),
        rescorer(rescore="x"),
        rescorer(rescore=None),
        rescorer(rescore=[]),
        rescorer(rescore={}),
        rescorer(rescore=[RESCORE, {}]),
        rescorer(rescore=[RESCORE, 5]),
        rescorer(rescore={"foo": 1}),
        rescorer(rescore={"foo": {}}),
        rescorer(rescore={"query": {}}),
        rescorer(rescore={"query": []}),
        rescorer(rescore={"query": {"foo": 1}}),
        rescorer(rescore={"query": {**RESCORE["query"], "score_mode": "x"}}),
        rescorer(rescore={"query": {**RESCORE["query"], "query_weight": True}}),
        rescorer(rescore={**RESCORE, "script": {}}),
        rescorer(rescore=window(None)),
        rescorer(rescore=window(True)),
        rescorer(rescore=window("abc")),
        rescorer(rescore=window("")),
        rescorer(rescore=window(99999999999)),
        diversify({"rescorer": {"foo": 1}}),
        diversify(BOTH),
        diversify(diversify(BOTH)),
        diversify({}),
        diversify(foo=1),
        diversify(querry_vector=1),
        diversify(type=1),
        diversify(type="x"),
        diversify(query_vector={}),
        diversify(query_vector=[True]),
        diversify(query_vector=["x"]),
        diversify(query_vector_builder=1),
        diversify(query_vector_builder={}),
        {"diversify": {"retriever": STANDARD}},
    ],
)
def test_what_the_parser_refuses(elasticsearch: RunningElasticsearch, index: str, tree: Any) -> None:
    for body in (encode(tree), json.dumps({"retriever": tree}, indent=1).encode()):
        assert refusal(index, body) == native(elasticsearch, index, body).json()


@pytest.mark.parametrize(
    "body",
    [
        b'{"size":-1,"retriever":{"rescorer":{}}}',
        b'{"retriever":{"rescorer":{}},"size":-1}',
        b'{"size":{},"retriever":{"rescorer":1}}',
        b'{"retriever":{"rescorer":{"foo":1}},"from":"x"}',
    ],
)
def test_the_first_mistake_in_the_text(elasticsearch: RunningElasticsearch, index: str, body: bytes) -> None:
    assert refusal(index, body) == native(elasticsearch, index, body).json()


@pytest.mark.parametrize(
    ("tree", "members", "query"),
    [
        (rescorer(rescore=window(3)), {"size": 5}, ""),
        (rescorer(rescore=window(3)), {}, "size=5"),
        (rescorer(rescore=[window(5), RESCORE]), {"size": 6}, ""),
        (rescorer(rescore=[window(20), RESCORE]), {"size": 11}, ""),
        (rescorer(rescore=window(-1)), {}, ""),
        (rescorer(rescore=window(-2)), {}, ""),
        (rescorer(rescorer(rescore=window(2)), window(3)), {"size": 5, "query": QUERY}, "scroll=1m"),
        (
            rescorer(rescorer(rescorer(rescore=window(-2)), window(-1)), window(3)),
            {"size": 5, "sort": ["n"]},
            "scroll=1m",
        ),
        (rescorer(), {"size": 0, "from": 1, "track_total_hits": False}, "scroll=1m&request_cache=true"),
        (rescorer(), {"track_total_hits": 1}, "scroll=1m"),
        (rescorer(), {"slice": {"id": 0, "max": 2}}, "scroll=1m"),
        (rescorer(), {"slice": {"id": 0, "max": 2}}, ""),
        (rescorer(diversify(rank_window_size=3)), {}, ""),
        (rescorer(diversify(rank_window_size=3, size=7)), {"size": 20}, "scroll=1m"),
        (diversify(size=0), {}, ""),
        (diversify(size=11), {}, ""),
        (diversify(size=-1, rank_window_size=-2, **{"lambda": 3}), {}, ""),
        (diversify(**{"lambda": -0.5}), {"query": QUERY}, ""),
        ({"diversify": {"retriever": STANDARD, "type": "mmr", "field": "v"}}, {}, ""),
        (diversify(query_vector="AAAA"), {}, ""),
    ],
)
def test_what_validation_refuses(
    elasticsearch: RunningElasticsearch, index: str, tree: Any, members: dict[str, Any], query: str
) -> None:
    body = encode(tree, **members)
    assert refusal(index, body, query) == native(elasticsearch, index, body, query).json()


@pytest.mark.parametrize(
    "tree",
    [
        rescorer(AFTER),
        rescorer({"standard": {"terminate_after": 4}}),
        rescorer({"standard": {"search_after": [1], "terminate_after": 4}}),
        rescorer({"knn": {**KNN["knn"], "k": 0}}),
        rescorer({"knn": {**KNN["knn"], "k": 7}}),
        rescorer({"knn": {**KNN["knn"], "num_candidates": 20_000}}),
        rescorer({"knn": {**KNN["knn"], "visit_percentage": 101}}),
        rescorer({"knn": {"field": "v", "query_vector": [1, 0], "k": 20_000}}),
        rescorer(rescorer(AFTER)),
        diversify(AFTER),
        diversify(rescorer({"knn": {**KNN["knn"], "k": 0}})),
    ],
)
def test_what_rewriting_refuses(elasticsearch: RunningElasticsearch, index: str, tree: Any) -> None:
    assert refusal(index, encode(tree)) == native(elasticsearch, index, encode(tree)).json()


SCORED: Final = {"standard": {"query": QUERY, "min_score": 0}}
FIVE: Final = window(5)


@pytest.mark.parametrize(
    "tree",
    [
        rescorer(rescore=FIVE),
        rescorer(rescore=FIVE, min_score=0.1),
        rescorer(SCORED, FIVE),
        rescorer(rescorer(SCORED, FIVE), FIVE),
        rescorer(rescorer(rescore=FIVE, min_score=0.1), FIVE),
        diversify(SCORED, rank_window_size=5),
        diversify(rank_window_size=5, min_score=100),
        diversify(rescorer(SCORED, FIVE), rank_window_size=5),
        rescorer(diversify(rank_window_size=5, min_score=0.1), FIVE),
        rescorer(diversify(SCORED, rank_window_size=5), FIVE),
    ],
)
@pytest.mark.parametrize("members", [{}, {"min_score": 0}, {"min_score": 0.01}])
def test_which_min_score_is_in_effect(
    elasticsearch: RunningElasticsearch, index: str, tree: Any, members: dict[str, Any]
) -> None:
    """A positive one excludes documents that only match from the total."""
    body = encode(tree, **members)
    found = native(elasticsearch, index, body).json()["hits"]["total"]["value"]
    request = ours(index, body)
    assert found == (5 if request.final_min_score else 12)
    assert request.page_size == 5


class _Trees:
    """Trees that are right but for a mistake here and there, and where keys stand in any order."""

    JUNK: Final[tuple[Any, ...]] = (
        None,
        True,
        0,
        -1,
        2.5,
        "",
        "x",
        "3",
        [],
        {},
        [1],
        ["x"],
        [{}],
        {"a": 1},
        [[]],
        10**12,
        "NaN",
    )

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def body(self) -> bytes:
        body = {"retriever": self._rescorer(3) if self._now_and_then(0.7) else self._diversify(3)}
        if self._now_and_then(0.3):
            body["size"] = self._one_of(0, 3, 5, 12, "4", -1, "x", None)
        if self._now_and_then(0.1):
            body["query"] = QUERY
        return json.dumps(self._shuffled(body)).encode()

    def deep_body(self) -> bytes:
        """Draw a body with about as many retrievers inside one another as are allowed."""
        tree = self._spoilt(self._tree(self._one_of(0, 1)))
        for _ in range(self._random.randrange(12, 18)):
            options = {"foo": 1} if self._now_and_then(0.02) else {}
            tree = self._one_of(rescorer, diversify)(tree, **options)
        return json.dumps({"retriever": tree, **({"size": 99} if self._now_and_then(0.1) else {})}).encode()

    def query(self) -> str:
        return str(self._one_of("", "", "", "size=4", "scroll=1m"))

    def _tree(self, depth: int) -> dict[str, Any]:
        leaves = (self._standard, self._knn)
        if depth == 0 or self._now_and_then(0.35):
            tree = self._one_of(*leaves)()
        else:
            tree = self._one_of(self._rescorer, self._diversify)(depth - 1)
        return {**tree, "knn": {}} if self._now_and_then(0.02) else dict(tree)

    def _standard(self) -> dict[str, Any]:
        options = {"query": self._spoilt(QUERY)}
        for key, value in {"sort": [{"n": "asc"}], "search_after": [1], "terminate_after": 0}.items():
            if self._now_and_then(0.1):
                options[key] = self._spoilt(value)
        return {"standard": self._with_base(options)}

    def _knn(self) -> dict[str, Any]:
        options = {key: self._spoilt(value) for key, value in KNN["knn"].items()}
        for key, value in {"similarity": 0.1, "visit_percentage": 200, "num_candidates": 2}.items():
            if self._now_and_then(0.1):
                options[key] = self._spoilt(value)
        return {"knn": self._with_base(options)}

    def _rescorer(self, depth: int) -> dict[str, Any]:
        # What stands inside `rescore` has places of its own for mistakes, not all of which mean anything.
        rescore = [window(self._one_of(3, 5, 10, 20, "7", "x", None)) for _ in range(self._one_of(1, 2))]
        options = {"retriever": self._spoilt(self._tree(depth)), "rescore": rescore}
        return {"rescorer": self._with_base(options)}

    def _diversify(self, depth: int) -> dict[str, Any]:
        options = diversify(self._spoilt(self._tree(depth)))["diversify"]
        options["lambda"] = self._spoilt(self._one_of(0.5, 0.5, 2))
        for key, value in {"rank_window_size": 20, "size": 12, "query_vector": [1, 0]}.items():
            if self._now_and_then(0.3):
                options[key] = self._spoilt(value)
        return {"diversify": self._with_base(options)}

    def _with_base(self, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in {"filter": [QUERY], "min_score": 0.1, "_name": "n", "foo": 1, "querry": {}}.items():
            if self._now_and_then(0.05):
                options[key] = self._spoilt(value)
        return {key: value for key, value in self._shuffled(options).items() if not self._now_and_then(0.03)}

    def _spoilt(self, value: Any) -> Any:
        return self._one_of(*self.JUNK) if self._now_and_then(0.05) else value

    def _shuffled(self, values: dict[str, Any]) -> dict[str, Any]:
        return dict(self._random.sample(list(values.items()), len(values)))

    def _now_and_then(self, share: float) -> bool:
        return self._random.random() < share

    def _one_of(self, *values: Any) -> Any:
        return self._random.choice(values)


@pytest.mark.parametrize("seed", range(5))
def test_any_tree(elasticsearch: RunningElasticsearch, index: str, seed: int) -> None:
    trees = _Trees(seed)
    refused = 0
    for _ in range(60):
        body, query = trees.body(), trees.query()
        told, answer = refusal(index, body, query), native(elasticsearch, index, body, query).json()
        if told is None:
            assert "error" not in answer or answer["error"]["type"] in _AT_RUN_TIME, (body, query)
        else:
            assert told == answer, (body, query)
            refused += 1
    assert 10 < refused < 60


@pytest.mark.parametrize("seed", range(3))
def test_any_deep_tree(elasticsearch: RunningElasticsearch, index: str, seed: int) -> None:
    """More than 16 retrievers inside one another are refused before all that comes later in the text."""
    trees, told_of_depth = _Trees(seed), 0
    for _ in range(60):
        body = trees.deep_body()
        told, answer = refusal(index, body), native(elasticsearch, index, body).json()
        if told is None:  # native gives up rewriting these, where the application does not
            error = answer.get("error", {"type": _AT_RUN_TIME[0]})
            assert error["type"] in _AT_RUN_TIME or error["reason"].startswith("too many rewrite rounds")
        else:
            assert told == answer, body
            told_of_depth += told["error"]["type"] == "retriever_nesting_depth_exceeded_exception"
    assert 10 < told_of_depth < 60


@pytest.mark.parametrize("innermost", [STANDARD, {"standrd": {}}, {}, [], {"knn": 1}, diversify(foo=1)])
@pytest.mark.parametrize("levels", [15, 16, 17])
def test_sixteen_levels(elasticsearch: RunningElasticsearch, index: str, levels: int, innermost: Any) -> None:
    tree = innermost
    for level in range(levels):
        tree = rescorer(tree) if level % 3 else diversify(tree)
    for body in (encode(tree), encode(tree, size=-1), encode(tree, querry=1)):
        told, answer = refusal(index, body), native(elasticsearch, index, body).json()
        if told is not None:
            assert told == answer


MEMBERS: Final[dict[str, tuple[Any, ...]]] = {
    "query": (QUERY,),
    "knn": ([], {"field": "v", "query_vector": [1, 0], "k": 1, "num_candidates": 2}),
    "search_after": ([1],),
    "terminate_after": (0, "0", 3),
    "sort": ([], ["n"]),
    "rescore": ([], RESCORE, [RESCORE]),
    "sub_searches": ([], [{"query": QUERY}], [{"query": QUERY}] * 2),
    "slice": ({"id": 0, "max": 2},),
    "collapse": ({"field": "n"},),
    "stored_fields": ("_none_", ["_none_"], "n", []),
    "_source": (True, False, "n", [], {"includes": "n"}, "false"),
    "fields": ([], ["n"]),
    "from": (0, 1, 2**31 - 1),
    "size": (0, 5, 50),
    "track_total_hits": (True, False, 5),
    "min_score": (0.1,),
}
OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "scroll": ("1m",),
    "q": ("a", ""),
    "sort": ("", "n", "n:asc", "n:bogus", "n:bogus,n"),
    "terminate_after": ("0", "2"),
    "stored_fields": ("_none_", "_none_,", "n", ""),
    "_source": ("true", "false", "n", ""),
    "_source_includes": ("n",),
    "_source_excludes": ("n",),
    "_source_exclude_vectors": ("true",),
    "from": ("0", "3"),
    "size": ("0", "40"),
    "request_cache": ("true", "false"),
    "search_type": ("query_then_fetch",),
    "rest_total_hits_as_int": ("true",),
    "routing": ("r",),
    "preference": ("_local",),
    "ignore_unavailable": ("true", "false"),
    "allow_no_indices": ("true", "false"),
    "ignore_throttled": ("true", "false"),
    "expand_wildcards": ("open", "open,open", "hidden", "open,closed", "all", "none"),
    "ccs_minimize_roundtrips": ("true", "false"),
}


@pytest.mark.parametrize("seed", range(4))
def test_any_search_around_a_tree(elasticsearch: RunningElasticsearch, index: str, seed: int) -> None:
    """What validation finds in a whole request: all of it, numbered in native's order."""
    chosen = random.Random(seed)
    path = f"/{index}/_pit?keep_alive=1m"
    pit = {"id": elasticsearch.server.call("POST", path).json()["id"]}
    refused = 0
    for _ in range(150):
        members = {
            name: chosen.choice(MEMBERS[name]) for name in chosen.sample([*MEMBERS], chosen.randint(0, 5))
        }
        names = chosen.sample([*OPTIONS], chosen.randint(0, 4))
        query = "&".join(f"{name}={chosen.choice(OPTIONS[name])}" for name in names)
        if chosen.random() < 0.4:
            members["pit"] = pit
        body = encode(rescorer(rescore=FIVE), **members)
        where = None if "pit" in members and chosen.random() < 0.7 else index
        target = f"/_search?{query}" if where is None else f"/{where}/_search?{query}"
        headers = {"Content-Type": "application/json"}
        answer = elasticsearch.server.call("POST", target, body, headers=headers).json()
        told = whole_refusal(where, body, query)
        if told is None:
            error = answer.get("error", {"type": _AT_RUN_TIME[0]})
            assert error["type"] in _AT_RUN_TIME, (target, body)
        else:
            assert told == answer, (target, body)
            refused += 1
    elasticsearch.server.call("DELETE", "/_pit", pit)
    assert 30 < refused < 150


def whole_refusal(index: str | None, body: bytes, query: str) -> Any:
    try:
        parse_search(index, parse_params(query), body, evaluate=EVALUATE)
    except ElasticsearchError as failure:
        return json.loads(json.dumps(failure.body()))
    return None
