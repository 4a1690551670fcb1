"""A tree of retrievers, evaluated from the leaves up in one point in time (``CompoundRetrieverBuilder``)."""

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
    may_be_for_fields,
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
from rerank_proxy.search.retrievers.retriever import Found, LeafRetriever, Retriever
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerSearch, Run
from rerank_proxy.upstream.protocol import UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import members

T = TypeVar("T")

_Child = tuple[Found, Sequence[RankDoc]]
"""A child, evaluated, and what its parent takes of it."""


class Evaluation:
    """Evaluates one tree, whose filters are at its leaves (`Retriever.with_filters`).

    Args:
        pit: The `pit` member of the searches, as JSON.
    """

    def __init__(self, run: Run, scorer: RankPhase, pit: bytes, search: InnerSearch) -> None:
        self._run = run
        self._scorer = scorer
        self._pit = pit
        self._search = search
        self._values: dict[tuple[str, str], list[bytes | None]] = {}
        self._late: frozenset[str] = frozenset()
        """Fields that no search brings along: on its own turn each reads them, and may fail."""

    async def evaluate(self, retriever: CompoundRetriever, fields: frozenset[str] = frozenset()) -> Found:
        """Return the ranked documents of a compound retriever and of all below it.

        Args:
            fields: What the retrievers above read of each document: each search returns it along.

        Raises:
            ElasticsearchError: As native reports a child that failed.
            UpstreamRefusedError: Upstream refused a search that native would not have begun.
        """
        fields |= retriever.reads
        retriever.check_window()
        children = await self._children(retriever, fields)
        docs = retriever.combine([taken for _, taken in children])
        return Found(retriever, docs, tuple(child for child, _ in children))

    async def _children(self, parent: CompoundRetriever, fields: frozenset[str]) -> list[_Child]:
        """Return all children, each with the documents that the parent takes from it.

        A failure leaves the others running: native tells of all children that could not be searched or
        ranked. What a compound child says in its own name comes before that, the first such child's alone.
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
        found = await self.evaluate(child, fields) if isinstance(child, CompoundRetriever) else Found(child)
        try:
            return await self._taken(parent, found, fields)
        except UpstreamRefusedError as refused:
            failure = search_failure(refused.reply)
            if failure is None:
                raise
            raise ChildFailedError(found.retriever.failure_name, failure) from refused
        except (RankPhaseError, UnreadFieldError) as failure:
            raise ChildFailedError(found.retriever.failure_name, failure) from failure

    async def _taken(self, parent: CompoundRetriever, found: Found, fields: frozenset[str]) -> _Child:
        """Return what `parent` has of a child: by a search, if that is a leaf or the parent searches
        again.
        """
        if isinstance(found.retriever, LeafRetriever):
            docs = await self._ask(parent, found.retriever.clauses(), fields)
            found = Found(found.retriever, docs)
        else:
            docs = found.first(parent.rank_window_size)
            again = parent.searched_again(found.docs, docs)
            if again is not None:
                query = await offload(docs_size(again), queries.rank_docs, again)
                docs = await self._ask(parent, {"query": query}, fields)
            await self._ask_late(parent, docs)
        return await parent.take(found, docs, self)

    # What retrievers are given (`Evaluator`)

    async def texts(self, docs: Sequence[RankDoc], field: str) -> Sequence[RankDoc]:
        return await offload(self._size_of(docs), self._with_texts, docs, field)

    async def vectors(self, docs: Sequence[RankDoc], field: str) -> Sequence[Sequence[float] | None]:
        return await offload(self._size_of(docs), self._vectors, docs, field)

    async def rerank(self, reranker: Reranking, docs: Sequence[RankDoc]) -> Sequence[RankDoc]:
        return await self._scorer.rerank(self._run, reranker, docs)

    def pass_over(self, reranker: Reranking) -> None:
        self._scorer.pass_over(self._run, reranker)

    # Searching

    async def _ask(
        self, parent: CompoundRetriever, clauses: Mapping[str, bytes], fields: frozenset[str]
    ) -> Sequence[RankDoc]:
        window = parent.rank_window_size
        if window == 0:
            return []
        clauses, own = parent.altered(clauses), parent.reads
        wanted = fields - self._late | own
        try:
            docs, is_whole = await self._find(clauses, window, wanted)
            if is_whole or wanted == own:
                return docs
        except UpstreamRefusedError as refused:
            failure = search_failure(refused.reply)
            if not wanted or failure is None or not may_be_for_fields(failure):
                raise
            await self._find(clauses, window, frozenset())  # which may be what is refused
        # Native reads a field on the turn of the retriever that wants it, after the searches below.
        self._late |= fields - own
        with _reading_texts(parent):
            docs, _ = await self._find(clauses, window, own)
        return docs

    async def _ask_late(self, parent: CompoundRetriever, docs: Sequence[RankDoc]) -> None:
        """Read what `parent` wants of documents, if no search below could bring it along."""
        late = parent.reads & self._late
        if late and docs:
            ranked = await offload(docs_size(docs), queries.rank_docs, docs)
            with _reading_texts(parent):
                await self._find({"query": ranked}, len(docs), late)

    async def _find(
        self, clauses: Mapping[str, bytes], window: int, fields: frozenset[str]
    ) -> tuple[Sequence[RankDoc], bool]:
        """The documents, and whether no shard failed."""
        body = bodies.inner_search(self._pit, clauses, window, fields)
        answer = (await self._search(body)).body
        with reading(AN_INNER_SEARCH):
            docs, sections, is_whole = await offload(
                answer_size(answer), _read_hits, answer, with_fields=bool(fields)
            )
        for doc, section in zip(docs, sections, strict=True):
            self._values.setdefault((doc.index, doc.id), []).append(section)
        return docs, is_whole

    def _values_of(self, doc: RankDoc) -> Sequence[bytes | None]:
        """The `fields` sections of a document, one for each search that found it."""
        return self._values.get((doc.index, doc.id), ())

    def _size_of(self, docs: Sequence[RankDoc]) -> int:
        """What the values of documents count for in `offload`."""
        values = (each for doc in docs for each in self._values_of(doc) if each is not None)
        return sum(map(answer_size, values))

    def _with_texts(self, docs: Sequence[RankDoc], field: str) -> Sequence[RankDoc]:
        with reading(AN_INNER_SEARCH):
            return [
                _saying(doc, _first(text_of(each, field) for each in self._values_of(doc))) for doc in docs
            ]

    def _vectors(self, docs: Sequence[RankDoc], field: str) -> Sequence[Sequence[float] | None]:
        with reading(AN_INNER_SEARCH):
            return [_first(vector_of(each, field) for each in self._values_of(doc)) for doc in docs]


@contextmanager
def _reading_texts(parent: CompoundRetriever) -> Iterator[None]:
    """Word the failure of a search that was to return what `parent` reads as `parent` words it."""
    try:
        yield
    except UpstreamRefusedError as refused:
        failure = search_failure(refused.reply)
        failure = None if failure is None else parent.read_failure(failure)
        if failure is None:
            raise
        raise failure from refused


def _read_hits(answer: bytes, *, with_fields: bool) -> tuple[list[RankDoc], list[bytes | None], bool]:
    """The documents of an inner search, each one's `fields` section if that was asked for, and whether all
    shards have answered.
    """
    found = read_window(answer, "")
    sections = [members(bytes(hit)).get("fields") if with_fields else None for hit in found.hits]
    is_whole = members(found.top["_shards"]).get("failed", b"0") == b"0"
    return [doc.scored(_tracked(doc)) for doc in found.docs], sections, is_whole


def _tracked(doc: RankDoc) -> float:
    """Its score; a search sorted by a field has one only where it is asked for (else ``Float.NaN``)."""
    return nan if doc.first_score is None else doc.first_score


def _saying(doc: RankDoc, text: str | None) -> RankDoc:
    return RankDoc(doc.index, doc.id, doc.place, doc.shard_doc, doc.first_score, text, doc.score)


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
