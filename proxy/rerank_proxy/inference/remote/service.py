"""The class that remote services derive from."""

from collections.abc import Callable

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote.addresses import HostNotAllowedError
from rerank_proxy.inference.remote.calls import HttpCall
from rerank_proxy.inference.remote.ranker import RemoteRanker
from rerank_proxy.inference.remote.sending import fetch_token
from rerank_proxy.inference.remote.vendor import Vendor
from rerank_proxy.inference.service import Ranker


class RemoteService(Vendor):
    """A reranker behind HTTP.

    A service says where it is (`base_url` and `path`, or a setting `url`), what it is sent (`body`), and
    where the results are in its answer (`shape`). Splitting, rate limits, retries, deadlines, the allow-list,
    errors and metrics are done for it. Override `call` where an API key as a bearer token does not do, `read`
    where a `Shape` does not, and see `Vendor` for all that can be overridden.
    """

    def open(self, config: EndpointConfig) -> Ranker:
        return RemoteRanker(self, config, self.context.remote, self.context.timeout_s)

    async def fetch_token(self, config: EndpointConfig, request: Callable[[], HttpCall]) -> str:
        """Return an OAuth access token, kept under `token_key` for as long as it is valid.

        Args:
            request: Returns the call that asks for one; called in a thread.

        Raises:
            InferenceFailedError: No token was issued.
        """
        return await fetch_token(self.context.remote, self, config, request)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        """Refuse hosts that may not be called; a service checks its other rules before this."""
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
