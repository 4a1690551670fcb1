"""Scores texts by calls of a remote service."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.engine import Scores
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, status_error, timed_out
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest, by_score, check_results, in_input_order
from rerank_proxy.inference.remote.breaker import CircuitBreaker
from rerank_proxy.inference.remote.calls import HttpCall
from rerank_proxy.inference.remote.client import RemoteClient, digest
from rerank_proxy.inference.remote.failures import RemoteFailedError, failed_validation, unusable
from rerank_proxy.inference.remote.limits import answer_limit
from rerank_proxy.inference.remote.sending import call_vendor
from rerank_proxy.inference.remote.shapes import MalformedAnswerError
from rerank_proxy.inference.remote.vendor import Vendor
from rerank_proxy.inference.service import RATE_LIMIT, Ranker
from rerank_proxy.observe import stages
from rerank_proxy.observe.events import event

logger = logging.getLogger(__name__)

_TEST: Final = RerankRequest("test query", ["how big"])
_PATIENT: Final = 0.9
"""The share of the usual time that a call must have had for its end to count as the service's failure."""

_Batch = tuple[RerankRequest, Sequence[RankedDoc]]
"""What was asked in one call, and the results."""


class RemoteRanker(Ranker):
    """Calls a vendor within deadline and limits, several times where one call does not take all texts."""

    def __init__(
        self, vendor: Vendor, config: EndpointConfig, client: RemoteClient, timeout_s: float
    ) -> None:
        self.model = vendor.model(config)
        self._vendor = vendor
        self._config = config
        self._client = client
        self._timeout_s = timeout_s
        account = digest(config.secrets, vendor.url(config))
        self._rate_limit = client.rate_limit(vendor.name, account, self.model)
        settings = client.settings
        self._breaker = CircuitBreaker(
            client.clock, settings.breaker_failures, settings.breaker_pause_s, self._breaker_changed
        )

    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        """Return the vendor's scores, those of several calls put together."""
        limit = self._vendor.top_n(self._config)
        request = RerankRequest(query, texts, limit, False, self._config.task_settings)
        batches = await self._ask(request, deadline)
        return Scores(await offload(docs_size(texts), self._in_input_order, batches, request))

    async def rank(self, request: RerankRequest, deadline: Deadline) -> Sequence[RankedDoc]:
        """Return results in the vendor's order where one call is enough; else by score."""
        batches = await self._ask(request, deadline)
        return await offload(docs_size(request.texts), self._results, batches, request)

    async def check(self, deadline: Deadline) -> None:
        """Make one real call."""
        request = self._vendor.complete(self._config, _TEST)
        try:
            check_results(await self.rank(request, deadline), self._config.inference_id, len(request.texts))
        except InferenceFailedError as failure:
            raise failed_validation(failure) from None

    async def close(self) -> None:
        self._breaker.close()

    def _breaker_changed(self, by: int) -> None:
        self._client.metrics.paused.labels(self._vendor.name).inc(by)
        what = "is open: its calls fail without being sent" if by > 0 else "is closed: it is called again"
        inference_id = self._config.inference_id
        action = "breaker-opened" if by > 0 else "breaker-closed"
        logger.warning(
            "the circuit breaker of inference endpoint [%s] %s",
            inference_id,
            what,
            extra=event(action, "network", failed=by > 0, endpoint=inference_id),
        )

    async def _ask(self, request: RerankRequest, deadline: Deadline) -> list[_Batch]:
        if not request.texts:
            return []
        batches = self._batches(request)
        with stages.stage(None, "score") as block, self._breaker.call(self._config.inference_id):
            if block.span is not None:
                block.span.set(
                    {
                        "rerank_proxy.service": self._vendor.name,
                        "rerank_proxy.model": self.model,
                        "rerank_proxy.texts": len(request.texts),
                        "rerank_proxy.calls": len(batches),
                    }
                )
            return list(zip(batches, await self._in_time(batches, deadline), strict=True))

    def _batches(self, request: RerankRequest) -> list[RerankRequest]:
        limit = self._vendor.max_documents(self._config)
        size = len(request.texts)
        if limit is None or size <= limit:
            return [request]
        if not self._vendor.pointwise(self._config):
            raise status_error(
                400,
                f"Inference endpoint [{self._config.inference_id}] takes at most [{limit}] inputs at once, "
                f"not [{size}]: model [{self.model}] compares them with each other, so that they cannot be "
                "split. Send fewer, or reduce rank_window_size",
            )
        parts = [request.texts[start : start + limit] for start in range(0, size, limit)]
        top_n = request.top_n
        return [
            replace(request, texts=part, top_n=None if top_n is None else min(top_n, len(part)))
            for part in parts
        ]

    async def _in_time(self, batches: Sequence[RerankRequest], deadline: Deadline) -> list[list[RankedDoc]]:
        was_patient = deadline.at - asyncio.get_running_loop().time() >= _PATIENT * self._timeout_s
        gate = asyncio.Semaphore(self._client.settings.parallel_calls)

        async def one(batch: RerankRequest) -> list[RankedDoc]:
            with stages.stage("queue"):
                await gate.acquire()
            try:
                return await self._retried(batch, deadline)
            finally:
                gate.release()

        try:
            async with asyncio.timeout_at(deadline.at):
                return await side_by_side(one(batch) for batch in batches)
        except TimeoutError:
            raise self._timed_out(deadline, outage=was_patient) from None

    def _in_input_order(self, batches: Sequence[_Batch], request: RerankRequest) -> list[float]:
        # A `top_n` of the task settings cuts the results, and so is refused: searches need all scores.
        return in_input_order(self._joined(batches)[: request.top_n], len(request.texts))

    def _results(self, batches: Sequence[_Batch], request: RerankRequest) -> Sequence[RankedDoc]:
        if len(batches) == 1 and self._vendor.ranks:
            ((_, docs),) = batches
        else:
            docs = by_score(self._joined(batches), request.top_n)
        return _with_texts(docs, request)

    def _joined(self, batches: Sequence[_Batch]) -> list[RankedDoc]:
        """Return the results of all batches, each with the position of its text in the whole input."""
        docs: list[RankedDoc] = []
        offset = 0
        for batch, found in batches:
            check_results(found, self._config.inference_id, len(batch.texts))
            docs += [replace(doc, index=doc.index + offset) for doc in found] if offset else found
            offset += len(batch.texts)
        return docs

    async def _retried(self, batch: RerankRequest, deadline: Deadline) -> list[RankedDoc]:
        retries = self._client.metrics.retries.labels(self._vendor.name)
        return await self._client.retries.run(lambda: self._once(batch, deadline), deadline.at, retries.inc)

    async def _once(self, batch: RerankRequest, deadline: Deadline) -> list[RankedDoc]:
        inference_id = self._config.inference_id
        limit = self._config.service_settings.get(RATE_LIMIT)
        if limit is not None:
            await self._rate_limit.acquire(inference_id, limit["requests_per_minute"], deadline)
        with stages.stage("score"):
            return await self._called(batch, deadline)

    async def _called(self, batch: RerankRequest, deadline: Deadline) -> list[RankedDoc]:
        inference_id = self._config.inference_id
        call = await self._call(batch, deadline)
        bounds = answer_limit(call, len(batch.texts), self._client.settings.max_answer)
        answer = await call_vendor(self._client, self._vendor, self._config, call, bounds)
        try:
            # Within its bounds an answer takes no more processor time than the bodies that the worker is for.
            docs = await offload(len(answer.body), self._vendor.read, self._config, answer.body)
        except MalformedAnswerError as failure:
            raise unusable(inference_id, str(failure), answer.status) from None
        if len(docs) > len(batch.texts):
            reason = f"it holds [{len(docs)}] results for [{len(batch.texts)}] inputs"
            raise unusable(inference_id, reason, answer.status)
        return docs

    async def _call(self, batch: RerankRequest, deadline: Deadline) -> HttpCall:
        try:
            return await self._vendor.call(self._config, batch, deadline)
        except UnicodeEncodeError:
            reason = "a text holds half a surrogate pair, which cannot be sent"
        except ValueError:
            reason = "its settings do not make a call"
        raise status_error(
            400, f"Inference endpoint [{self._config.inference_id}] cannot be called: {reason}"
        )

    def _timed_out(self, deadline: Deadline, *, outage: bool) -> InferenceFailedError:
        """Return the failure; it is an outage only if the caller waited long enough to tell."""
        inference_id = self._config.inference_id
        url = self._vendor.shown(self._config, self._vendor.url(self._config))
        failure = timed_out(inference_id, deadline, f"[{url}] did not answer in time")
        if not outage:
            return failure
        return RemoteFailedError(failure.status, failure.cause, outage=True, why="deadline")


def _with_texts(docs: Sequence[RankedDoc], request: RerankRequest) -> Sequence[RankedDoc]:
    """Return results with the texts that were asked for: the vendor's, else those of the input."""
    if request.return_documents is None:
        return docs
    if not request.return_documents:
        return [replace(doc, text=None) for doc in docs]
    return [
        replace(doc, text=request.texts[doc.index])
        if doc.text is None and 0 <= doc.index < len(request.texts)
        else doc
        for doc in docs
    ]
