"""What an evaluated tree matches beside its ranked documents, and where its filters act."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.inner.matches import explainable, highlightable, tail
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers import queries
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.fusing import Component
from rerank_proxy.search.retrievers.knn import KnnRetriever
from rerank_proxy.search.retrievers.linear import LinearRetriever
from rerank_proxy.search.retrievers.pinned import PinnedDoc, PinnedRetriever
from rerank_proxy.search.retrievers.rescorer import RescorerRetriever
from rerank_proxy.search.retrievers.retriever import Found, LeafRetriever, Retriever
from rerank_proxy.search.retrievers.rrf import RrfRetriever
from rerank_proxy.search.retrievers.rule import RuleRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker

DOCS = (RankDoc("films", "1", 0, score=2.0), RankDoc("films", "2", 1, score=1.0))
ANY_OF_DOCS = {
    "bool": {
        "should": [{"bool": {"filter": [{"term": {"_index": "films"}}, {"ids": {"values": ["1", "2"]}}]}}]
    }
}
FILTER = b'{"term":{"a":1}}'


def match(word: str) -> Any:
    return {"match": {"text": word}}


def standard(word: str, **options: Any) -> StandardRetriever:
    return StandardRetriever(query=json.dumps(match(word)).encode(), **options)


def knn(**options: Any) -> KnnRetriever:
    return KnnRetriever(section={"field": b'"v"'}, k=2, num_candidates=2, **options)


def reranker(child: Retriever, **options: Any) -> TextSimilarityReranker:
    return TextSimilarityReranker(child=child, field="text", inference_text="q", **options)


def rescorer(child: Retriever, **options: Any) -> RescorerRetriever:
    return RescorerRetriever(child=child, rescore=(b"{}",), **options)


def rrf(*children: Retriever, **options: Any) -> RrfRetriever:
    return RrfRetriever(components=tuple(Component(retriever=each) for each in children), **options)


def evaluated(retriever: Retriever) -> Found:
    """As if each retriever of the tree had found the same two documents."""
    return Found(retriever, DOCS, tuple(map(evaluated, retriever.children)))


class TestTail:
    def tail(self, retriever: Retriever) -> Any:
        return json.loads(tail(evaluated(retriever)))

    def test_of_one_leaf_is_its_query(self) -> None:
        assert self.tail(reranker(standard("a"))) == match("a")
        filtered = reranker(rescorer(standard("a", filters=(FILTER,), name="n")))
        assert self.tail(filtered) == {"bool": {"filter": [match("a"), json.loads(FILTER)], "_name": "n"}}

    def test_reaches_down_to_every_leaf(self) -> None:
        tree = reranker(rrf(standard("a"), rescorer(rrf(standard("b"), standard("c")))))
        assert self.tail(tree) == {"bool": {"should": [match("a"), match("b"), match("c")]}}

    def test_compound_retrievers_have_their_names_from_the_second_level_on(self) -> None:
        tree = reranker(rescorer(rescorer(standard("a"), name="second"), name="first"), name="root")
        assert self.tail(tree) == {"bool": {"should": [match("a")], "_name": "second"}}

    def test_a_vector_search_stands_for_what_it_returned(self) -> None:
        rank_docs = json.loads(queries.rank_docs(DOCS))
        assert self.tail(reranker(knn())) == {"bool": {"must": [rank_docs]}}
        named = self.tail(rrf(standard("a"), knn(name="vector")))
        assert named["bool"]["should"] == [match("a"), {"bool": {"must": [rank_docs], "_name": "vector"}}]

    def test_a_vector_search_that_returned_nothing_keeps_the_names_of_its_filters(self) -> None:
        leaf = knn(filters=(FILTER,))
        assert json.loads(tail(Found(reranker(leaf), (), (Found(leaf),)))) == {
            "bool": {"must": [json.loads(queries.rank_docs(()))], "filter": [json.loads(FILTER)]}
        }

    def test_pins_match_beside_what_is_found(self) -> None:
        pins = (PinnedDoc(id="7"), PinnedDoc(id="8", index="films"))
        assert self.tail(PinnedRetriever(child=standard("a"), docs=pins)) == {
            "bool": {
                "should": [
                    {"ids": {"values": ["7"]}},
                    {"bool": {"filter": [{"term": {"_index": "films"}}, {"ids": {"values": ["8"]}}]}},
                    match("a"),
                ]
            }
        }

    def test_rules_act_in_the_tail_too(self) -> None:
        rule = RuleRetriever(
            child=rrf(standard("a"), standard("b")), ruleset_ids=b'["r"]', match_criteria=b'{"x":"y"}'
        )
        assert self.tail(reranker(rule)) == {
            "rule": {
                "organic": {"bool": {"should": [match("a"), match("b")]}},
                "ruleset_ids": ["r"],
                "match_criteria": {"x": "y"},
            }
        }


class TestHighlightable:
    TREE = rrf(standard("a"), knn(), reranker(standard("b")))

    def test_all_leaves(self) -> None:
        found = evaluated(self.TREE)
        assert [*highlightable(found, explains=False)] == [tail(found)]

    def test_of_what_explains_only_those_right_below(self) -> None:
        shown = [json.loads(each) for each in highlightable(evaluated(self.TREE), explains=True)]
        assert shown == [match("a"), json.loads(tail(evaluated(knn())))]


class TestExplainable:
    def explainable(self, retriever: CompoundRetriever) -> Any:
        return json.loads(explainable(evaluated(retriever)))

    @pytest.mark.parametrize("leaf", [standard("a"), knn(name="n")])
    def test_of_leaves_is_the_tail(self, leaf: LeafRetriever) -> None:
        assert self.explainable(reranker(leaf)) == json.loads(tail(evaluated(leaf)))

    def test_of_a_compound_retriever_only_what_it_ranked(self) -> None:
        assert self.explainable(reranker(rescorer(standard("a"), name="inner"))) == {
            "bool": {
                "filter": [ANY_OF_DOCS],
                "should": [match("a")],
                "minimum_should_match": 0,
                "_name": "inner",
            }
        }

    def test_the_queries_below_take_part_at_every_depth(self) -> None:
        """For the names in them."""
        query = self.explainable(reranker(rescorer(rrf(standard("a"), rescorer(standard("b"))))))
        below = query["bool"]["should"][0]["bool"]
        assert below["filter"] == [ANY_OF_DOCS]
        leaf, compound = below["should"][0]["bool"]["should"]
        assert leaf == match("a")
        assert compound["bool"]["should"] == [match("b")]


def test_names_in_failures() -> None:
    assert Found(standard("a")).retriever.failure_name == "standard"
    assert Found(knn()).retriever.failure_name == "knn"
    assert Found(reranker(knn())).retriever.failure_name == "rank_docs_retriever"


filters = st.lists(st.integers(0, 99).map(lambda n: b'{"term":{"n":%d}}' % n), max_size=3).map(tuple)
leaves = st.builds(standard, st.sampled_from("abc"), filters=filters) | st.builds(knn, filters=filters)


def compounds(children: st.SearchStrategy[Retriever]) -> st.SearchStrategy[Retriever]:
    components = st.lists(children.map(lambda child: Component(retriever=child)), min_size=1, max_size=3)
    return (
        st.builds(reranker, children, filters=filters)
        | st.builds(rescorer, children, filters=filters)
        | st.builds(RrfRetriever, components=components.map(tuple), filters=filters)
        | st.builds(LinearRetriever, components=components.map(tuple), filters=filters)
    )


trees = st.recursive(leaves, compounds, max_leaves=6)


def expected(retriever: Retriever, inherited: tuple[bytes, ...] = ()) -> list[tuple[bytes, ...]]:
    """The filters of each leaf: its own, then those of the retrievers above it, the nearest first."""
    own = (*retriever.filters, *inherited)
    if isinstance(retriever, LeafRetriever):
        return [own]
    return [each for child in retriever.children for each in expected(child, own)]


@given(compounds(trees))
def test_filters_reach_each_leaf_once_and_act_nowhere_else(tree: CompoundRetriever) -> None:
    narrowed = [*tree.with_filters().walk()]
    assert [each.filters for each in narrowed if isinstance(each, LeafRetriever)] == expected(tree)
    assert not any(each.filters for each in narrowed if not isinstance(each, LeafRetriever))
    assert [each.TYPE for each in narrowed] == [each.TYPE for each in tree.walk()]


def test_nothing_but_filters_changes() -> None:
    weighted = Component(retriever=standard("a"), weight=2.5, normalizer="minmax")
    tree = LinearRetriever(components=(weighted,), filters=(FILTER,), min_score=0.5, name="n")
    narrowed = tree.with_filters()
    assert narrowed == LinearRetriever(
        components=(Component(retriever=standard("a", filters=(FILTER,)), weight=2.5, normalizer="minmax"),),
        min_score=0.5,
        name="n",
    )
