"""An endpoint of a remote service that can be asked."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, status_error, timed_out
from rerank_proxy.inference.ranking import RankedDoc, Ranking, RerankInput, sort_by_score
from rerank_proxy.inference.remote.breaker import Breaker
from rerank_proxy.inference.remote.calls import HttpAnswer, HttpCall, RemoteCall
from rerank_proxy.inference.remote.client import RemoteClient, digest
from rerank_proxy.inference.remote.failures import RemoteFailedError, failed_validation, unusable
from rerank_proxy.inference.remote.limits import answer_limit
from rerank_proxy.inference.remote.sending import exchange
from rerank_proxy.inference.remote.shapes import MalformedAnswerError
from rerank_proxy.inference.service import RATE_LIMIT

if TYPE_CHECKING:
    from rerank_proxy.inference.remote.service import RemoteService

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TEST_QUERY: Final = "test query"
_TEST_INPUT: Final = "how big"
_SHORT: Final = 8 * 1024
"""Bytes of an answer that are read where they come in; a thread costs more than reading them."""
_FEW: Final = 1000
"""Results that are put together where they come in."""
_PATIENT: Final = 0.9
"""The share of the usual time that a call must have had for its end to count as the service's failure."""


class RemoteRanker:
    """Calls the service within deadline and limits, over several calls where one is not enough."""

    def __init__(
        self, service: "RemoteService", config: EndpointConfig, client: RemoteClient, timeout_s: float
    ) -> None:
        self.model = service.model(config)
        self._service = service
        self._config = config
        self._client = client
        self._timeout_s = timeout_s
        account = digest(config.secrets, service.url(config))
        self._rate_limit = client.rate_limit(service.name, account, self.model)
        settings = client.settings
        self._breaker = Breaker(
            client.clock, settings.breaker_failures, settings.breaker_pause_s, self._pause_changed
        )

    async def rank(self, request: RerankInput, deadline: Deadline) -> Ranking:
        """In the service's own order where one call is enough; else by score."""
        call = self._service.remote_call(
            self._config,
            request.query,
            request.texts,
            request.top_n,
            request.return_documents,
            request.task_settings,
        )
        if not call.texts:
            return Ranking([])
        batches = self._batches(call)
        with self._breaker.call(self._config.inference_id):
            answers = await self._in_time(batches, deadline)
        if len(call.texts) <= _FEW:
            return self._ranking(answers, batches, call)
        return await asyncio.to_thread(self._ranking, answers, batches, call)

    async def check(self, deadline: Deadline) -> None:
        """One real call."""
        request = RerankInput(_TEST_QUERY, [_TEST_INPUT], task_settings=self._config.task_settings)
        try:
            (await self.rank(request, deadline)).check(self._config.inference_id, 1)
        except InferenceFailedError as failure:
            raise failed_validation(failure) from None

    async def start(self, deadline: Deadline) -> None:
        """It runs elsewhere, and was called by `check`."""

    async def close(self) -> None:
        self._breaker.close()

    def _pause_changed(self, by: int) -> None:
        self._client.metrics.paused.labels(self._service.name).inc(by)
        what = "is given a pause, its calls fail" if by > 0 else "is called again"
        logger.warning("inference endpoint [%s] %s", self._config.inference_id, what)

    def _batches(self, call: RemoteCall) -> list[RemoteCall]:
        limit = self._service.max_documents(self._config)
        size = len(call.texts)
        if limit is None or size <= limit:
            return [call]
        if not self._service.pointwise(self._config):
            raise status_error(
                400,
                f"Inference endpoint [{self._config.inference_id}] takes at most [{limit}] inputs at once, "
                f"not [{size}]: model [{self.model}] compares them with each other, so that they cannot be "
                "split. Send fewer, or reduce rank_window_size",
            )
        parts = [call.texts[start : start + limit] for start in range(0, size, limit)]
        top_n = call.top_n
        return [
            replace(call, texts=part, top_n=None if top_n is None else min(top_n, len(part)))
            for part in parts
        ]

    async def _in_time(self, batches: Sequence[RemoteCall], deadline: Deadline) -> list[list[RankedDoc]]:
        was_patient = deadline.at - asyncio.get_running_loop().time() >= _PATIENT * self._timeout_s
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._all(batches, deadline)
        except TimeoutError:
            raise self._timed_out(deadline, outage=was_patient) from None

    async def _all(self, batches: Sequence[RemoteCall], deadline: Deadline) -> list[list[RankedDoc]]:
        if len(batches) == 1:
            return [await self._ranked(batches[0], deadline)]
        gate = asyncio.Semaphore(self._client.settings.parallel_calls)

        async def one(batch: RemoteCall) -> list[RankedDoc]:
            async with gate:
                return await self._ranked(batch, deadline)

        return await _side_by_side([one(batch) for batch in batches])

    def _ranking(
        self, answers: Sequence[Sequence[RankedDoc]], batches: Sequence[RemoteCall], call: RemoteCall
    ) -> Ranking:
        return Ranking(_with_texts(self._merged(answers, batches, call), call))

    def _merged(
        self, answers: Sequence[Sequence[RankedDoc]], batches: Sequence[RemoteCall], call: RemoteCall
    ) -> Sequence[RankedDoc]:
        """What is sorted here has equal scores in the order of the input."""
        if len(answers) == 1 and self._service.ranks:
            return answers[0]
        docs: list[RankedDoc] = []
        offset = 0
        for answer, batch in zip(answers, batches, strict=True):
            Ranking(answer).check(self._config.inference_id, len(batch.texts))
            docs += [replace(doc, index=doc.index + offset) for doc in answer]
            offset += len(batch.texts)
        return sort_by_score(sorted(docs, key=lambda doc: doc.index), call.top_n)

    async def _ranked(self, batch: RemoteCall, deadline: Deadline) -> list[RankedDoc]:
        retries = self._client.metrics.retries.labels(self._service.name)
        return await self._client.retries.run(lambda: self._once(batch, deadline), deadline.at, retries.inc)

    async def _once(self, batch: RemoteCall, deadline: Deadline) -> list[RankedDoc]:
        inference_id = self._config.inference_id
        limit = self._config.service_settings.get(RATE_LIMIT)
        if limit is not None:
            await self._rate_limit.acquire(inference_id, limit["requests_per_minute"], deadline)
        http_call = await self._call(batch, deadline)
        limit = answer_limit(http_call, len(batch.texts), self._client.settings.max_answer)
        answer = await exchange(self._client, self._service, self._config, http_call, limit)
        try:
            docs = await self._read(answer)
        except MalformedAnswerError as failure:
            raise unusable(inference_id, str(failure), answer.status) from None
        if len(docs) > len(batch.texts):
            reason = f"it holds [{len(docs)}] results for [{len(batch.texts)}] inputs"
            raise unusable(inference_id, reason, answer.status)
        return docs

    async def _call(self, batch: RemoteCall, deadline: Deadline) -> HttpCall:
        try:
            return await self._service.call(self._config, batch, deadline)
        except UnicodeEncodeError:
            reason = "a text holds half a surrogate pair, which cannot be sent"
        except ValueError:
            reason = "its settings do not make a call"
        raise status_error(
            400, f"Inference endpoint [{self._config.inference_id}] cannot be called: {reason}"
        )

    async def _read(self, answer: HttpAnswer) -> list[RankedDoc]:
        if len(answer.body) <= _SHORT:
            return self._service.read(self._config, answer.body)
        return await asyncio.to_thread(self._service.read, self._config, answer.body)

    def _timed_out(self, deadline: Deadline, *, outage: bool) -> InferenceFailedError:
        """A caller in a hurry says nothing about the service."""
        inference_id = self._config.inference_id
        url = self._service.shown(self._config, self._service.url(self._config))
        failure = timed_out(inference_id, deadline, f"[{url}] did not answer in time")
        return RemoteFailedError(failure.status, failure.cause, outage=True) if outage else failure


def _with_texts(docs: Sequence[RankedDoc], call: RemoteCall) -> Sequence[RankedDoc]:
    """Texts that were asked for and that the service does not give are the inputs; others are dropped."""
    if call.return_documents is None:
        return docs
    if not call.return_documents:
        return [replace(doc, text=None) for doc in docs]
    return [
        replace(doc, text=call.texts[doc.index])
        if doc.text is None and 0 <= doc.index < len(call.texts)
        else doc
        for doc in docs
    ]


async def _side_by_side(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first failure ends the others."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
