"""Retrievers that make a ranked list of documents out of their children's (``CompoundRetrieverBuilder``)."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.ranks.ranking import RankDoc, searched
from rerank_proxy.search.ranks.scores import MIN_VALUE
from rerank_proxy.search.retrievers.ports import Evaluator
from rerank_proxy.search.retrievers.retriever import Found, IndexGroup, Retriever

DEFAULT_RANK_WINDOW_SIZE: Final = 10
ABSENT_SIZE: Final = -1
"""What native compares where no `size` is given."""


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
        self, found: Found, docs: Sequence[RankDoc], evaluator: Evaluator
    ) -> tuple[Found, Sequence[RankDoc]]:
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
