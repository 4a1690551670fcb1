"""What a vendor's module says of its API, and may override. Sending and ranking ask it through this class."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from yarl import URL

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest
from rerank_proxy.inference.remote.calls import HttpCall, bearer, json_call
from rerank_proxy.inference.remote.client import RemoteClient
from rerank_proxy.inference.remote.shapes import Shape
from rerank_proxy.inference.service import Service, ServiceContext


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteContext(ServiceContext):
    """Dependencies of remote services.

    Attributes:
        remote: The client that calls other servers.
        timeout_s: Seconds that a search gives its scores. A call that had about as many and got no answer
            counts as the server's failure.
    """

    remote: RemoteClient
    timeout_s: float


class Vendor(Service):
    """An API behind HTTP: where it is, what it is sent, and where its results stand."""

    base_url: ClassVar[str] = ""
    """`https://HOST` of the vendor's API, empty where endpoints say it; `remote.base_urls` replaces it."""
    path: ClassVar[str] = ""
    """The path below `base_url`."""
    hosts: ClassVar[Sequence[str]] = ()
    """Further hosts of the vendor, `*.example.com` for all below it."""
    default_max_documents: ClassVar[int | None] = None
    """The most texts that one call takes; None for no limit."""
    ranks: ClassVar[bool] = True
    """Whether the vendor sorts its results and limits them to `top_n`; if not, the proxy does."""
    shape: ClassVar[Shape] = Shape()
    """Where the results are in an answer."""

    context: RemoteContext

    def __init__(self, context: RemoteContext) -> None:
        super().__init__(context)

    @abstractmethod
    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        """Return the JSON document to send. Members that are None are left out."""

    def read(self, config: EndpointConfig, answer: bytes | bytearray) -> list[RankedDoc]:
        """Return the results in an answer. A long one is read in a thread.

        Raises:
            MalformedAnswerError: No results can be found.
        """
        return self.shape.read(answer)

    async def call(self, config: EndpointConfig, request: RerankRequest, deadline: Deadline) -> HttpCall:
        """Return the call that asks for results.

        Args:
            deadline: Bounds what must be fetched first, such as tokens.
        """
        return json_call(self.url(config), self.body(config, request), self.headers(config))

    def url(self, config: EndpointConfig) -> str:
        """Return the URL to call."""
        return str(config.service_settings.get("url") or self.base(config) + self.path)

    def headers(self, config: EndpointConfig) -> Mapping[str, str]:
        """Return the headers to send."""
        return bearer(config.secrets["api_key"])

    def base(self, config: EndpointConfig) -> str:
        """Return `base_url`, or what the operator has put in its place."""
        return self.context.remote.settings.base_urls.get(self.name, self.base_url)

    def shown(self, config: EndpointConfig, url: str) -> str:
        """Return what people are shown of a URL that an endpoint calls: without anything secret."""
        return url

    def urls(self, config: EndpointConfig) -> Mapping[str, str]:
        """Return all URLs that an endpoint of these settings calls, by the setting that they come from."""
        return {"url": self.url(config)}

    def vendor_hosts(self) -> Sequence[str]:
        """Return the hosts that `vendors` in `remote.allowed_hosts` stands for."""
        host = URL(self.base_url).host if self.base_url else None
        return (*self.hosts, host) if host else self.hosts

    def pointwise(self, config: EndpointConfig) -> bool:
        """Return whether a score depends on query and text alone, so that texts may be split over calls."""
        return True

    def max_documents(self, config: EndpointConfig) -> int | None:
        """Return the most texts in one call; None for no limit."""
        return self.context.remote.settings.max_documents.get(self.name, self.default_max_documents)

    def advice(self, status: int, message: str) -> str | None:
        """Return what to do about a refusal with this message of the vendor, where that can be said."""
        if status in (400, 413, 422) and "batch size" in message:
            return f"Set [remote.max_documents] of [{self.name}] to what the server takes at once"
        return None

    def token_key(self, config: EndpointConfig) -> str | None:
        """Return the key that `RemoteService.fetch_token` keeps a token under, made by `digest` and never a
        secret; None where calls need no token.
        """
        return None

    def model(self, config: EndpointConfig) -> str:
        """Return the id of the model that scores. People are shown it, and each model has its rate limit."""
        return str(config.service_settings.get("model_id") or self.name)
