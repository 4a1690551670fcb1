"""The inference endpoints of this proxy: preconfigured ones of the settings, and those in a store."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from rerank_proxy.chunks.settings import CONSERVATIVE_WINDOW_WORDS
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine import Scores
from rerank_proxy.errors import Cause, fresh
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, not_found, status_error
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest, check_results, check_scores
from rerank_proxy.inference.reporting import LastCall, Reporter
from rerank_proxy.inference.service import Ranker, Service
from rerank_proxy.inference.store import EndpointStore, StoredEndpoint, already_exists

logger = logging.getLogger(__name__)

DEFAULT_ENDPOINT: Final = ".rerank-v1-elasticsearch"
"""The id that a retriever uses when it names none; preconfigured in Elasticsearch."""

_REPORTER: Final = Reporter()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An open endpoint of task type `rerank`.

    Attributes:
        top_n: The most results that it is configured to give.
        window_words: Roughly how many words of a text its model reads.
        last_call: How the last call ended.
    """

    config: EndpointConfig
    ranker: Ranker
    top_n: int | None = None
    window_words: int = CONSERVATIVE_WINDOW_WORDS
    last_call: LastCall = field(default_factory=LastCall, compare=False)

    @property
    def inference_id(self) -> str:
        return self.config.inference_id

    @property
    def model(self) -> str:
        return self.ranker.model

    @property
    def failure(self) -> str | None:
        """Why it cannot be called; None if it can."""
        return self.ranker.why if isinstance(self.ranker, _Broken) else None

    def check_window(self, size: int) -> None:
        """Refuse a rank window that the endpoint would not score as a whole.

        Raises:
            InferenceFailedError: 400.
        """
        if self.top_n is not None and self.top_n < size:
            reason = (
                f"Inference endpoint [{self.inference_id}] is configured to return the top [{self.top_n}] "
                f"results, but rank_window_size is [{size}]. Reduce rank_window_size to be less than or "
                "equal to the configured top N value."
            )
            raise InferenceFailedError(400, Cause("illegal_argument_exception", reason))

    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        """Return a raw relevance score for each text, in input order.

        Raises:
            InferenceFailedError: With the status and cause that Elasticsearch would give.
        """
        if not texts:
            return Scores(())
        with _REPORTER.around(self.inference_id, self.model), self.last_call.around():
            scores = await self.ranker.scores(query, texts, deadline)
            check_scores(scores, self.inference_id, len(texts))
        return scores

    async def rank(self, request: RerankRequest, deadline: Deadline) -> Sequence[RankedDoc]:
        """Return results as `Ranker.rank` does, checked."""
        with _REPORTER.around(self.inference_id, self.model), self.last_call.around():
            docs = await self.ranker.rank(request, deadline)
            check_results(docs, self.inference_id, len(request.texts))
        return docs


class Endpoints:
    """All endpoints by id.

    Args:
        services: By name.
        preconfigured: Endpoints that no request can change.
        gone: Called with the id of each endpoint that is there no longer.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        preconfigured: Iterable[EndpointConfig],
        store: EndpointStore,
        gone: Callable[[str], None] = lambda inference_id: None,
    ) -> None:
        self._gone = gone
        self.services = services
        self._preconfigured = {config.inference_id: config for config in preconfigured}
        self._store = store
        self._open: dict[str, Endpoint] = {}
        self._closing = BackgroundTasks()
        self._follow_store()

    async def start(self) -> None:
        await self._store.start(self._follow_store)

    def use_preconfigured(self, preconfigured: Iterable[EndpointConfig]) -> None:
        """Replace the preconfigured endpoints. Those that stay as they are stay open."""
        self._preconfigured = {config.inference_id: config for config in preconfigured}
        self._follow_store()

    async def close(self) -> None:
        await self._store.close()
        for endpoint in self._open.values():
            self._retire(endpoint)
        self._open = {}
        await self._closing.finish()

    def opened(self) -> list[Endpoint]:
        """Return all endpoints, by ascending id."""
        return [self._open[inference_id] for inference_id in sorted(self._open)]

    def all(self) -> list[EndpointConfig]:
        """Return the configurations of all endpoints, by ascending id."""
        return [self._open[inference_id].config for inference_id in sorted(self._open)]

    @property
    def stored(self) -> int:
        """How many endpoints clients have, as was read last."""
        return len(self._store.all())

    @property
    def readable(self) -> bool:
        """Return whether the store could be read the last time."""
        return self._store.readable

    def count(self, *, usable: bool) -> int:
        """Return the number of endpoints that can, or that cannot, be called."""
        return sum(isinstance(each.ranker, _Broken) is not usable for each in self._open.values())

    async def find(self, inference_id: str) -> Endpoint | None:
        """Return an endpoint, also one that another proxy has just created; None where there is none."""
        endpoint = self._open.get(inference_id)
        if endpoint is None:
            await self._store.refresh()
            endpoint = self._open.get(inference_id)
        return endpoint

    def is_preconfigured(self, inference_id: str) -> bool:
        return inference_id in self._preconfigured

    async def create(
        self,
        config: EndpointConfig,
        deadline: Deadline,
        until_stored: AbstractContextManager[None] | None = None,
        *,
        check: bool = True,
    ) -> None:
        """Store a new endpoint that works.

        Args:
            until_stored: Is entered until it is stored, or is not.
            check: Whether to try the endpoint before it is stored, and to start it afterwards.

        Raises:
            InferenceFailedError: There is one of this id, it does not work, or it cannot be stored. With
                status 408 it is stored: its model was not started in time.
        """
        inference_id = config.inference_id
        with until_stored or nullcontext():
            if await self.find(inference_id) is not None:
                raise already_exists(inference_id)
            if check:
                await self._try(config, deadline)
            await self._store.create(config)
            self._follow_store()
        if check:
            await self._start(inference_id, deadline)

    async def replace(self, config: EndpointConfig, deadline: Deadline, *, check: bool = True) -> None:
        """Change an endpoint to another state that works; raise as `create`."""
        stored = self._stored(config.inference_id)
        if stored.config == config:
            return
        if check:
            await self._try(config, deadline)
        await self._store.replace(config, stored.version)
        self._follow_store()

    async def delete(self, inference_id: str) -> None:
        """Delete an endpoint.

        Raises:
            InferenceFailedError: There is none of this id, it is preconfigured, or it cannot be deleted.
        """
        await self._store.delete(inference_id, self._stored(inference_id).version)
        self._follow_store()

    def _stored(self, inference_id: str) -> StoredEndpoint:
        if self.is_preconfigured(inference_id):
            raise status_error(
                400,
                f"Inference endpoint [{inference_id}] is preconfigured in the settings of the proxy; "
                "change it there",
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
        wanted |= {
            inference_id: StoredEndpoint(config) for inference_id, config in self._preconfigured.items()
        }
        for inference_id, endpoint in tuple(self._open.items()):
            stored = wanted.get(inference_id)
            if stored is None or stored.config != endpoint.config:
                del self._open[inference_id]
                self._retire(endpoint)
            if stored is None:
                self._gone(inference_id)
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
        self._closing.start(endpoint.ranker.close())


class _Broken(Ranker):
    """Fails every call of an endpoint that cannot be served: a plug-in is missing, for example."""

    model = "none"

    def __init__(self, failure: InferenceFailedError) -> None:
        self._failure = failure
        self.why = failure.cause.reason

    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        raise fresh(self._failure)

    async def check(self, deadline: Deadline) -> None:
        raise fresh(self._failure)

    async def start(self, deadline: Deadline) -> None:
        raise fresh(self._failure)
