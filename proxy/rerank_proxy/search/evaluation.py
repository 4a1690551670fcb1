"""A tree of retrievers, evaluated from the leaves up in one point in time (``CompoundRetrieverBuilder``)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan
from typing import Final, TypeVar

from rerank_proxy.concurrency.offload import answer_size, docs_size, offload
from rerank_proxy.errors import Cause, ElasticsearchError, error
from rerank_proxy.search.failures import (
    RankPhaseError,
    UnreadFieldError,
    children_failed,
    may_be_for_fields,
    search_failure,
)
from rerank_proxy.search.inner import bodies, queries
from rerank_proxy.search.inner.fields import text_of, vector_of
from rerank_proxy.search.inner.matches import Found, ruled
from rerank_proxy.search.inner.window import read_window
from rerank_proxy.search.language.retrievers import (
    CompoundRetriever,
    DiversifyRetriever,
    KnnRetriever,
    LeafRetriever,
    LinearRetriever,
    PinnedRetriever,
    RescorerRetriever,
    Retriever,
    RrfRetriever,
    RuleRetriever,
    TextSimilarityReranker,
)
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.ranks.diversity import diversify
from rerank_proxy.search.ranks.fusion import fuse_linear, fuse_rrf
from rerank_proxy.search.ranks.pins import capped, pin_scores
from rerank_proxy.search.ranks.ranking import RankDoc, reaching
from rerank_proxy.search.run import AN_INNER_SEARCH, Run
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import members

T = TypeVar("T")

Search = Callable[[bytes], Awaitable[Reply]]
"""Sends the body of an inner search."""

_SEARCHING: Final = (PinnedRetriever, RuleRetriever, RescorerRetriever)
"""Those whose list is a search of their own around what the child found."""


class Evaluation:
    """Evaluates one tree, whose filters are at its leaves (`found.with_filters`).

    Args:
        pit: The `pit` member of the searches, as JSON.
    """

    def __init__(self, run: Run, scorer: RankPhase, pit: bytes, search: Search) -> None:
        self._run = run
        self._scorer = scorer
        self._pit = pit
        self._search = search
        self._values: dict[tuple[str, str], list[bytes | None]] = {}
        self._late: frozenset[str] = frozenset()
        """Fields that no search brings along: on its own turn each reads them, and may fail."""

    async def evaluate(self, retriever: CompoundRetriever, fields: frozenset[str] = frozenset()) -> Found:
        """The ranked documents of a compound retriever and of all below it.

        Args:
            fields: What the retrievers above read of each document: each search returns it along.

        Raises:
            ElasticsearchError: As native reports a child that failed.
            UpstreamRefusedError: Upstream refused a search that native would not have begun.
        """
        fields |= _own_field(retriever)
        if isinstance(retriever, TextSimilarityReranker) and retriever.rank_window_size == 0:
            reason = "Validation Failed: 1: [rank] requires [size] greater than [0];"
            raise error(400, "action_request_validation_exception", reason)
        children = await self._children(retriever, fields)
        docs = _combined(retriever, [taken for _, taken in children])
        return Found(retriever, docs, tuple(child for child, _ in children))

    async def _children(
        self, parent: CompoundRetriever, fields: frozenset[str]
    ) -> list[tuple[Found, Sequence[RankDoc]]]:
        """All children at once, each with the documents that the parent takes from it.

        A compound child that fails does so in its own name, before native searches the other children.
        """
        tasks = [asyncio.ensure_future(self._child(parent, child, fields)) for child in parent.children]
        try:
            await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
        failed = []
        for task in tasks:
            failure = task.exception()
            if isinstance(failure, _ChildFailedError):
                failed.append((failure.child, failure.failure))
            elif failure is not None:
                raise failure
        if failed:
            raise children_failed(parent, failed)
        return [task.result() for task in tasks]

    async def _child(
        self, parent: CompoundRetriever, child: Retriever, fields: frozenset[str]
    ) -> tuple[Found, Sequence[RankDoc]]:
        found = Found(child) if isinstance(child, LeafRetriever) else await self.evaluate(child, fields)
        try:
            return await self._taken(parent, found, fields)
        except UpstreamRefusedError as refused:
            failure = search_failure(refused.reply)
            if failure is None:
                raise
            raise _ChildFailedError(found.name, failure) from refused
        except (RankPhaseError, UnreadFieldError) as failure:
            raise _ChildFailedError(found.name, failure) from failure

    async def _taken(
        self, parent: CompoundRetriever, found: Found, fields: frozenset[str]
    ) -> tuple[Found, Sequence[RankDoc]]:
        """What `parent` has of a child: by a search, if that is a leaf or the parent alters its scores."""
        docs = found.first(parent.rank_window_size)
        if isinstance(found.retriever, LeafRetriever):
            docs = await self._ask(parent, bodies.clauses(found.retriever), fields)
            found = Found(found.retriever, docs)
        elif isinstance(parent, _SEARCHING) and (docs or not isinstance(parent, RescorerRetriever)):
            # All of them: a shard may rescore documents into the window.
            ranked = found.docs
            if isinstance(parent, PinnedRetriever):
                ranked = [doc.scored(capped(doc.score)) for doc in ranked]
            docs = await self._ask(
                parent, {"query": await offload(docs_size(ranked), queries.rank_docs, ranked)}, fields
            )
        if not isinstance(found.retriever, LeafRetriever):
            await self._ask_late(parent, docs)
        if isinstance(parent, TextSimilarityReranker):
            docs = await offload(self._size_of(docs), self._with_texts, docs, parent.field)
            if docs or isinstance(found.retriever, LeafRetriever):
                docs = await self._scorer.rerank(self._run, parent, docs)
            else:
                self._scorer.pass_over(self._run, parent)
            if isinstance(found.retriever, KnnRetriever):
                # It stands for what came back from its search, of which the rank phase is a part.
                found = Found(found.retriever, docs)
            docs = reaching(docs, parent.min_score)
        elif isinstance(parent, DiversifyRetriever):
            docs = await offload(self._size_of(docs), self._diversified, parent, docs)
        return found, docs

    async def _ask(
        self, parent: CompoundRetriever, clauses: Mapping[str, bytes], fields: frozenset[str]
    ) -> Sequence[RankDoc]:
        window = parent.rank_window_size
        if window == 0:
            return []
        clauses, own = _altered(parent, clauses), _own_field(parent)
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
        late = _own_field(parent) & self._late
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

    def _diversified(self, retriever: DiversifyRetriever, docs: Sequence[RankDoc]) -> Sequence[RankDoc]:
        field = retriever.field
        with reading(AN_INNER_SEARCH):
            vectors = [_first(vector_of(each, field) for each in self._values_of(doc)) for doc in docs]
        try:
            return diversify(docs, vectors, retriever.query_vector, retriever.lambda_ or 0.0, retriever.size)
        except ValueError as failure:
            cause = ElasticsearchError(400, Cause("illegal_argument_exception", str(failure)))
            raise _ChildFailedError(retriever.TYPE, cause) from None


def _own_field(retriever: CompoundRetriever) -> frozenset[str]:
    """What it reads itself of each document."""
    if isinstance(retriever, TextSimilarityReranker | DiversifyRetriever):
        return frozenset({retriever.field})
    return frozenset()


@contextmanager
def _reading_texts(parent: CompoundRetriever) -> Iterator[None]:
    """A reranker has the phase of a search fail in which it reads texts."""
    try:
        yield
    except UpstreamRefusedError as refused:
        failure = search_failure(refused.reply)
        if failure is None or not isinstance(parent, TextSimilarityReranker):
            raise
        raise UnreadFieldError(failure) from refused


class _ChildFailedError(Exception):
    """A child could not be searched or reranked; `child` is what native calls it."""

    def __init__(self, child: str, failure: ElasticsearchError) -> None:
        super().__init__(child)
        self.child = child
        self.failure = failure


def _altered(parent: CompoundRetriever, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The clauses of a child's search as its parent has them run."""
    if isinstance(parent, RescorerRetriever):
        return {**clauses, "rescore": queries.array(parent.rescore)}
    if isinstance(parent, LinearRetriever | DiversifyRetriever):
        return {**clauses, "track_scores": b"true"}
    if isinstance(parent, PinnedRetriever):
        scores = pin_scores(len(parent.docs))
        return {**clauses, "query": queries.pinned_above(parent.docs, scores, clauses["query"])}
    if isinstance(parent, RuleRetriever):
        return {**clauses, "query": ruled(parent, clauses["query"])}
    return clauses


def _combined(retriever: CompoundRetriever, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
    """What a compound retriever makes of its children's lists (``CompoundRetrieverBuilder#combine``)."""
    window = retriever.rank_window_size
    if isinstance(retriever, RrfRetriever):
        weights = [component.weight for component in retriever.components]
        return fuse_rrf(lists, weights, retriever.rank_constant, window)
    if isinstance(retriever, LinearRetriever):
        weights = [component.weight for component in retriever.components]
        normalizers = [component.normalizer for component in retriever.components]
        return fuse_linear(lists, weights, normalizers, window, retriever.min_score)
    (docs,) = lists
    return docs[:window]


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
