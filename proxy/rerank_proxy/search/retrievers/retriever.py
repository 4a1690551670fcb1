"""The interface of retrievers to the phases of a search, and the state of a retriever that was evaluated.

A retriever is a leaf, which is evaluated by one search upstream, or compound: it combines the ranked lists of
its children into one (``CompoundRetrieverBuilder``). Query clauses are opaque: they stay exactly as the
client wrote them.

The phases, in the order in which they call a retriever:

1. `parse` reads it (``#fromXContent``), and `failures` validates it in the request (``#validate``).
2. `check_rewrite` refuses what native refuses when it rewrites the tree, `expanded` replaces the simplified
   form, and `with_filters` moves filters to the leaves (``#rewrite``).
3. `clauses` of a leaf make its search. A parent may change them (`altered`), search once more for the
documents
   of a compound child (`searched_again`), and rank what it takes from a child (`take`). `combine` makes one
   list of those of all children.
4. `matches` are the queries for what it contributes to the final search beside its ranked documents
   (``#topDocsQuery``).
5. `explain` explains the score of a document.

Abstract methods differ from retriever to retriever, and the type check refuses a class in `types` that lacks
one. The others implement native's defaults.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import Float32s
from rerank_proxy.search.retrievers.explanations import Detail, Explanation, Source, rank_doc
from rerank_proxy.search.retrievers.grammar import Nesting
from rerank_proxy.search.retrievers.queries import array, boolean
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.source import Node

_REFERENCE: Final = 8
"""The bytes of a clause's place in a tuple, which count if there are a hundred thousand short clauses."""

Key = tuple[str, str]
"""The index and the id of a document."""
Hit = dict[str, bytes]
"""The members of a hit, as upstream printed them."""
Windows = Mapping[str, int]
"""The number of words that the model of an inference endpoint reads, for each endpoint that a search used."""


@dataclass(frozen=True, slots=True)
class IndexGroup:
    """Indices with the same `semantic_text` fields.

    Attributes:
        semantic: The names of these fields.
        indices: Empty for all indices that are searched.
    """

    semantic: frozenset[str]
    indices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever(ABC):
    """A node of the tree.

    Attributes:
        filters: Queries that narrow its search or, for a compound retriever, those of all leaves below.
        min_score: None also where Elasticsearch ignores it: the builders of `rescorer`, `rrf`, `pinned`,
            `rule` and `diversify` do not pass it on when they are cloned, and they always are.
        name: The `_name`, which `diversify` ignores, too.
    """

    TYPE: ClassVar[str]

    filters: tuple[bytes, ...] = ()
    min_score: float | None = None
    name: str | None = None

    # The tree

    @property
    @abstractmethod
    def children(self) -> "tuple[Retriever, ...]":
        """The retrievers directly below, in the order of the request."""

    def walk(self) -> "Iterator[Retriever]":
        """Yield the retriever and all below it, parents first, in the order of the request."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    @abstractmethod
    def effective_min_score(self) -> float | None:
        """The `min_score` of a search with it at the top (``CompoundRetrieverBuilder#rewrite``)."""

    # 1. Reading and validating

    @classmethod
    @abstractmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        """Parse a retriever from the value of its key.

        Args:
            nesting: The level of the tree that the retriever is on.

        Raises:
            ParseError: It is not valid; the message is Elasticsearch's.
        """

    @abstractmethod
    def failures(self, size: int | None, *, scrolls: bool) -> Iterator[str]:
        """Yield what is wrong with it and those below it in this request (``RetrieverBuilder#validate``).

        Args:
            size: The number of hits asked for; None if the request does not name it.
            scrolls: Whether the request asks for a scroll.
        """

    @property
    def scored_window(self) -> int:
        """How many documents it may have a model score."""
        return 0

    # 2. Rewriting

    @abstractmethod
    def check_rewrite(self, inherited: tuple[bytes, ...] = ()) -> None:
        """Refuse what native refuses when it rewrites the tree: after validation, before any search.

        Children are checked before their parents, and the first fault ends the request.

        Args:
            inherited: The filters of the parents.

        Raises:
            ElasticsearchError: 400.
        """

    @property
    def sort(self) -> bytes | None:
        """The order of its search if that is not by score, for parents that change its query."""
        return None

    @property
    def collapses(self) -> bool:
        """Whether its search collapses: keeps one hit for each value of a field."""
        return False

    @abstractmethod
    def has_query(self, filters: tuple[bytes, ...]) -> bool:
        """Return whether its search has a `query`, given the filters of its parents."""

    def expanded(self, groups: Sequence[IndexGroup]) -> Self:
        """Return the retriever with others in place of the simplified form.

        Args:
            groups: The indices that are searched.
        """
        return self

    @abstractmethod
    def with_filters(self, inherited: tuple[bytes, ...] = ()) -> Self:
        """Return the tree with all filters moved to the leaves (``CompoundRetrieverBuilder#rewrite``)."""

    @abstractmethod
    def clauses_size(self, inherited: int = 0) -> int:
        """Return the total size in bytes of the clauses in the searches of all leaves.

        Each filter counts once for every leaf below it (`with_filters`), and so do the names of fields that
        are read.

        Args:
            inherited: Bytes that the search of each leaf has from elsewhere.
        """

    def _own_size(self, inherited: int) -> int:
        return inherited + sum(len(clause) + _REFERENCE for clause in self.filters)

    # 3. Evaluating

    @property
    @abstractmethod
    def stands_for_its_results(self) -> bool:
        """Whether the final search uses the documents that it found instead of running its query again."""

    @property
    @abstractmethod
    def failure_name(self) -> str:
        """The name that native has for it in failures; for a compound one that of its ranked documents."""

    @abstractmethod
    def first(self, docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
        """Return those of its documents that a parent with this rank window takes."""

    # 4. The final search

    @abstractmethod
    def matches(self, evaluated: "EvaluatedRetriever", below: Sequence[bytes]) -> list[bytes]:
        """Return queries for all its matches, ranked or not (``RetrieverBuilder#topDocsQuery``).

        Args:
            evaluated: The retriever with its documents.
            below: The queries of its children.
        """

    # 5. Explaining

    @abstractmethod
    def explain(self, explained: "ExplainedRetriever", key: Key, boost: float) -> Detail | None:
        """Return its explanation of a document; None if it did not find it.

        Args:
            explained: The retriever with its documents and what upstream explains.
            boost: The boost of the document's index, which only leaves take into account.
        """

    def print_doc(self, doc: RankDoc, rank: int, windows: Windows) -> str:
        """Print a ranked document of its list as ``RankDoc#toString`` does.

        Args:
            rank: From 1.
        """
        shard, number = divmod(doc.shard_doc or 0, 1 << 32)
        score = print_float(doc.score).decode()
        return f"RankDoc{{_rank={rank}, _doc={number}, _shard={shard}, _score={score}}}"

    def doc_as_json(self, doc: RankDoc, rank: int, windows: Windows) -> dict[str, Any]:
        """Return a ranked document of its list in JSON, as ``RankDoc#toXContent`` does."""
        shard, number = divmod(doc.shard_doc or 0, 1 << 32)
        score = float(print_float(doc.score))
        return {"_rank": rank, "_doc": number, "_shard": shard, "_score": score}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRetriever(Retriever):
    """A retriever that is evaluated by one search upstream."""

    @property
    def children(self) -> tuple[Retriever, ...]:
        return ()

    @property
    def effective_min_score(self) -> float | None:
        return self.min_score

    def failures(self, size: int | None, *, scrolls: bool) -> Iterator[str]:
        return iter(())

    def with_filters(self, inherited: tuple[bytes, ...] = ()) -> Self:
        return replace(self, filters=(*self.filters, *inherited))

    @property
    def failure_name(self) -> str:
        return self.TYPE

    def first(self, docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
        return docs[:window]

    @abstractmethod
    def clauses(self) -> dict[str, bytes]:
        """Return the members of a search body that evaluate it."""

    @abstractmethod
    def one_search_clauses(self) -> Sequence[bytes] | None:
        """Return the clauses of its search; None if it always needs a final search after it."""

    @abstractmethod
    def explainable(self, docs: Sequence[RankDoc]) -> bytes | None:
        """Return the query that upstream has to explain for it; None if there is none.

        Args:
            docs: The documents that it found.
        """


@dataclass(frozen=True, slots=True)
class EvaluatedRetriever:
    """A retriever with the documents that it found.

    Attributes:
        docs: Best first; at most as many as its rank window or, for a leaf, its parent's.
        children: In the order of the request.
    """

    retriever: Retriever
    docs: Sequence[RankDoc] = ()
    children: "tuple[EvaluatedRetriever, ...]" = ()

    def all(self) -> Iterator["EvaluatedRetriever"]:
        """Yield the retriever and all below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def first(self, window: int) -> Sequence[RankDoc]:
        """Return those of its documents that a parent with this rank window takes."""
        return self.retriever.first(self.docs, window)

    def matches(self) -> list[bytes]:
        """Return queries for all documents that it matches, ranked or not."""
        below = [each for child in self.children for each in child.named_matches()]
        return self.retriever.matches(self, below)

    def named_matches(self) -> list[bytes]:
        """Return the queries of `matches`, combined under the name of a compound retriever if it has one."""
        matches, name = self.matches(), self.retriever.name
        if not self.children or name is None:
            return matches
        return [boolean({"should": array(matches)}, name)] if matches else []


@dataclass(slots=True)
class ExplainedRetriever:
    """An evaluated retriever with upstream's explanations.

    Attributes:
        hits: For a leaf, documents with upstream's explanations of its query or of its filters.
        ranks: The places of its documents in its list, from 0.
        normalized: For `linear`, the normalised scores of each child, once they are needed.
    """

    evaluated: EvaluatedRetriever
    children: "Sequence[ExplainedRetriever]"
    hits: Mapping[Key, Hit]
    ranks: Mapping[Key, int] = field(init=False)
    normalized: Sequence[Float32s] | None = None

    def __post_init__(self) -> None:
        self.ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(self.evaluated.docs)}

    def all(self) -> Iterator["ExplainedRetriever"]:
        """Yield the retriever and all below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def explain(self, key: Key, boost: float) -> Detail | None:
        """Return the explanation of a document; None if the retriever did not find it."""
        return self.evaluated.retriever.explain(self, key, boost)

    def doc(self, key: Key) -> RankDoc | None:
        """Return a document of its list; None if it is not in there."""
        rank = self.ranks.get(key)
        return None if rank is None else self.evaluated.docs[rank]

    def rank(self, key: Key, window: int) -> int | None:
        """Return the rank of a document among the first `window`, from 1; None if it is not among them."""
        rank = self.ranks.get(key)
        return None if rank is None or rank >= window else rank + 1

    def sources(self, key: Key, boost: float) -> list[Source]:
        """Return the explanation of a document by each child."""
        return [Source(child.explain(key, boost), child.evaluated.retriever.name) for child in self.children]

    def rank_doc(
        self,
        key: Key,
        boost: float,
        *,
        at: "ExplainedRetriever | None" = None,
        details: Sequence[Detail] | None = None,
    ) -> Explanation | None:
        """Return the general explanation of a document; None if the retriever did not find it.

        Args:
            at: The retriever in whose list the rank counts; by default this one.
            details: The nodes below; by default the explanations of its children.
        """
        doc = self.doc(key)
        if doc is None:
            return None
        if details is None:
            explanations = (source.explanation for source in self.sources(key, boost))
            details = [each for each in explanations if each is not None]
        return rank_doc(doc.shard_doc or 0, doc.score, (at or self).ranks[key] + 1, details)
