"""Run a search: in one round trip where that suffices, else in a point in time."""

import asyncio
from dataclasses import replace
from typing import Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import answer_size, offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe import stages
from rerank_proxy.search import targets
from rerank_proxy.search.answer import reply
from rerank_proxy.search.failures import RankPhaseError, children_failed, may_be_due_to_fields, search_failure
from rerank_proxy.search.first_stage import window_alone, without_reranker
from rerank_proxy.search.inner import bodies
from rerank_proxy.search.inner.window import read_window
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.misspelt_fields import MisspeltFields
from rerank_proxy.search.own_points_in_time import OwnPointsInTime
from rerank_proxy.search.parse_faults import find_parse_fault, may_be_parse_fault
from rerank_proxy.search.point_in_time import search_in_point_in_time
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.ranks.ranking import reaching, searched
from rerank_proxy.search.run import AN_INNER_SEARCH, InnerBytes, Run, SearchAnswer
from rerank_proxy.search.single_search import OneSearch, one_search, one_search_suffices
from rerank_proxy.search.targets import target
from rerank_proxy.search.trial import Trial
from rerank_proxy.search.trials import Trials
from rerank_proxy.settings import SearchSettings
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading

_NOTHING: Final = b'{"query":{"match_none":{}},"size":0}'


class Executor:
    """Runs searches for all callers.

    Args:
        deadline_s: Seconds for the whole of one search.
        bound_scores_by_timeout: Whether a request's own `timeout` bounds the scoring, too.
        points_in_time: Opens and closes those of searches that bring none.
        trials: Says what part each search takes in a comparison; None: none takes any.
    """

    def __init__(
        self,
        rank_phase: RankPhase,
        deadline_s: float,
        *,
        bound_scores_by_timeout: bool = False,
        points_in_time: OwnPointsInTime | None = None,
        trials: Trials | None = None,
    ) -> None:
        self._rank_phase = rank_phase
        self._deadline_s = deadline_s
        self._bound_scores_by_timeout = bound_scores_by_timeout
        self._points_in_time = points_in_time or OwnPointsInTime()
        self._misspelt = MisspeltFields()
        self._trials = trials

    def use(self, search: SearchSettings) -> None:
        """Use other settings, for searches that begin from now on."""
        self._deadline_s = search.deadline_s
        self._bound_scores_by_timeout = search.bound_scores_by_request_timeout
        self._rank_phase.use(search)

    async def run(
        self,
        request: SearchRequest,
        upstream: Upstream,
        inner: InnerBytes | None = None,
        *,
        afterwards: Upstream | None = None,
    ) -> SearchAnswer:
        """Run one search and return its answer.

        Args:
            inner: The bound that the searches of one client's request share, if it has several.
            afterwards: Upstream for what goes on after the answer; None for the same.

        Raises:
            UpstreamRefusedError: Upstream refused a search; its answer is for the client.
            ElasticsearchError: Searching or scoring failed, in native's shape.
        """
        run = self._begin(request, upstream, inner or InnerBytes(len(request.body)))
        try:
            await _check_parameters(run)
            request.retriever.check_rewrite()
            if self._trials is None or not self._trials.is_on or run.recorded is not None:
                answer = await self._search(run)
            else:
                answer = await self._tried(self._trials, run, afterwards or upstream)
        except UpstreamRefusedError as refused:
            fault = await _parse_fault(run, refused.reply)
            if fault is None:
                raise
            raise fault from refused
        self._misspelt.log(run)
        return answer

    async def drain(self) -> None:
        """Wait for the points in time that are still being closed."""
        await self._points_in_time.drain()

    def _begin(self, request: SearchRequest, upstream: Upstream, inner: InnerBytes) -> Run:
        """Return the state of a search that begins now, with deadlines for all of it and for its scores."""
        deadline = Deadline.of_setting("search.deadline_s", self._deadline_s)
        scores_by, timeout = deadline, request.timeout
        # A `timeout` of 0 means no limit to native, too; taken literally it would leave no time for scores.
        if self._bound_scores_by_timeout and timeout is not None and timeout.nanos > 0:
            scores_by = deadline.or_sooner(Deadline.of_request(timeout))
        return Run(request, upstream, inner, deadline, scores_by)

    async def _tried(self, trials: Trials, run: Run, afterwards: Upstream) -> SearchAnswer:
        """Answer a search that may take part in a comparison."""
        run.trial = trial = trials.begin(run.request, run.upstream)
        if trial is None or trial.mode != "shadow":
            answer = await self._search(run)
            if trial is not None:
                trials.answered(run, trial, answer)
            return answer
        answer = await self._first_stage(run, trial)
        trials.in_the_shadow(run, trial, answer, lambda: self._scored(run.request, trial, afterwards))
        return answer

    async def _first_stage(self, run: Run, trial: Trial) -> SearchAnswer:
        """Answer a search as if the child of its reranker were its retriever."""
        request = run.request
        plain = without_reranker(request, trial.reranker)
        if isinstance(plain, SearchRequest):
            own = replace(run, request=plain, trial=None)
            return await search_in_point_in_time(own, self._rank_phase, self._points_in_time)
        query = request.params.without(targets.PAGE)
        body = await offload(len(request.body), bodies.first_stage_search, request, plain)
        answer = await run.send("POST", target(request.index, "_search", query), body)
        return run.answer(answer.body, answer)

    async def _scored(self, request: SearchRequest, trial: Trial, upstream: Upstream) -> Run:
        """Rank the window of a search, and return what is known of it then."""
        run = self._begin(window_alone(request), upstream, InnerBytes(len(request.body)))
        run.trial = trial
        await self._search(run)
        return run

    async def _search(self, run: Run) -> SearchAnswer:
        path = one_search(run.request)
        if path is not None:
            answer = await self._one_search(run, path)
            if answer is not None:
                return answer
        return await search_in_point_in_time(run, self._rank_phase, self._points_in_time)

    async def _one_search(self, run: Run, path: OneSearch) -> SearchAnswer | None:
        """Answer in one round trip. Return None if only a point in time gives native's answer."""
        request, reranker = run.request, path.reranker
        # Native's search for a rank window has no timeout: that is for the final search.
        query = request.params.without(targets.PAGE | {"timeout"})
        body = await offload(len(request.body), bodies.single_search, request, reranker, path.child)
        try:
            answer = await run.send("POST", target(request.index, "_search", query), body)
            with reading(AN_INNER_SEARCH):
                window = await offload(answer_size(answer.body), read_window, answer.body, reranker.field)
            kept = reaching(await self._rank_phase.rerank(run, reranker, window.docs), reranker.min_score)
        except RankPhaseError as failure:
            raise children_failed(reranker.TYPE, [(path.child.TYPE, failure)]) from failure
        except UpstreamRefusedError as refused:
            failed = search_failure(refused.reply)
            if failed is None:
                raise
            if may_be_due_to_fields(failed):
                return None
            raise children_failed(reranker.TYPE, [(path.child.TYPE, failed)]) from refused
        ranked = searched(kept, len(kept))
        if not one_search_suffices(request, ranked):
            run.begin_again()
            return None
        with reading(AN_INNER_SEARCH):
            size = answer_size(answer.body)
            with stages.stage("splice", "splice"):
                body = await offload(size, reply.from_window, request, window, ranked, run.took_ms)
        return run.answer(body, answer)


async def _check_parameters(run: Run) -> None:
    """Have upstream refuse unknown parameters first, as it would in the final search after all others.

    Elasticsearch checks parameters as soon as it has read a request.
    """
    params = run.request.params
    if not targets.SEARCH.issuperset(params):
        query = params.without(targets.NOT_IN_POINT_IN_TIME)
        await run.send("POST", target(None, "_search", query), _NOTHING)


async def _parse_fault(run: Run, refusal: Reply) -> ElasticsearchError | UpstreamRefusedError | None:
    """Return the error that Elasticsearch would have for a refused search; None if it is the refusal."""
    if not may_be_parse_fault(refusal):
        return None
    request = run.request
    formatting = request.params.only(targets.RESPONSE_FORMAT)
    try:
        with stages.stage("upstream"):
            async with asyncio.timeout_at(run.deadline.at):
                return await find_parse_fault(request.body, run.upstream, formatting)
    except (TimeoutError, ElasticsearchError):  # upstream has said what is wrong, if not where
        return None
