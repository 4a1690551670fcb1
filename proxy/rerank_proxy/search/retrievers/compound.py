"""Retrievers that combine the ranked lists of their children into one (``CompoundRetrieverBuilder``)."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.ranks.ranking import RankDoc, searched
from rerank_proxy.search.ranks.scores import MIN_VALUE
from rerank_proxy.search.retrievers.ports import Evaluator
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, IndexGroup, Retriever

DEFAULT_RANK_WINDOW_SIZE: Final = 10
UNSET_SIZE: Final = -1
"""The `size` that native compares with if none is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompoundRetriever(Retriever):
    """A retriever that combines the ranked lists of its children into one.

    Attributes:
        rank_window_size: How many documents it takes from each child, and has in its own list, at most.
    """

    WINDOW_KEY: ClassVar = "rank_window_size"
    """The name of the rank window size in messages."""
    SEES_WINDOWS_BELOW: ClassVar = True
    """Whether native compares windows with those of children when it validates; some types hide children."""

    rank_window_size: int = DEFAULT_RANK_WINDOW_SIZE

    @property
    def effective_min_score(self) -> float | None:
        """Its own `min_score`; without one, the smallest positive float if any child has one in effect."""
        if self.min_score is not None:
            return self.min_score
        inherits = any(child.effective_min_score is not None for child in self.children)
        return MIN_VALUE if inherits else None

    def failures(self, size: int | None, *, scrolls: bool) -> Iterator[str]:
        """Yield what ``CompoundRetrieverBuilder#validate`` finds."""
        yield from self._window_failures(UNSET_SIZE if size is None else size, scrolls)
        for child in self.children:
            yield from child.failures(size, scrolls=scrolls)
            if self.SEES_WINDOWS_BELOW and isinstance(child, CompoundRetriever):
                yield from self._child_window_failures(child)
        yield from self.own_failures()

    def own_failures(self) -> Iterator[str]:
        """Yield what is wrong with values that only this type of retriever has."""
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
        """Refuse what native refuses after it has rewritten the children.

        Args:
            filters: Its own filters and those of its parents.
        """

    def has_query(self, filters: tuple[bytes, ...]) -> bool:
        return True

    def clauses_size(self, inherited: int = 0) -> int:
        each = self._own_size(inherited) + sum(map(len, self.reads))
        return sum(child.clauses_size(each) for child in self.children)

    @property
    def stands_for_its_results(self) -> bool:
        return False

    @property
    def failure_name(self) -> str:
        return "rank_docs_retriever"

    def first(self, docs: Sequence[RankDoc], window: int) -> Sequence[RankDoc]:
        """Return its documents as a search for them finds them: the best `window`."""
        return searched(docs, window)

    @property
    def reads(self) -> frozenset[str]:
        """The fields that it reads of each document."""
        return frozenset()

    def check_window(self) -> None:
        """Refuse a rank window that its searches cannot have.

        Raises:
            ElasticsearchError: 400.
        """

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return the clauses of a child's search with its own changes (``#finalizeSourceBuilder``)."""
        return clauses

    def searched_again(self, found: Sequence[RankDoc], taken: Sequence[RankDoc]) -> Sequence[RankDoc] | None:
        """Return the documents of a compound child that are searched for once more; None if none are.

        Args:
            found: All documents of the child.
            taken: Those in the rank window.
        """
        return None

    def read_failure(self, failure: ElasticsearchError) -> ElasticsearchError | None:
        """Return the error for a search that failed due to what it `reads`; None to keep the failure."""
        return None

    async def take(
        self, child: EvaluatedRetriever, docs: Sequence[RankDoc], evaluator: Evaluator
    ) -> tuple[EvaluatedRetriever, Sequence[RankDoc]]:
        """Return an evaluated child, possibly changed, and its documents that take part in the list.

        Args:
            child: The child.
            docs: The child's documents in the rank window.
            evaluator: Reads fields of documents, and reranks them.

        Raises:
            ElasticsearchError: The child cannot be ranked.
        """
        return child, docs

    @abstractmethod
    def combine(self, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
        """Combine the documents taken from each child into its list (``#combineInnerRetrieverResults``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingRetriever(CompoundRetriever):
    """A compound retriever with only one child, whose list it reorders or shortens."""

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
