"""Run a search as native does: inner searches in a point in time, then a final search over the ranked
documents.
"""

import json
from collections.abc import Set
from typing import Final

from rerank_proxy.concurrency.offload import answer_size, docs_size, offload
from rerank_proxy.observe import stages
from rerank_proxy.search import targets
from rerank_proxy.search.answer import reply
from rerank_proxy.search.answer.expanding import check_expanded, expansion_failures
from rerank_proxy.search.answer.explaining import with_explanations
from rerank_proxy.search.answer.profiling import profiled
from rerank_proxy.search.evaluation import Evaluation
from rerank_proxy.search.inner import bodies
from rerank_proxy.search.inner.window import search_answer
from rerank_proxy.search.own_points_in_time import OwnPointsInTime
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.recording import FINAL_SEARCH
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever
from rerank_proxy.search.retrievers.simplified import Mappings, expanded
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerSearch, Run, SearchAnswer
from rerank_proxy.search.targets import target
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import Printer

_NOT_EXPENSIVE: Final = b"search.allow_expensive_queries"


async def search_in_point_in_time(run: Run, rank_phase: RankPhase, own: OwnPointsInTime) -> SearchAnswer:
    """Answer a search in the client's point in time, or in one that is opened for it."""
    pit = run.request.opaque_members.get("pit")
    if pit is not None:
        return await _PointInTimeSearch(run, pit, own_pit=False).answer(rank_phase)
    async with own.opened(run) as pit:
        return await _PointInTimeSearch(run, pit, own_pit=True).answer(rank_phase)


class _PointInTimeSearch:
    """A search in a point in time.

    Args:
        pit: The `pit` member for the bodies of searches, as JSON.
        own_pit: Whether the point in time was opened here, and so is not part of the answer.
    """

    def __init__(self, run: Run, pit: bytes, *, own_pit: bool) -> None:
        self._run = run
        self._pit = pit
        self._own_pit = own_pit
        # With the client's own point in time, options for indices are an error, which upstream reports.
        passed_on = targets.INNER_SEARCH if own_pit else targets.INNER_SEARCH | targets.INDICES_OPTIONS
        self._search = _inner_search(run, passed_on)

    async def answer(self, rank_phase: RankPhase) -> SearchAnswer:
        run, pit, request = self._run, self._pit, self._run.request
        tree = await expanded(request.retriever, self._mappings, request.index)
        with run.inner.hold(tree.clauses_size(len(pit))):
            root = await Evaluation(run, rank_phase, pit, self._search).evaluate(tree.with_filters())
            last, final = await self._final_search(root)
            if self._own_pit and (failures := expansion_failures(request)):
                await offload(answer_size(last.body), check_expanded, failures, last.body)
            body = await self._described(last.body, root, final)
        with reading(AN_INNER_SEARCH):
            size, own_pit = answer_size(body), self._own_pit
            with stages.stage("splice", "splice"):
                body = await offload(size, reply.from_final, body, run.took_ms, own_pit=own_pit)
        return run.answer(body, last)

    async def _mappings(self) -> Mappings:
        """Return the mappings of the searched indices; none if they cannot be known or the caller may not see
        them.
        """
        request = self._run.request
        if not self._own_pit:
            return {}
        query = request.params.only({"allow_no_indices", "expand_wildcards", "ignore_unavailable"})
        try:
            answer = await self._run.send("GET", target(request.index or "_all", "_mapping", query), b"")
        except UpstreamRefusedError:
            return {}
        with reading("[_mapping]"):
            mappings: Mappings = await offload(len(answer.body), json.loads, answer.body)
            return mappings

    async def _final_search(self, root: EvaluatedRetriever) -> tuple[Reply, bytes]:
        """Send the final search. Return its answer, and the body that was sent.

        If upstream does not allow the expensive query that highlighting needs, do without it.
        """
        run, request, pit = self._run, self._run.request, self._pit
        size = len(request.body) + sum(docs_size(each.docs) for each in root.all())
        at = target(None, "_search", request.params.without(targets.NOT_IN_POINT_IN_TIME))
        try:
            final = await offload(size, bodies.final_search, request, pit, root)
            return await run.send("POST", at, final, label=FINAL_SEARCH), final
        except UpstreamRefusedError as refused:
            if "highlight" not in request.opaque_members or _NOT_EXPENSIVE not in refused.reply.body:
                raise
        final = await offload(size, bodies.final_search, request, pit, root, expensive=False)
        return await run.send("POST", at, final, label=FINAL_SEARCH), final

    async def _described(self, answer: bytes, root: EvaluatedRetriever, final: bytes) -> bytes:
        """Return the answer with the profile and explanations of the tree in place of the final search's."""
        run, request = self._run, self._run.request
        if not (request.asks("explain") or request.asks("profile")):
            return answer
        with reading(AN_INNER_SEARCH):
            top, printer = await offload(answer_size(answer), search_answer, answer), Printer.like(answer)
            if request.asks("profile"):
                size = answer_size(top["profile"]) + docs_size(root.docs)
                with stages.stage("splice"):
                    top["profile"] = await offload(size, profiled, top["profile"], root, run, printer)
        if request.asks("explain"):
            top["hits"] = await with_explanations(
                top["hits"], root, run, self._pit, self._search, printer, final
            )
        return printer.object(top, 0) + printer.end()


def _inner_search(run: Run, passed_on: Set[str]) -> InnerSearch:
    """Return a function that sends inner searches.

    Args:
        passed_on: The names of the client's parameters that inner searches take over.
    """
    options = run.request.params.only(passed_on)
    at = target(None, "_search", f"{targets.ALL_SHARDS}&{options}" if options else targets.ALL_SHARDS)

    async def search(body: bytes) -> Reply:
        return await run.send("POST", at, body)

    return search
