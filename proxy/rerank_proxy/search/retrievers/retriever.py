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
from typing import Any, ClassVar, Final, Protocol, Self

from rerank_proxy.chunks.settings import ChunkRescorer
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.ranks.ranking import RankDoc, searched
from rerank_proxy.search.ranks.scores import MIN_VALUE, Float32s
from rerank_proxy.search.retrievers.explanations import Detail, Explanation, Source, rank_doc
from rerank_proxy.search.retrievers.grammar import Nesting
from rerank_proxy.search.retrievers.queries import array, boolean
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.source import Node

DEFAULT_RANK_WINDOW_SIZE: Final = 10
ABSENT_SIZE: Final = -1
"""What native compares where no `size` is given."""
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


class Reranking(Protocol):
    """What the rank phase is told (``TextSimilarityRankBuilder``)."""

    @property
    def inference_id(self) -> str: ...
    @property
    def inference_text(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def rank_window_size(self) -> int: ...
    @property
    def min_score(self) -> float | None: ...
    @property
    def allow_rerank_failures(self) -> bool | None: ...
    @property
    def chunk_rescorer(self) -> ChunkRescorer | None: ...
    @property
    def child(self) -> Retriever: ...


class Evaluator(Protocol):
    """What the evaluation of a tree does for its retrievers."""

    async def texts(self, docs: Sequence[RankDoc], field: str) -> Sequence[RankDoc]:
        """Return the documents with the first value of a field as their text."""

    async def vectors(self, docs: Sequence[RankDoc], field: str) -> Sequence[Sequence[float] | None]:
        """Return the vector of each document in a field."""

    async def rerank(self, reranker: Reranking, docs: Sequence[RankDoc]) -> Sequence[RankDoc]:
        """Return documents that have their text in the order of their relevance."""

    def pass_over(self, reranker: Reranking) -> None:
        """Note that a reranker has nothing to rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompoundRetriever(Retriever):
    """A retriever that makes a ranked list of its children's.

    Attributes:
        rank_window_size: Documents taken from each child, and at most in its own list.
    """

    WINDOW_KEY: ClassVar = "rank_window_size"
    """What the window is called in messages."""
    SEES_WINDOWS_BELOW: ClassVar = True
    """Whether native finds the windows of its children when it validates; some hide them in wrappers."""

    rank_window_size: int = DEFAULT_RANK_WINDOW_SIZE

    @property
    def effective_min_score(self) -> float | None:
        """Return its own `min_score`, else the smallest positive one as soon as any child has one in
        effect.
        """
        if self.min_score is not None:
            return self.min_score
        inherits = any(child.effective_min_score is not None for child in self.children)
        return MIN_VALUE if inherits else None

    def failures(self, size: int | None, *, scrolls: bool) -> Iterator[str]:
        """Yield as ``CompoundRetrieverBuilder#validate`` does."""
        yield from self._window_failures(ABSENT_SIZE if size is None else size, scrolls)
        for child in self.children:
            yield from child.failures(size, scrolls=scrolls)
            if self.SEES_WINDOWS_BELOW and isinstance(child, CompoundRetriever):
                yield from self._child_window_failures(child)
        yield from self.own_failures()

    def own_failures(self) -> Iterator[str]:
        """Yield what is wrong with the values that only this type has."""
        return iter(())

    def _window_failures(self, size: int, scrolls: bool) -> Iterator[str]:
        name, key, window = self.TYPE, self.WINDOW_KEY, self.rank_window_size
        if size > window:
            yield f"[{name}] requires [{key}: {window}] be greater than or equal to [size: {size}]"
        if scrolls:
            yield f"cannot specify [{name}] and [scroll]"
        if window < 0:
            yield f"[{key}] parameter cannot be negative, found [{window}]"

    def _child_window_failures(self, child: "CompoundRetriever") -> Iterator[str]:
        if self.rank_window_size > child.rank_window_size:
            yield (
                f"[{self.TYPE}] requires [{self.WINDOW_KEY}: {self.rank_window_size}] to be smaller than "
                f"or equal to its sub retriever's {child.TYPE} [{child.WINDOW_KEY}: {child.rank_window_size}]"
            )

    def check_rewrite(self, inherited: tuple[bytes, ...] = ()) -> None:
        filters = (*inherited, *self.filters)
        self.check_before_children()
        for child in self.children:
            child.check_rewrite(filters)
        self.check_after_children(filters)

    def check_before_children(self) -> None:
        """Refuse what native refuses before it rewrites the children."""

    @abstractmethod
    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse what native refuses once the children are rewritten.

        Args:
            filters: Its own and its parents'.
        """

    def has_query(self, filters: tuple[bytes, ...]) -> bool:
        return True

    def clauses_size(self, inherited: int = 0) -> int:
        each = self._own_size(inherited) + sum(map(len, self.reads))
        return sum(child.clauses_size(each) for child in self.children)

    @property
    def failure_name(self) -> str:
        return "rank_docs_retriever"

    def first(self, docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
        """Return what a search finds of its documents again."""
        return searched(docs, window)

    @property
    def reads(self) -> frozenset[str]:
        """Return the fields that it reads of each document."""
        return frozenset()

    def check_window(self) -> None:
        """Refuse a window that its searches cannot have.

        Raises:
            ElasticsearchError: 400.
        """

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return the clauses of a child's search as it has them run (``#finalizeSourceBuilder``)."""
        return clauses

    def searched_again(self, found: Sequence[RankDoc], taken: Sequence[RankDoc]) -> Sequence[RankDoc] | None:
        """Return the documents of a compound child that it searches for once more; None where it does not.

        Args:
            found: All that the child found.
            taken: Those in the window.
        """
        return None

    def read_failure(self, failure: ElasticsearchError) -> ElasticsearchError | None:
        """Return what becomes of a search that could not return what it `reads`; None: it stays as it is."""
        return None

    async def take(
        self, found: "Found", docs: Sequence[RankDoc], evaluator: Evaluator
    ) -> "tuple[Found, Sequence[RankDoc]]":
        """Return what a child found, and which of that takes part in the list.

        Args:
            docs: Those of the child's documents that are in the window.

        Raises:
            ElasticsearchError: The child cannot be ranked.
        """
        return found, docs

    @abstractmethod
    def combine(self, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
        """Return its list out of what it took of each child (``#combineInnerRetrieverResults``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingRetriever(CompoundRetriever):
    """A compound retriever with just one child, whose list it reorders or cuts."""

    child: Retriever

    @property
    def children(self) -> tuple[Retriever, ...]:
        return (self.child,)

    def expanded(self, groups: Sequence[IndexGroup]) -> Self:
        return replace(self, child=self.child.expanded(groups))

    def with_filters(self, inherited: tuple[bytes, ...] = ()) -> Self:
        return replace(self, child=self.child.with_filters((*self.filters, *inherited)), filters=())

    def combine(self, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
        (docs,) = lists
        return docs[: self.rank_window_size]


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
