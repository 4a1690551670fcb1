"""What a retriever has to say in each phase of a search, and what is known of it once it was evaluated.

A retriever is a leaf, which one search upstream answers, or compound: it makes a ranked list of documents out
of its children's (``CompoundRetrieverBuilder``). Query clauses stay bytes, exactly as the client wrote them.

The phases, in the order in which they call a retriever:

1. `parse` reads it (``#fromXContent``), and `failures` says what is wrong with it in the request
   (``#validate``).
2. `check_rewrite` refuses what native refuses when it rewrites the tree, `expanded` replaces the simplified
   form, and `with_filters` moves filters to the leaves (``#rewrite``).
3. `clauses` of a leaf are searched for; a parent may alter them (`altered`), search once more for what a
   compound child found (`searched_again`), and rank what it takes (`take`). `combine` makes one list of all
   children's.
4. `matches` is what it stands for in the final search, beside its ranked documents (``#topDocsQuery``).
5. `explain` says how a document came by its score.

What is abstract here differs from retriever to retriever: one that lacks it cannot be listed in `types`,
which the type check refuses. What is not has native's own default.
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
"""Bytes for the place of a clause in a tuple: there may be a hundred thousand short ones."""

Key = tuple[str, str]
"""The index and the id of a document."""
Hit = dict[str, bytes]
"""The members of a hit, as upstream printed them."""
Windows = Mapping[str, int]
"""How many words the models of inference endpoints read, for the endpoints that this search asked for."""


@dataclass(frozen=True, slots=True)
class IndexGroup:
    """Indices with the same `semantic_text` fields; without `indices`, all that are searched."""

    semantic: frozenset[str]
    indices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever(ABC):
    """A node of the tree.

    Attributes:
        filters: For a compound retriever those of its children, recursively.
        min_score: None too where Elasticsearch forgets it: the builders of `rescorer`, `rrf`, `pinned`,
            `rule` and `diversify` do not pass it on when they are cloned, and they always are.
        name: `_name`. `diversify` forgets this as well.
    """

    TYPE: ClassVar[str]

    filters: tuple[bytes, ...] = ()
    min_score: float | None = None
    name: str | None = None

    # The tree

    @property
    @abstractmethod
    def children(self) -> "tuple[Retriever, ...]":
        """Return the retrievers below, in the order of the request."""

    def walk(self) -> "Iterator[Retriever]":
        """Yield the retriever and all below it, parents first, in the order of the request."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    @abstractmethod
    def effective_min_score(self) -> float | None:
        """Return what a search with this as its only retriever filters by
        (``CompoundRetrieverBuilder#rewrite``).
        """

    # 1. Reading and validating

    @classmethod
    @abstractmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        """Read a retriever from the value of its key.

        Args:
            nesting: The level that the retriever is on.

        Raises:
            ParseError: It is not one, in Elasticsearch's words.
        """

    @abstractmethod
    def failures(self, size: int | None, *, scrolls: bool) -> Iterator[str]:
        """Yield what is wrong with it and all below it in this request (``RetrieverBuilder#validate``).

        Args:
            size: Hits asked for; None when the request does not name it.
            scrolls: Whether the request asks for a scroll.
        """

    # 2. Rewriting

    @abstractmethod
    def check_rewrite(self, inherited: tuple[bytes, ...] = ()) -> None:
        """Refuse what native finds wrong when it rewrites the tree: after validation, before any search.

        Children come before their parents, and the first fault ends the request.

        Args:
            inherited: The filters of the parents.

        Raises:
            ElasticsearchError: 400.
        """

    @property
    def sort(self) -> bytes | None:
        """Return its own order, as a parent that searches around it must know it; None for scores."""
        return None

    @property
    def collapses(self) -> bool:
        """Tell whether its search keeps one hit for each value of a field."""
        return False

    @abstractmethod
    def has_query(self, filters: tuple[bytes, ...]) -> bool:
        """Tell whether its search has a `query`, given the filters of its parents."""

    def expanded(self, groups: Sequence[IndexGroup]) -> Self:
        """Return it with retrievers in place of the simplified form.

        Args:
            groups: The searched indices.
        """
        return self

    @abstractmethod
    def with_filters(self, inherited: tuple[bytes, ...] = ()) -> Self:
        """Return it with all filters at the leaves, where they act (``CompoundRetrieverBuilder#rewrite``)."""

    @abstractmethod
    def clauses_size(self, inherited: int = 0) -> int:
        """Return the bytes of which the searches of all leaves will be made: each filter once for every leaf
        below it (`with_filters`), and so for the names of the fields that are read.

        Args:
            inherited: What each leaf has from elsewhere.
        """

    def _own_size(self, inherited: int) -> int:
        return inherited + sum(len(clause) + _REFERENCE for clause in self.filters)

    # 3. Evaluating

    @property
    @abstractmethod
    def failure_name(self) -> str:
        """Return what native calls it in failures: a compound one has become its documents by then."""

    @abstractmethod
    def first(self, docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
        """Return what a parent with this window takes of its documents."""

    # 4. The final search

    @abstractmethod
    def matches(self, found: "Found", below: Sequence[bytes]) -> list[bytes]:
        """Return the queries for all documents that it stands for (``RetrieverBuilder#topDocsQuery``).

        Args:
            found: What it found.
            below: Its children's.
        """

    # 5. Explaining

    @abstractmethod
    def explain(self, told: "Explained", key: Key, boost: float) -> Detail | None:
        """Return what it says of a document; None where it did not find it.

        Args:
            boost: Of the document's index, which only leaves know.
        """

    def print_doc(self, doc: RankDoc, rank: int, windows: Windows) -> str:
        """Return a ranked document of its list as ``RankDoc#toString`` prints it.

        Args:
            rank: From 1.
        """
        shard, number = divmod(doc.shard_doc or 0, 1 << 32)
        score = print_float(doc.score).decode()
        return f"RankDoc{{_rank={rank}, _doc={number}, _shard={shard}, _score={score}}}"

    def doc_as_json(self, doc: RankDoc, rank: int, windows: Windows) -> dict[str, Any]:
        """Return a ranked document of its list as ``RankDoc#toXContent`` prints it."""
        shard, number = divmod(doc.shard_doc or 0, 1 << 32)
        score = float(print_float(doc.score))
        return {"_rank": rank, "_doc": number, "_shard": shard, "_score": score}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRetriever(Retriever):
    """A retriever that one search upstream answers."""

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

    @property
    @abstractmethod
    def stands_for_its_results(self) -> bool:
        """Tell whether the final search takes just the documents that its own returned, and does not search
        for it again.
        """

    @abstractmethod
    def clauses(self) -> dict[str, bytes]:
        """Return the members of a search body that have it run."""

    @abstractmethod
    def one_search_clauses(self) -> Sequence[bytes] | None:
        """Return the clauses of its search; None where that alone cannot be a reranked search's answer."""

    @abstractmethod
    def explainable(self, docs: Sequence[RankDoc]) -> bytes | None:
        """Return the query that only upstream can explain.

        Args:
            docs: What it found.
        """


@dataclass(frozen=True, slots=True)
class Found:
    """A retriever, evaluated.

    Attributes:
        docs: Best first; at most its own window or, of a leaf, its parent's.
        children: In the order of the request.
    """

    retriever: Retriever
    docs: Sequence[RankDoc] = ()
    children: "tuple[Found, ...]" = ()

    def all(self) -> Iterator["Found"]:
        """Yield it and all below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def first(self, window: int) -> Sequence[RankDoc]:
        """Return what a parent with this window takes of its documents."""
        return self.retriever.first(self.docs, window)

    def matches(self) -> list[bytes]:
        """Return the queries for all documents that it stands for."""
        below = [each for child in self.children for each in child.named_matches()]
        return self.retriever.matches(self, below)

    def named_matches(self) -> list[bytes]:
        """Return the same under the name of a compound retriever."""
        matches, name = self.matches(), self.retriever.name
        if not self.children or name is None:
            return matches
        return [boolean({"should": array(matches)}, name)] if matches else []


@dataclass(slots=True)
class Explained:
    """An evaluated retriever, with what upstream explains of it.

    Attributes:
        hits: Of a leaf: the documents with upstream's explanations of its query, or of its filters.
        ranks: Its documents' places in its list, from 0.
        normalized: Of `linear`, once asked for: what it made of each child's scores.
    """

    found: Found
    children: "Sequence[Explained]"
    hits: Mapping[Key, Hit]
    ranks: Mapping[Key, int] = field(init=False)
    normalized: Sequence[Float32s] | None = None

    def __post_init__(self) -> None:
        self.ranks = {(doc.index, doc.id): rank for rank, doc in enumerate(self.found.docs)}

    def all(self) -> Iterator["Explained"]:
        """Yield it and all below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def explain(self, key: Key, boost: float) -> Detail | None:
        """Return what the retriever says of a document; None where it did not find it."""
        return self.found.retriever.explain(self, key, boost)

    def doc(self, key: Key) -> RankDoc | None:
        """Return a document of its list."""
        rank = self.ranks.get(key)
        return None if rank is None else self.found.docs[rank]

    def rank(self, key: Key, window: int) -> int | None:
        """Return the rank of a document among the first `window`, from 1."""
        rank = self.ranks.get(key)
        return None if rank is None or rank >= window else rank + 1

    def sources(self, key: Key, boost: float) -> list[Source]:
        """Return how each child explains a document."""
        return [Source(child.explain(key, boost), child.found.retriever.name) for child in self.children]

    def rank_doc(
        self,
        key: Key,
        boost: float,
        *,
        at: "Explained | None" = None,
        details: Sequence[Detail] | None = None,
    ) -> Explanation | None:
        """Return what a retriever says that has nothing of its own to say; None where it did not find it.

        Args:
            at: The list whose rank is told; its own by default.
            details: What stands below; by default its children's explanations.
        """
        doc = self.doc(key)
        if doc is None:
            return None
        if details is None:
            told = (source.explanation for source in self.sources(key, boost))
            details = [each for each in told if each is not None]
        return rank_doc(doc.shard_doc or 0, doc.score, (at or self).ranks[key] + 1, details)
