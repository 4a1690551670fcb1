"""Evaluate a tree of retrievers from the leaves up, in one point in time (``CompoundRetrieverBuilder``)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan
from typing import TypeVar

from rerank_proxy.concurrency.offload import answer_size, docs_size, offload
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.failures import (
    ChildFailedError,
    RankPhaseError,
    UnreadFieldError,
    children_failed,
    may_be_due_to_fields,
    search_failure,
)
from rerank_proxy.search.inner import bodies
from rerank_proxy.search.inner.fields import text_of, vector_of
from rerank_proxy.search.inner.window import read_window
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers import queries
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.ports import Reranking
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, LeafRetriever, Retriever
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerSearch, Run
from rerank_proxy.upstream.protocol import UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import members

T = TypeVar("T")

_Child = tuple[EvaluatedRetriever, Sequence[RankDoc]]
"""An evaluated child, and the documents that its parent takes from it."""


class Evaluation:
    """Evaluates one tree, whose filters have been moved to its leaves (`Retriever.with_filters`).

    Args:
        pit: The `pit` member of inner searches, as JSON.
        search: Sends an inner search.
    """

    def __init__(self, run: Run, rank_phase: RankPhase, pit: bytes, search: InnerSearch) -> None:
        self._run = run
        self._rank_phase = rank_phase
        self._pit = pit
        self._search = search
        self._values: dict[tuple[str, str], list[bytes | None]] = {}
        self._deferred: frozenset[str] = frozenset()
        """Fields that the searches below did not return: each retriever reads its own later, and may fail."""

    async def evaluate(
        self, retriever: CompoundRetriever, fields: frozenset[str] = frozenset()
    ) -> EvaluatedRetriever:
        """Evaluate a compound retriever and all below it. Return them with their ranked documents.

        Args:
            fields: What the retrievers above read of each document; inner searches return these fields, too.

        Raises:
            ElasticsearchError: Children failed; the error is native's.
            UpstreamRefusedError: Upstream refused a search that native would not have begun.
        """
        fields |= retriever.reads
        retriever.check_window()
        children = await self._children(retriever, fields)
        docs = retriever.combine([taken for _, taken in children])
        return EvaluatedRetriever(retriever, docs, tuple(child for child, _ in children))

    async def _children(self, parent: CompoundRetriever, fields: frozenset[str]) -> list[_Child]:
        """Evaluate all children. Return each with the documents that the parent takes from it.

        One that fails does not end the others, because native reports all children that could not be searched
        or ranked. But the first compound child that raises an error itself takes precedence.
        """
        calls = [self._child_or_failure(parent, child, fields) for child in parent.children]
        outcomes = await side_by_side(calls)
        failed = []
        for outcome in outcomes:
            if isinstance(outcome, ChildFailedError):
                failed.append((outcome.child, outcome.failure))
            elif isinstance(outcome, Exception):
                raise outcome
        if failed:
            raise children_failed(parent.TYPE, failed)
        return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]

    async def _child_or_failure(
        self, parent: CompoundRetriever, child: Retriever, fields: frozenset[str]
    ) -> _Child | ChildFailedError | ElasticsearchError | UpstreamRefusedError:
        try:
            return await self._child(parent, child, fields)
        except (ChildFailedError, ElasticsearchError, UpstreamRefusedError) as failure:
            return failure

    async def _child(self, parent: CompoundRetriever, child: Retriever, fields: frozenset[str]) -> _Child:
        evaluated = (
            await self.evaluate(child, fields)
            if isinstance(child, CompoundRetriever)
            else EvaluatedRetriever(child)
        )
        try:
            return await self._taken(parent, evaluated, fields)
        except UpstreamRefusedError as refused:
            failure = search_failure(refused.reply)
            if failure is None:
                raise
            raise ChildFailedError(evaluated.retriever.failure_name, failure) from refused
        except (RankPhaseError, UnreadFieldError) as failure:
            raise ChildFailedError(evaluated.retriever.failure_name, failure) from failure

    async def _taken(
        self, parent: CompoundRetriever, evaluated: EvaluatedRetriever, fields: frozenset[str]
    ) -> _Child:
        """Return a child with the documents that `parent` takes from it.

        They come from a search if the child is a leaf or the parent searches its documents again.
        """
        if isinstance(evaluated.retriever, LeafRetriever):
            docs = await self._search_for(parent, evaluated.retriever.clauses(), fields)
            evaluated = EvaluatedRetriever(evaluated.retriever, docs)
        else:
            docs = evaluated.first(parent.rank_window_size)
            again = parent.searched_again(evaluated.docs, docs)
            if again is not None:
                query = await offload(docs_size(again), queries.rank_docs, again)
                docs = await self._search_for(parent, {"query": query}, fields)
            await self._read_deferred(parent, docs)
        return await parent.take(evaluated, docs, self)

    # For retrievers (`Evaluator`)

    async def texts(self, docs: Sequence[RankDoc], field: str) -> Sequence[RankDoc]:
        return await offload(self._size_of(docs), self._with_texts, docs, field)

    async def vectors(self, docs: Sequence[RankDoc], field: str) -> Sequence[Sequence[float] | None]:
        return await offload(self._size_of(docs), self._vectors, docs, field)

    async def rerank(self, reranker: Reranking, docs: Sequence[RankDoc]) -> Sequence[RankDoc]:
        return await self._rank_phase.rerank(self._run, reranker, docs)

    def pass_over(self, reranker: Reranking) -> None:
        self._rank_phase.pass_over(self._run, reranker)

    # Searching

    async def _search_for(
        self, parent: CompoundRetriever, clauses: Mapping[str, bytes], fields: frozenset[str]
    ) -> Sequence[RankDoc]:
        """Search for the rank window of `parent`, with the fields that it and the retrievers above read.

        If the fields of those above may be why the search fails, search without them, and defer reading them.
        """
        window = parent.rank_window_size
        if window == 0:
            return []
        clauses, own = parent.altered(clauses), parent.reads
        wanted = fields - self._deferred | own
        try:
            docs, is_complete = await self._find(clauses, window, wanted)
            if is_complete or wanted == own:
                return docs
        except UpstreamRefusedError as refused:
            failure = search_failure(refused.reply)
            if not wanted or failure is None or not may_be_due_to_fields(failure):
                raise
            await self._find(clauses, window, frozenset())  # may be refused as well
        # Native reads a field when it evaluates the retriever that needs it, after the searches below.
        self._deferred |= fields - own
        with _reading_texts(parent):
            docs, _ = await self._find(clauses, window, own)
        return docs

    async def _read_deferred(self, parent: CompoundRetriever, docs: Sequence[RankDoc]) -> None:
        """Read the fields of documents that `parent` needs and the searches below did not return."""
        deferred = parent.reads & self._deferred
        if deferred and docs:
            ranked = await offload(docs_size(docs), queries.rank_docs, docs)
            with _reading_texts(parent):
                await self._find({"query": ranked}, len(docs), deferred)

    async def _find(
        self, clauses: Mapping[str, bytes], window: int, fields: frozenset[str]
    ) -> tuple[Sequence[RankDoc], bool]:
        """Send an inner search. Return its documents, and whether all shards answered."""
        body = bodies.inner_search(self._pit, clauses, window, fields)
        answer = (await self._search(body)).body
        with reading(AN_INNER_SEARCH):
            docs, sections, is_complete = await offload(
                answer_size(answer), _read_hits, answer, with_fields=bool(fields)
            )
        for doc, section in zip(docs, sections, strict=True):
            self._values.setdefault((doc.index, doc.id), []).append(section)
        return docs, is_complete

    def _values_of(self, doc: RankDoc) -> Sequence[bytes | None]:
        """Return the `fields` sections of a document, one for each search that found it."""
        return self._values.get((doc.index, doc.id), ())

    def _size_of(self, docs: Sequence[RankDoc]) -> int:
        """Return the size of the fields of documents, for `offload`."""
        values = (each for doc in docs for each in self._values_of(doc) if each is not None)
        return sum(map(answer_size, values))

    def _with_texts(self, docs: Sequence[RankDoc], field: str) -> Sequence[RankDoc]:
        with reading(AN_INNER_SEARCH):
            return [
                _with_text(doc, _first(text_of(each, field) for each in self._values_of(doc))) for doc in docs
            ]

    def _vectors(self, docs: Sequence[RankDoc], field: str) -> Sequence[Sequence[float] | None]:
        with reading(AN_INNER_SEARCH):
            return [_first(vector_of(each, field) for each in self._values_of(doc)) for doc in docs]


@contextmanager
def _reading_texts(parent: CompoundRetriever) -> Iterator[None]:
    """Convert the failure of a search for fields that `parent` reads to the error of `parent`."""
    try:
        yield
    except UpstreamRefusedError as refused:
        failure = search_failure(refused.reply)
        failure = None if failure is None else parent.read_failure(failure)
        if failure is None:
            raise
        raise failure from refused


def _read_hits(answer: bytes, *, with_fields: bool) -> tuple[list[RankDoc], list[bytes | None], bool]:
    """Return the documents of an inner search, the `fields` section of each if it was asked for, and whether
    all shards answered.
    """
    window = read_window(answer, "")
    sections = [members(bytes(hit)).get("fields") if with_fields else None for hit in window.hits]
    is_complete = members(window.top["_shards"]).get("failed", b"0") == b"0"
    return [doc.scored(_tracked(doc)) for doc in window.docs], sections, is_complete


def _tracked(doc: RankDoc) -> float:
    """Return the score of a document, ``Float.NaN`` if it has none as its search is sorted by a field."""
    return nan if doc.first_score is None else doc.first_score


def _with_text(doc: RankDoc, text: str | None) -> RankDoc:
    return RankDoc(doc.index, doc.id, doc.place, doc.shard_doc, doc.first_score, text, doc.score)


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
