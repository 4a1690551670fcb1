"""The class that remote services derive from."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from yarl import URL

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.ranking import RankedDoc
from rerank_proxy.inference.remote.addresses import HostNotAllowedError
from rerank_proxy.inference.remote.calls import HttpCall, RemoteCall, bearer, json_call
from rerank_proxy.inference.remote.common_settings import RETURN_DOCUMENTS
from rerank_proxy.inference.remote.ranker import RemoteRanker
from rerank_proxy.inference.remote.shapes import Shape
from rerank_proxy.inference.service import Service


class RemoteService(Service):
    """A reranker behind HTTP.

    A service says where it is (`base_url` and `path`, or a setting `url`), what it is sent (`body`), and
    where in its answer the results are (`shape`). Splitting, rate limits, retries, deadlines, the allow-list,
    errors and metrics are done here. Override `call` where an API key as a bearer token does not do, `read`
    where a `Shape` does not.
    """

    base_url: ClassVar[str] = ""
    """`https://HOST` of the vendor's API, empty where endpoints say it; `remote.base_urls` replaces it."""
    path: ClassVar[str] = ""
    """What is called below it."""
    hosts: ClassVar[Sequence[str]] = ()
    """Further hosts of the vendor, `*.example.com` for all below it."""
    default_max_documents: ClassVar[int | None] = None
    """The most texts that one call takes; None for no limit."""
    ranks: ClassVar[bool] = True
    """Whether the vendor sorts its results and limits them to `top_n`; else that is done here."""
    shape: ClassVar[Shape] = Shape()

    @abstractmethod
    def body(self, config: EndpointConfig, call: RemoteCall) -> Any:
        """The JSON document to send. Members that are None are left out."""

    def read(self, config: EndpointConfig, answer: bytes | bytearray) -> list[RankedDoc]:
        """Return the results in an answer. A long one is read in a thread.

        Raises:
            MalformedAnswerError: There are none to be found.
        """
        return self.shape.read(answer)

    async def call(self, config: EndpointConfig, call: RemoteCall, deadline: Deadline) -> HttpCall:
        """The request for `call`; the deadline is for tokens and the like that must be fetched first."""
        return json_call(self.url(config), self.body(config, call), self.headers(config))

    def url(self, config: EndpointConfig) -> str:
        """What is called."""
        return str(config.service_settings.get("url") or self.base(config) + self.path)

    def headers(self, config: EndpointConfig) -> Mapping[str, str]:
        return bearer(config.secrets["api_key"])

    def base(self, config: EndpointConfig) -> str:
        """`base_url`, or what the operator has put in its place."""
        return self.context.remote.settings.base_urls.get(self.name, self.base_url)

    def shown(self, config: EndpointConfig, url: str) -> str:
        """Return what people are shown of a URL that an endpoint calls: without anything secret."""
        return url

    def urls(self, config: EndpointConfig) -> Mapping[str, str]:
        """All that an endpoint of these settings calls, by the setting that says it."""
        return {"url": self.url(config)}

    def vendor_hosts(self) -> Sequence[str]:
        """Hosts that are allowed without further ado."""
        own = URL(self.base_url).host if self.base_url else None
        return (*self.hosts, own) if own else self.hosts

    def pointwise(self, config: EndpointConfig) -> bool:
        """Whether a score depends on query and text alone, so that texts may be split over several calls."""
        return True

    def max_documents(self, config: EndpointConfig) -> int | None:
        """The most texts in one call."""
        return self.context.remote.settings.max_documents.get(self.name, self.default_max_documents)

    def advice(self, status: int, message: str) -> str | None:
        """What to do about a refusal in the vendor's words, where that can be said."""
        if status in (400, 413, 422) and "batch size" in message:
            return f"Set [remote.max_documents] of [{self.name}] to what the server takes at once"
        return None

    def forget_tokens(self, config: EndpointConfig) -> None:
        """The vendor took the call for one without authentication."""

    def model(self, config: EndpointConfig) -> str:
        """What scores, for people and for the rate limit, which is one per model."""
        return str(config.service_settings.get("model_id") or self.name)

    def open(self, config: EndpointConfig) -> RemoteRanker:
        return RemoteRanker(self, config, self.context.remote, self.context.timeout_s)

    def remote_call(
        self,
        config: EndpointConfig,
        query: str,
        texts: Sequence[str],
        top_n: int | None,
        return_documents: bool | None,
        task_settings: Mapping[str, Any],
    ) -> RemoteCall:
        """A request, completed by the task settings."""
        if top_n is None:
            top_n = self.top_n(replace(config, task_settings=task_settings))
        if return_documents is None:
            return_documents = task_settings.get(RETURN_DOCUMENTS.name)
        return RemoteCall(query, texts, top_n, return_documents, task_settings)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        """Refuse hosts that may not be called; rules of a service come before it."""
        if faults:
            return config
        try:
            urls = self.urls(config)
        except ValueError:
            faults.append("[service_settings] Invalid url received. Error: this is not a URL")
            return config
        for setting, url in urls.items():
            self._check_host(config, setting, url, faults)
        return config

    def _check_host(self, config: EndpointConfig, setting: str, url: str, faults: list[str]) -> None:
        shown = self.shown(config, url)
        try:
            self.context.remote.hosts.check(url, self.name, self.vendor_hosts(), shown)
        except HostNotAllowedError as refusal:
            faults.append(
                f"[service_settings] Invalid url [{shown}] received for field [{setting}]. Error: {refusal}"
            )
