"""The inference endpoints of this proxy: those of the settings, and those that are kept in a store."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rerank_proxy.chunks.settings import CONSERVATIVE_WINDOW_WORDS
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import Scores
from rerank_proxy.errors import Cause
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, not_found, status_error
from rerank_proxy.inference.ranking import Ranking, RerankInput
from rerank_proxy.inference.service import Ranker, Service
from rerank_proxy.inference.store import EndpointStore, StoredEndpoint, already_exists

logger = logging.getLogger(__name__)

DEFAULT_ENDPOINT: Final = ".rerank-v1-elasticsearch"
"""The id that a retriever uses when it names none; preconfigured in Elasticsearch."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An `inference_id` of task type `rerank`, ready to be asked.

    Attributes:
        top_n: The most results it is configured to give.
        window_words: How many words of a text its model reads, roughly.
    """

    config: EndpointConfig
    ranker: Ranker
    top_n: int | None = None
    window_words: int = CONSERVATIVE_WINDOW_WORDS

    @property
    def inference_id(self) -> str:
        return self.config.inference_id

    @property
    def model(self) -> str:
        return self.ranker.model

    def check_window(self, size: int) -> None:
        """Raises:
        InferenceFailedError: 400, for a window that it would not answer for as a whole.
        """
        if self.top_n is not None and self.top_n < size:
            reason = (
                f"Inference endpoint [{self.inference_id}] is configured to return the top [{self.top_n}] "
                f"results, but rank_window_size is [{size}]. Reduce rank_window_size to be less than or "
                "equal to the configured top N value."
            )
            raise InferenceFailedError(400, Cause("illegal_argument_exception", reason))

    async def rank(self, request: RerankInput, deadline: Deadline) -> Ranking:
        """As `Ranker.rank`, with the answer checked."""
        ranking = await self.ranker.rank(request, deadline)
        ranking.check(self.inference_id, len(request.texts))
        return ranking

    async def rerank(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        """Raw relevance scores, one float per text, in input order.

        Raises:
            InferenceFailedError: With the status and cause that Elasticsearch would give.
        """
        request = RerankInput(query, texts, return_documents=False, task_settings=self.config.task_settings)
        ranking = await self.rank(request, deadline)
        return Scores(ranking.scores(len(texts)), ranking.cached, ranking.truncated)


class Endpoints:
    """All endpoints by id.

    Args:
        services: By name.
        fixed: Endpoints that no request can change.
    """

    def __init__(
        self, services: Mapping[str, Service], fixed: Iterable[EndpointConfig], store: EndpointStore
    ) -> None:
        self.services = services
        self._fixed = {config.inference_id: config for config in fixed}
        self._store = store
        self._open: dict[str, Endpoint] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._follow_store()

    async def start(self) -> None:
        await self._store.start(self._follow_store)

    async def close(self) -> None:
        await self._store.close()
        for endpoint in self._open.values():
            self._retire(endpoint)
        self._open = {}
        await asyncio.gather(*self._closing)

    def all(self) -> list[EndpointConfig]:
        """By id, ascending."""
        return [self._open[inference_id].config for inference_id in sorted(self._open)]

    async def find(self, inference_id: str) -> Endpoint | None:
        """An endpoint that another proxy has just made is found too."""
        endpoint = self._open.get(inference_id)
        if endpoint is None:
            await self._store.refresh()
            endpoint = self._open.get(inference_id)
        return endpoint

    def is_fixed(self, inference_id: str) -> bool:
        return inference_id in self._fixed

    async def create(self, config: EndpointConfig, deadline: Deadline, *, check: bool = True) -> None:
        """Keep a new endpoint that works.

        Args:
            check: Whether it is tried before it is kept, and started.

        Raises:
            InferenceFailedError: There is one of this id, it does not work, or it cannot be kept. With status
                408 it is kept: its model was not started in time.
        """
        inference_id = config.inference_id
        if await self.find(inference_id) is not None:
            raise already_exists(inference_id)
        if check:
            await self._try(config, deadline)
        await self._store.create(config)
        self._follow_store()
        if check:
            await self._start(inference_id, deadline)

    async def replace(self, config: EndpointConfig, deadline: Deadline, *, check: bool = True) -> None:
        """Change an endpoint to another state that works; raises as `create`."""
        stored = self._stored(config.inference_id)
        if stored.config == config:
            return
        if check:
            await self._try(config, deadline)
        await self._store.replace(config, stored.version)
        self._follow_store()

    async def delete(self, inference_id: str) -> None:
        """Raises:
        InferenceFailedError: There is none of this id, or it is fixed, or the store cannot be written.
        """
        await self._store.delete(inference_id, self._stored(inference_id).version)
        self._follow_store()

    def _stored(self, inference_id: str) -> StoredEndpoint:
        if self.is_fixed(inference_id):
            raise status_error(
                400,
                f"Inference endpoint [{inference_id}] is fixed in the settings of the proxy; change it there",
            )
        stored = self._store.all().get(inference_id)
        if stored is None:
            raise not_found(inference_id)
        return stored

    async def _try(self, config: EndpointConfig, deadline: Deadline) -> None:
        ranker = self.services[config.service].open(config)
        try:
            await ranker.check(deadline)
        finally:
            await ranker.close()

    async def _start(self, inference_id: str, deadline: Deadline) -> None:
        endpoint = self._open.get(inference_id)
        if endpoint is None:
            return  # deleted by another request meanwhile
        try:
            await endpoint.ranker.start(deadline)
        except InferenceFailedError as failure:
            if failure.status != 408:
                await self.delete(inference_id)
            raise

    def _follow_store(self) -> None:
        """Open what is new, close what is gone or has changed."""
        wanted = dict(self._store.all())
        wanted |= {inference_id: StoredEndpoint(config) for inference_id, config in self._fixed.items()}
        for inference_id, endpoint in tuple(self._open.items()):
            stored = wanted.get(inference_id)
            if stored is None or stored.config != endpoint.config:
                del self._open[inference_id]
                self._retire(endpoint)
        for inference_id, stored in wanted.items():
            if inference_id not in self._open:
                self._open[inference_id] = self._opened(stored)

    def _opened(self, stored: StoredEndpoint) -> Endpoint:
        config = stored.config
        service = self.services.get(config.service)
        if stored.failure is not None:
            return Endpoint(config, _Broken(stored.failure))
        if service is None:
            reason = f"Unknown service [{config.service}] for model [{config.inference_id}]"
            return Endpoint(config, _Broken(status_error(400, reason)))
        try:
            return Endpoint(config, service.open(config), service.top_n(config), service.window_words(config))
        except Exception:
            # Settings that its service did not write may make it raise anything; the other endpoints go on.
            logger.exception("inference endpoint [%s] cannot be opened", config.inference_id)
            reason = f"Inference endpoint [{config.inference_id}] has settings that its service cannot read"
            return Endpoint(config, _Broken(status_error(400, reason)))

    def _retire(self, endpoint: Endpoint) -> None:
        task = asyncio.create_task(endpoint.ranker.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Broken:
    """Of an endpoint that nothing here can serve: a plug-in is missing, for example."""

    model: Final = "none"

    def __init__(self, failure: InferenceFailedError) -> None:
        self._failure = failure

    async def rank(self, request: RerankInput, deadline: Deadline) -> Ranking:
        raise self._fresh()

    async def check(self, deadline: Deadline) -> None:
        raise self._fresh()

    async def start(self, deadline: Deadline) -> None:
        raise self._fresh()

    async def close(self) -> None:
        """Nothing is held."""

    def _fresh(self) -> InferenceFailedError:
        """The same once more: one object that many calls raise would gather all their tracebacks."""
        return InferenceFailedError(self._failure.status, self._failure.cause)
