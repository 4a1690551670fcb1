"""The simplified form of fusing retrievers: which retrievers stand in its place."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.fusing import Component
from rerank_proxy.search.retrievers.linear import LinearRetriever
from rerank_proxy.search.retrievers.retriever import Retriever
from rerank_proxy.search.retrievers.rrf import RrfRetriever
from rerank_proxy.search.retrievers.simplified import Mappings, expanded
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker

PLAIN = {"properties": {"title": {"type": "text"}, "body": {"type": "text"}}}
SEMANTIC = {
    "properties": {
        "title": {"type": "text"},
        "sem": {"type": "semantic_text", "inference_id": "e"},
        "deep": {"properties": {"sem": {"type": "semantic_text"}, "n": {"type": "long"}}},
        "multi": {"type": "text", "fields": {"k": {"type": "keyword"}}},
    }
}


def rrf(*fields: str, **options: Any) -> RrfRetriever:
    return RrfRetriever(query="crime", fields=fields or None, **options)


def linear(*fields: str, **options: Any) -> LinearRetriever:
    return LinearRetriever(query="crime", fields=fields or None, **{"normalizer": "minmax", **options})


async def expand(tree: CompoundRetriever, index: str | None = "films", **mappings: Any) -> CompoundRetriever:
    async def look_up() -> Mappings:
        return {name: {"mappings": mapping} for name, mapping in mappings.items()}

    return await expanded(tree, look_up, index)


async def components(tree: RrfRetriever | LinearRetriever, **mappings: Any) -> Sequence[Component]:
    found = await expand(tree, **mappings)
    assert isinstance(found, type(tree))
    assert (found.query, found.fields) == (None, None)
    return found.components


def query(component: Component) -> Any:
    retriever = component.retriever
    assert isinstance(retriever, StandardRetriever)
    return json.loads(retriever.query or b"null")


def by_words(fields: Sequence[str] | None) -> Any:
    options = {} if fields is None else {"fields": [*fields]}
    return {"multi_match": {"query": "crime", "type": "most_fields", **options}}


def match(field: str) -> Any:
    return {"match": {field: {"query": "crime"}}}


class TestWithoutSemanticFields:
    @pytest.mark.parametrize("fields", [(), ("title",), ("title^2", "bo*", "body^0.5")])
    async def test_there_is_one_multi_match(self, fields: tuple[str, ...]) -> None:
        (only,) = await components(rrf(*fields), films=PLAIN)
        assert query(only) == by_words(fields or None)
        assert only.retriever.filters == ()
        assert (only.weight, only.normalizer) == (1.0, "none")

    async def test_linear_normalises_it(self) -> None:
        (only,) = await components(linear("title"), films=PLAIN)
        assert only.normalizer == "minmax"

    @pytest.mark.parametrize(
        "mappings", [{}, {"a": {}, "b": {}}, {"a": PLAIN, "b": PLAIN}, {"a": PLAIN, "b": {"properties": {}}}]
    )
    async def test_also_over_several_indices(self, mappings: dict[str, Any]) -> None:
        (only,) = await components(rrf("title"), **mappings)
        assert query(only) == by_words(["title"])
        assert only.retriever.filters == ()


class TestSemanticFields:
    async def test_words_and_meaning_are_a_pair(self) -> None:
        """The latter in a retriever of the same type, less name, filters and `min_score`."""
        tree = rrf("title", "sem^3", rank_constant=7, rank_window_size=20, name="n", filters=(b"{}",))
        words, meaning = await components(tree, films=SEMANTIC)
        of_sem = StandardRetriever(query=b'{"match":{"sem":{"query":"crime"}}}')
        assert query(words) == by_words(["title"])
        assert meaning.weight == 1.0
        assert meaning.retriever == RrfRetriever(
            rank_constant=7,
            rank_window_size=20,
            components=(Component(retriever=of_sem, weight=3.0),),
        )

    async def test_of_linear(self) -> None:
        words, meaning = await components(linear("title", "sem", min_score=0.5), films=SEMANTIC)
        assert (words.normalizer, meaning.normalizer) == ("minmax", "minmax")
        assert isinstance(meaning.retriever, LinearRetriever)
        assert meaning.retriever.min_score is None
        assert [each.normalizer for each in meaning.retriever.components] == ["minmax"]

    async def matched(self, *fields: str) -> tuple[list[Any], dict[str, float]]:
        """The lexical queries, and the semantic fields with their weights."""
        lexical, weights = [], {}
        for each in await components(rrf(*fields), films=SEMANTIC):
            if isinstance(each.retriever, StandardRetriever):
                lexical.append(query(each))
                continue
            assert isinstance(each.retriever, RrfRetriever)
            for component in each.retriever.components:
                ((field, _),) = query(component)["match"].items()
                assert query(component) == match(field)
                weights[field] = component.weight
        return lexical, weights

    async def test_only_semantic_fields(self) -> None:
        assert await self.matched("sem", "deep.sem^2") == ([], {"sem": 1.0, "deep.sem": 2.0})

    async def test_weights_of_all_patterns_that_find_one_multiply(self) -> None:
        lexical, weights = await self.matched("sem^2", "s*^3", "sem^0.5", "*^2")
        assert weights == {"sem": 2 * 3 * 0.5 * 2, "deep.sem": 2.0}
        assert lexical == [by_words(["s*^3", "*^2"])]  # a pattern finds other fields too

    async def test_default_fields_are_all(self) -> None:
        assert await self.matched() == ([by_words(None)], {"sem": 1.0, "deep.sem": 1.0})

    @pytest.mark.parametrize("pattern", ["se?", "s[e]m", "SEM", "deep", "sem.*"])
    async def test_only_stars_are_patterns(self, pattern: str) -> None:
        assert await self.matched(pattern) == ([by_words([pattern])], {})

    async def test_indices_that_differ_get_a_pair_each(self) -> None:
        mappings = {"a": PLAIN, "b": SEMANTIC, "c": PLAIN}
        first, second, third = await components(rrf("title", "sem"), **mappings)
        of_plain, of_semantic = b'{"terms":{"_index":["a","c"]}}', b'{"terms":{"_index":["b"]}}'
        assert query(first) == by_words(["title", "sem"])
        assert first.retriever.filters == (of_plain,)
        assert query(second) == by_words(["title"])
        assert second.retriever.filters == (of_semantic,)
        assert isinstance(third.retriever, RrfRetriever)
        (inner,) = third.retriever.components
        assert query(inner) == match("sem")
        assert inner.retriever.filters == (of_semantic,)


class TestTrees:
    async def test_the_form_is_found_at_any_depth(self) -> None:
        tree = TextSimilarityReranker(
            field="t",
            inference_text="q",
            child=RrfRetriever(components=(Component(retriever=linear("title"), weight=2.0),)),
        )
        found = await expand(tree, films=PLAIN)
        assert isinstance(found, TextSimilarityReranker)
        assert isinstance(found.child, RrfRetriever)
        (component,) = found.child.components
        assert component.weight == 2.0
        assert isinstance(component.retriever, LinearRetriever)
        assert query(component.retriever.components[0]) == by_words(["title"])

    async def test_other_trees_are_left_alone_and_nothing_is_asked(self) -> None:
        async def look_up() -> Mappings:
            raise AssertionError("nothing to be asked")

        leaf: Retriever = StandardRetriever()
        tree = RrfRetriever(components=(Component(retriever=leaf),))
        assert await expanded(tree, look_up, "remote:films") is tree

    @pytest.mark.parametrize("index", ["remote:films", "a,remote:films", "remote%3Afilms", "*:f"])
    async def test_indices_of_another_cluster(self, index: str) -> None:
        with pytest.raises(ElasticsearchError) as raised:
            await expand(TextSimilarityReranker(field="t", inference_text="q", child=linear()), index)
        assert raised.value.status == 400
        assert raised.value.cause.reason == "[linear] cannot specify [query] when querying remote indices"

    @pytest.mark.parametrize("index", [None, "films", "<films-{now/d{yyyy.MM.dd|+12:00}}>"])
    async def test_indices_of_this_one(self, index: str | None) -> None:
        await expand(linear(), index)


@given(st.text(max_size=8), st.lists(st.text(min_size=1, max_size=5).filter(lambda name: "^" not in name)))
async def test_any_text_makes_json(text: str, fields: list[str]) -> None:
    tree = RrfRetriever(query=text, fields=tuple(fields) or None)
    (only,) = await components(tree, films=PLAIN)
    assert query(only)["multi_match"].get("fields", []) == fields
    assert query(only)["multi_match"]["query"] == text
