"""Trees of retrievers, evaluated: which searches are made, what becomes of their answers and failures."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import pytest

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.evaluation import Evaluation
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.retriever import Found
from rerank_proxy.search.run import InnerBytes, Run
from rerank_proxy.settings import EndpointSettings
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from tests.support import retrievers
from tests.support.endpoints import LATE, local_endpoints
from tests.support.raw_http import TIMEOUT_S
from tests.support.retrievers import linear, pinned, read, rescorer, rrf
from tests.support.search_app import ENDPOINT, NumberAtTheEnd
from tests.support.searches import RERANKER, request, reranking
from tests.unit.search.doubles import ScriptedUpstream, found, hit, refused, shards_failed

PIT: Final = b'{"id":"p"}'


def leaf(word: str, **options: Any) -> dict[str, Any]:
    return {"standard": {"query": {"match": {"text": word}}, **options}}


def reranker(child: Any, **options: Any) -> dict[str, Any]:
    retriever: dict[str, Any] = reranking(child, **options)["retriever"]
    return retriever


A, B, C = leaf("a"), leaf("b"), leaf("c")
Answers = Mapping[str, Reply | Callable[[], Awaitable[Reply]]]
"""By the word that a leaf looks for; `ranked` is for searches among ranked documents."""


class Tree:
    """Evaluates trees before an Elasticsearch that answers so."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.engine = NumberAtTheEnd()
        self.upstream = ScriptedUpstream(self._answer)
        endpoints = local_endpoints({ENDPOINT: EndpointSettings(model="m")}, self.engine, 30.0)
        self.scorer = RankPhase(endpoints, 30.0, allow_failures=False)

    def _answer(self, method: str, target: str, body: Any) -> Reply | Awaitable[Reply]:
        if not target.startswith("/_search"):
            return refused("resource_not_found_exception", 404)
        answer = self.answers[looked_for(body)]
        return answer if isinstance(answer, Reply) else answer()

    async def evaluate(self, tree: Any) -> Found:
        run = Run(request(reranking()), self.upstream, InnerBytes(0), deadline=LATE, scores_by=LATE)
        retriever = read(tree)
        assert isinstance(retriever, CompoundRetriever)

        async def search(body: bytes) -> Reply:
            return await run.send("POST", "/_search", body)

        return await Evaluation(run, self.scorer, PIT, search).evaluate(retriever.with_filters())

    async def failure(self, tree: Any) -> ElasticsearchError:
        with pytest.raises(ElasticsearchError) as raised:
            await self.evaluate(tree)
        return raised.value

    @property
    def searches(self) -> list[Any]:
        return [body for _, target, body in self.upstream.sent if target == "/_search"]


def looked_for(body: Any) -> str:
    """The word of the `match` query somewhere in a body."""
    for word in "abc":
        if json.dumps({"match": {"text": word}}) in json.dumps(body):
            return word
    return "ranked"


def ranked(root: Found) -> list[tuple[str, float]]:
    return [(doc.id, doc.score) for doc in root.docs]


class TestSearches:
    async def test_a_leaf_is_searched_for_what_its_parents_need(self) -> None:
        tree = Tree({"a": found(hit("1", fields={"text": ["x 7"]}))})
        root = await tree.evaluate(reranker(rrf(A, rank_window_size=20), rank_window_size=5))
        assert tree.searches == [
            {
                "pit": {"id": "p"},
                "query": A["standard"]["query"],
                "size": 20,
                "sort": ["_score", {"_shard_doc": "asc"}],
                "track_total_hits": False,
                "_source": False,
                "fields": ["text"],
            }
        ]
        assert ranked(root) == [("1", 8.0)]
        assert [child.retriever.TYPE for child in root.children] == ["rrf"]
        assert [each.retriever.TYPE for each in root.children[0].children] == ["standard"]

    async def test_fields_of_several_rerankers_come_with_one_search(self) -> None:
        both = {"text": ["x 7"], "title": ["y 2"]}
        tree = Tree({"a": found(hit("1", fields=both), hit("2", fields={"title": ["z 3"]}))})
        root = await tree.evaluate(reranker(reranker(A, field="title"), field="text"))
        (search,) = tree.searches
        assert search["fields"] == ["text", "title"]
        assert tree.engine.asked == [["y 2", "z 3"], ["x 7"]]
        assert ranked(root) == [("1", 8.0)]
        assert ranked(root.children[0]) == [("2", 4.0), ("1", 3.0)]

    async def test_without_a_reader_no_field_is_asked_for(self) -> None:
        tree = Tree({"a": found(hit("1"))})
        await tree.evaluate(rrf(A))
        assert tree.searches[0]["fields"] == []

    async def test_a_text_may_come_from_whichever_search_found_it(self) -> None:
        tree = Tree({"a": found(hit("1")), "b": found(hit("1", fields={"text": ["x 7"]}))})
        assert ranked(await tree.evaluate(reranker(rrf(A, B)))) == [("1", 8.0)]

    async def test_a_vector_search(self) -> None:
        knn = {"knn": {"field": "v", "query_vector": [1], "k": 2, "num_candidates": 3}}
        tree = Tree({"ranked": found(hit("1"))})
        await tree.evaluate(rrf(knn, filter={"term": {"n": 1}}))
        (search,) = tree.searches
        assert search["knn"] == {**knn["knn"], "filter": [{"term": {"n": 1}}]}

    async def test_children_are_searched_at_the_same_time(self) -> None:
        waiting = 0
        all_there = asyncio.Event()

        async def together() -> Reply:
            nonlocal waiting
            waiting += 1
            if waiting == 3:
                all_there.set()
            await all_there.wait()
            return found(hit("1"))

        tree = Tree(dict.fromkeys("abc", together))
        await asyncio.wait_for(tree.evaluate(rrf(A, rrf(B, C))), TIMEOUT_S)

    async def test_what_is_given_up_gives_up_its_searches(self) -> None:
        begun, given_up = asyncio.Event(), asyncio.Event()

        async def never() -> Reply:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            raise AssertionError

        evaluation = asyncio.create_task(Tree({"a": never, "b": found()}).evaluate(rrf(rrf(A), B)))
        await asyncio.wait_for(begun.wait(), TIMEOUT_S)
        evaluation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await evaluation
        await asyncio.wait_for(given_up.wait(), TIMEOUT_S)

    async def test_a_reranker_with_no_window_is_refused_before_any_search(self) -> None:
        tree = Tree({})
        failure = await tree.failure(rrf(reranker(A, rank_window_size=0)))
        assert failure.status == 400
        assert failure.cause.reason == "Validation Failed: 1: [rank] requires [size] greater than [0];"
        assert tree.searches == []


class TestParents:
    """What retrievers make of their children's searches."""

    async def test_rrf_takes_each_childs_window(self) -> None:
        tree = Tree({"a": found(hit("1"), hit("2", shard_doc=1)), "b": found(hit("2", shard_doc=1))})
        root = await tree.evaluate(rrf(A, B, rank_window_size=2))
        assert [doc.id for doc in root.docs] == ["2", "1"]
        assert [search["size"] for search in tree.searches] == [2, 2]

    async def test_the_window_cuts_what_a_compound_child_found(self) -> None:
        hits = [hit(str(n), shard_doc=n) for n in range(5)]
        tree = Tree({"a": found(*hits)})
        root = await tree.evaluate(rrf(rrf(A, rank_window_size=5), rank_window_size=2))
        assert [doc.id for doc in root.docs] == ["0", "1"]
        assert len(root.children[0].docs) == 5

    @pytest.mark.parametrize(
        ("parent", "tracks"),
        [(linear(A), True), (retrievers.diversify(A), True), (rrf(A), None), (rescorer(A), None)],
    )
    async def test_who_reads_the_scores_of_a_sorted_child(self, parent: Any, tracks: bool | None) -> None:
        tree = Tree({"a": found(hit("1", 0.5, fields={"v": [1, 2]}))})
        root = await tree.evaluate(parent)
        assert tree.searches[0].get("track_scores") is tracks
        assert [doc.id for doc in root.docs] == ["1"]

    async def test_a_rescorer_searches_among_all_that_a_compound_child_ranked(self) -> None:
        tree = Tree({"a": found(hit("1"), hit("2", shard_doc=1)), "ranked": found(hit("2", 9.0))})
        root = await tree.evaluate(rescorer(rrf(A), {**retrievers.RESCORE, "window_size": 1}))
        _, search = tree.searches
        assert search["rescore"] == [{**retrievers.RESCORE, "window_size": 1}]
        assert search["size"] == 1
        (group,) = search["query"]["bool"]["should"]
        assert len(group["bool"]["should"]) == 2
        assert ranked(root) == [("2", 9.0)]

    async def test_a_rescorer_leaves_scores_of_pins_alone(self) -> None:
        tree = Tree({"a": found(hit("1", 1.7014122e38)), "ranked": found(hit("1", 3.0))})
        await tree.evaluate(rescorer(pinned(A)))
        assert '"boost": 1.7014122e+38' in json.dumps(tree.searches[1]["query"])

    async def test_pins_stand_above_a_leaf(self) -> None:
        tree = Tree({"a": found(hit("1"))})
        await tree.evaluate(pinned(A, ids=["7", "8"]))
        first, second, organic = tree.searches[0]["query"]["dis_max"]["queries"]
        assert [each["constant_score"]["boost"] for each in (first, second)] == [1.7014124e38, 1.7014122e38]
        assert organic == A["standard"]["query"]

    async def test_pins_stand_above_what_is_ranked_whatever_its_score(self) -> None:
        tree = Tree({"a": found(hit("1", 1.7014122e38)), "ranked": found(hit("7", 3.0))})
        await tree.evaluate(pinned(pinned(A), ids=["7"]))
        organic = tree.searches[1]["query"]["dis_max"]["queries"][-1]
        assert '"boost": 1.7014118e+38' in json.dumps(organic)

    @pytest.mark.parametrize(("parent", "searches"), [(pinned, 2), (retrievers.rule, 2), (rescorer, 1)])
    async def test_pins_and_rules_find_documents_where_the_child_found_none(
        self, parent: Callable[[Any], Any], searches: int
    ) -> None:
        tree = Tree({"a": found(), "ranked": found(hit("7"))})
        root = await tree.evaluate(parent(rrf(A)))
        assert len(tree.searches) == searches
        assert len(root.docs) == searches - 1

    async def test_rules_wrap_the_query(self) -> None:
        tree = Tree({"a": found(hit("1"))})
        await tree.evaluate(retrievers.rule(A))
        assert tree.searches[0]["query"] == {
            "rule": {"organic": A["standard"]["query"], "ruleset_ids": ["r"], "match_criteria": {"a": "b"}}
        }

    async def test_diversify_reads_vectors_and_keeps_scores(self) -> None:
        vectors = [[1, 0], [1, 0], [0, 1]]
        hits = [hit(str(n), 3.0 - n, shard_doc=n, fields={"v": vector}) for n, vector in enumerate(vectors)]
        tree = Tree({"a": found(*hits)})
        root = await tree.evaluate(retrievers.diversify(A, query_vector=[1, 0], size=2, **{"lambda": 0.1}))
        assert tree.searches[0]["fields"] == ["v"]
        assert ranked(root) == [("0", 3.0), ("2", 1.0)]

    async def test_vectors_of_different_dimensions_are_a_failure(self) -> None:
        tree = Tree({"a": found(hit("1", fields={"v": [1, 2, 3]}))})
        failure = await tree.failure(retrievers.diversify(A, query_vector=[1, 2]))
        assert failure.status == 400
        assert failure.cause.reason.startswith("[diversify] search failed - retrievers '[diversify]'")
        (cause,) = failure.cause.suppressed
        assert (cause.type, cause.reason) == ("illegal_argument_exception", "vector dimensions differ: 3!=2")


class TestFailures:
    async def test_all_leaves_that_fail_are_in_one_wrapper(self) -> None:
        tree = Tree({"a": shards_failed("first"), "b": found(hit("1")), "c": shards_failed("third", 503)})
        failure = await tree.failure(rrf(A, B, C))
        assert failure.status == 503
        assert "[rrf] search failed - retrievers '[standard, standard]'" in failure.cause.reason
        assert [each.caused_by and each.caused_by.reason for each in failure.cause.suppressed] == [
            "first",
            "third",
        ]

    async def test_a_compound_child_fails_in_its_own_name_before_leaves_do(self) -> None:
        tree = Tree({"a": shards_failed("leaf", 503), "b": shards_failed("inner")})
        failure = await tree.failure(rrf(A, linear(B)))
        assert failure.status == 400
        assert "[linear] search failed - retrievers '[standard]'" in failure.cause.reason
        (suppressed,) = failure.cause.suppressed
        assert suppressed.caused_by is not None
        assert suppressed.caused_by.reason == "inner"

    async def test_of_two_compound_children_the_first(self) -> None:
        tree = Tree({"a": shards_failed("first"), "b": shards_failed("second")})
        failure = await tree.failure(rrf(rescorer(A), linear(B)))
        assert "[rescorer] search failed" in failure.cause.reason

    @pytest.mark.parametrize(
        ("child", "name"),
        [(A, "standard"), (rrf(A), "rank_docs_retriever"), (pinned(A), "rank_docs_retriever")],
    )
    async def test_a_failed_rank_phase(self, child: Any, name: str) -> None:
        tree = Tree({"a": found(hit("1", fields={"text": ["x 1"]}))})
        failure = await tree.failure(reranker(child, inference_id="nope"))
        assert failure.status == 404
        assert f"[{RERANKER}] search failed - retrievers '[{name}]'" in failure.cause.reason
        (phase,) = failure.cause.suppressed
        assert phase.reason == "Computing updated ranks for results failed"

    async def test_a_search_among_ranked_documents_that_fails(self) -> None:
        tree = Tree({"a": found(hit("1")), "ranked": shards_failed("rescoring")})
        failure = await tree.failure(rescorer(rrf(A)))
        assert "[rescorer] search failed - retrievers '[rank_docs_retriever]'" in failure.cause.reason

    @pytest.mark.parametrize(("status", "searches"), [(429, 1), (503, 1), (400, 2), (500, 2)])
    async def test_a_search_that_fails_without_fields_too_is_made_twice_at_most(
        self, status: int, searches: int
    ) -> None:
        """And once where it may be load that it failed for."""
        tree = Tree({"a": shards_failed("leaf", status)})
        failure = await tree.failure(reranker(A))
        assert failure.status == status
        (suppressed,) = failure.cause.suppressed
        assert suppressed.caused_by is not None
        assert (suppressed.caused_by.reason, suppressed.metadata["phase"]) == ("leaf", "query")
        assert [search["fields"] for search in tree.searches] == [["text"], []][:searches]

    async def test_what_upstream_does_not_begin_is_its_own_answer(self) -> None:
        """Also beside a leaf that failed: native finds those first."""
        tree = Tree({"a": shards_failed("leaf"), "b": refused()})
        with pytest.raises(UpstreamRefusedError) as raised:
            await tree.evaluate(rrf(A, B))
        assert raised.value.reply == refused()

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"hits":{"hits":[{}]}}'])
    async def test_what_is_no_answer_to_a_search(self, body: bytes) -> None:
        failure = await Tree({"a": Reply(200, (), body)}).failure(rrf(A))
        assert failure.status == 502

    async def test_all_children_have_ended_when_one_fails(self) -> None:
        ended = False

        async def slow() -> Reply:
            nonlocal ended
            for _ in range(5):
                await asyncio.sleep(0)
            ended = True
            return found()

        await Tree({"a": shards_failed("x"), "b": slow}).failure(rrf(A, B))
        assert ended
