"""Runs a search: in one round trip where that is enough, else in a point in time."""

import asyncio
import json
import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import answer_size, docs_size, offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe.outcome import Applied, Outcome, of_tree
from rerank_proxy.observe.seldom import Seldom
from rerank_proxy.search.answer import reply
from rerank_proxy.search.answer.expanding import check_expanded, complaints_of_expansion
from rerank_proxy.search.answer.explaining import explained
from rerank_proxy.search.answer.profiling import profiled
from rerank_proxy.search.evaluation import Evaluation, Search
from rerank_proxy.search.failures import RankPhaseError, children_failed, may_be_for_fields, search_failure
from rerank_proxy.search.inner import bodies
from rerank_proxy.search.inner.matches import Found, clauses_size, with_filters
from rerank_proxy.search.inner.simplified import Mappings, expanded
from rerank_proxy.search.inner.window import read_window, search_answer
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.language.retrievers import LeafRetriever, walk
from rerank_proxy.search.language.rewrite_checks import check_rewrite
from rerank_proxy.search.parse_faults import find_parse_fault, may_be_parse_fault
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.ranks.ranking import reaching, searched
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerBytes, Run, Timings
from rerank_proxy.search.single_search import OneSearch, one_search, one_search_suffices
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import Printer, members, text
from rerank_proxy.xcontent.target import decode

logger = logging.getLogger(__name__)

KEEP_ALIVE: Final = "5m"
"""``search.default_keep_alive``, which native gives its own point in time."""

STYLE_PARAMS: Final = frozenset({"error_trace", "human", "pretty"})
_INNER_PARAMS: Final = STYLE_PARAMS | {"allow_partial_search_results"}
"""With partial results refused, a window with a lost shard in it must not pass either."""
_ON_ALL_SHARDS: Final = "pre_filter_shard_size=2147483647"
"""Native has its inner searches run on all shards: what is wrong with one shows even if nothing can match."""
_NOT_EXPENSIVE: Final = b"search.allow_expensive_queries"
_TARGET_PARAMS: Final = frozenset(
    {
        "allow_no_indices", "allow_partial_search_results", "expand_wildcards", "ignore_throttled",
        "ignore_unavailable", "max_concurrent_shard_requests", "preference", "routing",
    }
)  # fmt: skip
_OF_A_SEARCH: Final = frozenset(
    {
        "_source", "_source_exclude_vectors", "_source_excludes", "_source_includes", "allow_no_indices",
        "allow_partial_search_results", "batched_reduce_size", "ccs_minimize_roundtrips", "docvalue_fields",
        "error_trace", "expand_wildcards", "explain", "from", "human", "ignore_throttled",
        "ignore_unavailable", "include_named_queries_score", "index", "max_concurrent_shard_requests",
        "pre_filter_shard_size", "preference", "pretty", "request_cache", "rest_total_hits_as_int", "routing",
        "search_type", "seq_no_primary_term", "size", "stats", "stored_fields", "timeout", "track_scores",
        "track_total_hits", "typed_keys", "version",
    }
)  # fmt: skip
"""Parameters that any search may have (``RestSearchAction``), those of the URL's own query aside."""
_NOTHING: Final = b'{"query":{"match_none":{}},"size":0}'
_PAGE_PARAMS: Final = frozenset({"from", "size"})
_OF_INDICES: Final = frozenset(
    {
        "allow_no_indices", "ccs_minimize_roundtrips", "expand_wildcards", "ignore_throttled",
        "ignore_unavailable",
    }
)  # fmt: skip
_LONGEST_NAME: Final = 256
_NOT_BESIDE_PIT: Final = _OF_INDICES | _PAGE_PARAMS | {"index", "preference", "routing"}


@dataclass(slots=True)
class SearchAnswer:
    """What the client is told: the body, upstream's headers, and what happened."""

    body: bytes
    headers: Sequence[tuple[str, str]]
    outcome: Outcome
    timings: Timings


class Executor:
    """Runs searches for all callers.

    Args:
        deadline_s: Seconds for one search altogether.
        heed_timeout: Whether a request's own `timeout` bounds the scores, too.
    """

    def __init__(self, scorer: RankPhase, deadline_s: float, *, heed_timeout: bool = False) -> None:
        self._scorer = scorer
        self._deadline_s = deadline_s
        self._heed_timeout = heed_timeout
        self._closing: set[asyncio.Task[None]] = set()
        self._textless = Seldom()

    async def run(
        self, request: SearchRequest, upstream: Upstream, inner: InnerBytes | None = None
    ) -> SearchAnswer:
        """Answer one search.

        Args:
            inner: Of the client's request, if that holds several searches.

        Raises:
            UpstreamRefusedError: Upstream would not run a search; its answer is the client's.
            ElasticsearchError: Searching or scoring failed, in native's shape.
        """
        run = self._begin(request, upstream, inner or InnerBytes(len(request.body)))
        try:
            await _check_parameters(run)
            check_rewrite(request.retriever)
            answer = await self._search(run)
        except UpstreamRefusedError as refused:
            fault = await _parse_fault(run, refused.reply)
            if fault is None:
                raise
            raise fault from refused
        self._tell_of_misspelt_fields(run)
        return answer

    async def drain(self) -> None:
        """Wait for the points in time that are still being closed."""
        await asyncio.gather(*self._closing)

    async def _search(self, run: Run) -> SearchAnswer:
        path = one_search(run.request)
        if path is not None:
            answer = await self._one_search(run, path)
            if answer is not None:
                return answer
        return await self._point_in_time(run)

    def _begin(self, request: SearchRequest, upstream: Upstream, inner: InnerBytes) -> Run:
        deadline = Deadline.of_setting("search.deadline_s", self._deadline_s)
        scores_by, timeout = deadline, request.timeout
        # With none at all no score would ever be in time; native, too, takes 0 for no limit.
        if self._heed_timeout and timeout is not None and timeout.nanos > 0:
            scores_by = deadline.or_sooner(Deadline.of_request(timeout))
        return Run(request, upstream, inner, deadline, scores_by)

    async def _one_search(self, run: Run, path: OneSearch) -> SearchAnswer | None:
        """None when it turns out that only a point in time gives native's answer."""
        request, reranker = run.request, path.reranker
        # Native's search for a window has none: it is for the last one, over the ranked documents alone.
        query = request.params.without(_PAGE_PARAMS | {"timeout"})
        body = await offload(len(request.body), bodies.single_search, request, reranker, path.child)
        try:
            found = await run.send("POST", _target(request.index, "_search", query), body)
            with reading(AN_INNER_SEARCH):
                window = await offload(answer_size(found.body), read_window, found.body, reranker.field)
            kept = reaching(await self._scorer.rerank(run, reranker, window.docs), reranker.min_score)
        except RankPhaseError as failure:
            raise children_failed(reranker, [(path.child.TYPE, failure)]) from failure
        except UpstreamRefusedError as refused:
            failed = search_failure(refused.reply)
            if failed is None:
                raise
            if may_be_for_fields(failed):
                return None
            raise children_failed(reranker, [(path.child.TYPE, failed)]) from refused
        ranked = searched(kept, len(kept))
        if not one_search_suffices(request, ranked):
            run.outcomes.clear()
            return None
        with reading(AN_INNER_SEARCH):
            body = await offload(
                answer_size(found.body), reply.from_window, request, window, ranked, run.took_ms
            )
        return _answer(run, body, found)

    async def _point_in_time(self, run: Run) -> SearchAnswer:
        if "pit" in run.request.others:
            return await self._search_pit(run, run.request.others["pit"], own_pit=False)
        opening = asyncio.create_task(self._open(run))
        try:
            # Shielded: a client that leaves now must not leave a point in time behind that nobody knows.
            pit = await asyncio.shield(opening)
            return await self._search_pit(run, pit, own_pit=True)
        finally:
            self._close_in_background(run.upstream, opening)

    async def _search_pit(self, run: Run, pit: bytes, *, own_pit: bool) -> SearchAnswer:
        request = run.request
        # Beside the client's own point in time its options for indices are an error, which upstream words.
        passed_on = _INNER_PARAMS if own_pit else _INNER_PARAMS | _OF_INDICES

        async def look_up() -> Mappings:
            return await _mappings(run, own_pit=own_pit)

        tree = await expanded(request.retriever, look_up, request.index)
        with run.inner.hold(clauses_size(tree, len(pit))):
            search = _inner_search(run, passed_on)
            root = await Evaluation(run, self._scorer, pit, search).evaluate(with_filters(tree))
            last, final = await self._last_search(run, pit, root)
            if own_pit and (complaints := complaints_of_expansion(request)):
                await offload(answer_size(last.body), check_expanded, complaints, last.body)
            body = await self._described(run, last.body, root, pit, final, search)
        with reading(AN_INNER_SEARCH):
            body = await offload(answer_size(body), reply.from_final, body, run.took_ms, own_pit=own_pit)
        return _answer(run, body, last)

    async def _last_search(self, run: Run, pit: bytes, root: Found) -> tuple[Reply, bytes]:
        """The answer of the final search, and its body."""
        request = run.request
        size = len(request.body) + sum(docs_size(found.docs) for found in root.all())
        target = _target(None, "_search", request.params.without(_NOT_BESIDE_PIT))
        try:
            final = await offload(size, bodies.final_search, request, pit, root)
            return await run.send("POST", target, final), final
        except UpstreamRefusedError as refused:
            if "highlight" not in request.others or _NOT_EXPENSIVE not in refused.reply.body:
                raise
        final = await offload(size, bodies.final_search, request, pit, root, expensive=False)
        return await run.send("POST", target, final), final

    async def _described(
        self, run: Run, answer: bytes, root: Found, pit: bytes, final: bytes, search: Search
    ) -> bytes:
        """The answer with `profile` and explanations of the tree instead of the final search's own."""
        if not (run.request.asks("explain") or run.request.asks("profile")):
            return answer
        with reading(AN_INNER_SEARCH):
            top, printer = await offload(answer_size(answer), search_answer, answer), Printer.like(answer)
            if run.request.asks("profile"):
                size = answer_size(top["profile"]) + docs_size(root.docs)
                top["profile"] = await offload(size, profiled, top["profile"], root, run, printer)
        if run.request.asks("explain"):
            top["hits"] = await explained(top["hits"], root, run, pit, search, printer, final)
        return printer.object(top, 0) + printer.end()

    async def _open(self, run: Run) -> bytes:
        """Open a point in time over the request's indices; its `pit` member as JSON."""
        options = run.request.params.only(_TARGET_PARAMS | STYLE_PARAMS)
        query = f"keep_alive={KEEP_ALIVE}" + (f"&{options}" if options else "")
        opened = await run.send("POST", _target(run.request.index or "_all", "_pit", query), b"")
        with reading(AN_INNER_SEARCH):
            pit_id = text(members(opened.body)["id"])
        return (
            b'{"id":' + Printer(pretty=False).value(pit_id) + b',"keep_alive":"' + KEEP_ALIVE.encode() + b'"}'
        )

    def _tell_of_misspelt_fields(self, run: Run) -> None:
        """In the log: the answer is a success without hits, as native's is, and few look at its headers."""
        for outcome in run.outcomes:
            if not (isinstance(outcome, Applied) and outcome.has_no_text):
                continue
            index, field = _searched(run.request)[:_LONGEST_NAME], outcome.field[:_LONGEST_NAME]
            untold = self._textless.may_say((index, field))
            if untold is not None:
                logger.warning(
                    "none of [%d] hits of a search in [%s] has text in [%s], the [field] of its reranker, so "
                    "that none of them is in the answer: is it spelt right?%s",
                    outcome.window,
                    index,
                    field,
                    f" ([{untold}] more searches were alike)" if untold else "",
                )

    def _close_in_background(self, upstream: Upstream, opening: asyncio.Task[bytes]) -> None:
        """The client need not wait for it; also when the client has gone."""
        task = asyncio.create_task(_close(upstream, opening))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _searched(request: SearchRequest) -> str:
    """The index expression of a search, for people."""
    if "pit" in request.others:
        return "a point in time"
    return "_all" if request.index is None else decode(request.index)


async def _check_parameters(run: Run) -> None:
    """Have upstream refuse what it would refuse in the last search, after others have run.

    Elasticsearch looks for parameters that do not belong when it has read a request.
    """
    params = run.request.params
    if not _OF_A_SEARCH.issuperset(params):
        await run.ask("POST", _target(None, "_search", params.without(_NOT_BESIDE_PIT)), _NOTHING)


def _inner_search(run: Run, passed_on: Set[str]) -> Search:
    """
    Args:
        passed_on: Which parameters of the client's it has, too.
    """
    options = run.request.params.only(passed_on)
    target = _target(None, "_search", f"{_ON_ALL_SHARDS}&{options}" if options else _ON_ALL_SHARDS)

    async def search(body: bytes) -> Reply:
        return await run.send("POST", target, body)

    return search


def _answer(run: Run, body: bytes, last: Reply) -> SearchAnswer:
    headers = [(name, value) for name, value in last.headers if name.lower() != "warning"]
    headers += [("Warning", value) for value in run.warnings]
    tree = walk(run.request.retriever)
    types = [retriever.TYPE for retriever in tree if not isinstance(retriever, LeafRetriever)]
    return SearchAnswer(body, headers, of_tree(types, run.outcomes), run.timings)


async def _parse_fault(run: Run, refusal: Reply) -> ElasticsearchError | UpstreamRefusedError | None:
    """Of a search that was refused; None when the refusal stands for itself."""
    if not may_be_parse_fault(refusal):
        return None
    request = run.request
    try:
        async with asyncio.timeout_at(run.deadline.at):
            return await find_parse_fault(request.body, run.upstream, request.params.only(STYLE_PARAMS))
    except (TimeoutError, ElasticsearchError):  # upstream has said what is wrong, if not where
        return None


async def _close(upstream: Upstream, opening: asyncio.Task[bytes]) -> None:
    try:
        pit = await opening
    except Exception:  # whatever it is, the client was told, and nothing is open
        return
    try:
        await upstream.request("DELETE", "/_pit", b'{"id":' + members(pit)["id"] + b"}")
    except Exception as failure:  # whatever it is, the answer is out, and the point in time expires
        logger.warning("a point in time could not be closed and will expire in %s: %s", KEEP_ALIVE, failure)


async def _mappings(run: Run, *, own_pit: bool) -> Mappings:
    """Of the searched indices; none where they are not known, or not for the caller to see."""
    if not own_pit:
        return {}
    query = run.request.params.only({"allow_no_indices", "expand_wildcards", "ignore_unavailable"})
    try:
        answer = await run.send("GET", _target(run.request.index or "_all", "_mapping", query), b"")
    except UpstreamRefusedError:
        return {}
    with reading("[_mapping]"):
        mappings: Mappings = await offload(len(answer.body), json.loads, answer.body)
        return mappings


def _target(index: str | None, api: str, query: str) -> str:
    """`index` is percent-encoded already."""
    path = f"/{api}" if index is None else f"/{index}/{api}"
    return f"{path}?{query}" if query else path
