"""Endpoints in an index of upstream, for all proxies in front of it."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from proxy.inference.configuration import EndpointConfig
from proxy.inference.failures import InferenceFailedError, not_found, status_error
from proxy.inference.registry.documents import MAPPINGS, to_document
from proxy.inference.registry.following import FollowingStore
from proxy.inference.registry.key_ring import KeyRing
from proxy.inference.store import StoredEndpoint, already_exists, changed_meanwhile
from proxy.settings import RegistrySettings, UpstreamSettings
from proxy.upstream_address import tls_context

logger = logging.getLogger(__name__)

MAX_ENDPOINTS: Final = 10_000
"""What one search gives (``index.max_result_window``)."""
PRIVILEGES: Final = ("read", "write", "create_index")
"""What the proxy's own account needs on the index."""

_JSON: Final = "application/vnd.elasticsearch+json; compatible-with=8"
"""Elasticsearch 8 and 9 take this; what a client of version 9 sends by itself, 8 refuses."""
_SETTINGS: Final = {"index": {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"}}
_LOOK: Final = {
    "size": MAX_ENDPOINTS,
    "query": {"match_all": {}},
    "sort": ["_doc"],
    "_source": False,
    "seq_no_primary_term": True,
    "track_total_hits": True,
}
_LOOK_FIELDS: Final = "hits.total.value,hits.hits._id,hits.hits._seq_no,hits.hits._primary_term"
_TIMEOUT_S: Final = 10.0

Version = tuple[int, int]
"""Sequence number and primary term."""


class IndexStore(FollowingStore):
    """An `EndpointStore` in an index, with the proxy's own account.

    A look is a search for sequence numbers, which costs little; what is new is then fetched. Writes are
    visible to searches when they are answered, so that no look afterwards misses them.

    Args:
        client: Closed with the store.
        keys: None: endpoints with secrets can be neither created nor used.
    """

    def __init__(
        self, client: AsyncElasticsearch, index: str, keys: KeyRing | None, refresh_s: float
    ) -> None:
        super().__init__(refresh_s)
        self._client: Final = client.options(request_timeout=_TIMEOUT_S, max_retries=0)
        self._index: Final = index
        self._keys: Final = keys
        self._documents: dict[str, tuple[Any, Version]] = {}
        self._decoded_from = self._documents
        self._latest: Mapping[str, StoredEndpoint] = {}
        self._exists = False

    async def close(self) -> None:
        await super().close()
        await self._client.close()

    async def create(self, config: EndpointConfig) -> None:
        inference_id, document = config.inference_id, self._document(config)
        async with self._turn, self._writing(inference_id, already_exists):
            await self._look_for_changes()
            if not self._exists:
                await self._make_index()
            await self._call("PUT", f"_create/{_encoded(inference_id)}?refresh=true", document)

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        await self._change("PUT", config.inference_id, version, self._document(config))

    async def delete(self, inference_id: str, version: Any) -> None:
        await self._change("DELETE", inference_id, version, None)

    async def _change(self, method: str, inference_id: str, version: Version, document: Any) -> None:
        condition = "if_seq_no={}&if_primary_term={}".format(*version)
        async with self._turn, self._writing(inference_id, changed_meanwhile):
            await self._look_for_changes()
            if inference_id not in self._documents:
                raise not_found(inference_id)
            await self._call(method, f"_doc/{_encoded(inference_id)}?refresh=true&{condition}", document)

    @asynccontextmanager
    async def _writing(
        self, inference_id: str, conflict: Callable[[str], InferenceFailedError]
    ) -> AsyncIterator[None]:
        """What goes wrong, in the caller's words; however it went, what is there now is read.

        Args:
            conflict: What a 409 means.
        """
        try:
            yield
        except (ApiError, TransportError) as error:
            if isinstance(error, ApiError) and error.status_code == 409:
                raise conflict(inference_id) from None
            raise status_error(
                500,
                f"Failed to store inference endpoint [{inference_id}]: the registry cannot be written: "
                f"{self._problem(error)}",
            ) from None
        finally:
            await self._read_back()

    async def _make_index(self) -> None:
        try:
            await self._call("PUT", "", {"settings": _SETTINGS, "mappings": MAPPINGS})
        except ApiError as error:
            if error.status_code == 400 and error.error == "resource_already_exists_exception":
                return  # another proxy was faster
            raise
        logger.info("the index [%s] for inference endpoints was made", self._index)

    async def _read(self) -> Mapping[str, StoredEndpoint]:
        try:
            await self._look_for_changes()
        except (ApiError, TransportError) as error:
            raise status_error(
                500, f"The registry of inference endpoints cannot be read: {self._problem(error)}"
            ) from None
        if self._documents is not self._decoded_from:
            self._latest = self._decoded(self._documents, self._keys)
            self._decoded_from = self._documents
        return self._latest

    async def _look_for_changes(self) -> None:
        """Bring `_documents` up to date: another object when anything is not as before."""
        try:
            found = await self._call(
                "POST", f"_search?allow_partial_search_results=false&filter_path={_LOOK_FIELDS}", _LOOK
            )
        except ApiError as error:
            if error.status_code != 404:
                raise
            self._exists, versions = False, dict[str, Version]()
        else:
            self._exists, versions = True, _versions(found)
        known = {name: document for name, document in self._documents.items() if name in versions}
        new = [name for name, version in versions.items() if name not in known or known[name][1] != version]
        if new or len(known) < len(self._documents):
            self._documents = known | await self._fetch(new)

    async def _fetch(self, names: Iterable[str]) -> dict[str, tuple[Any, Version]]:
        """Documents as they are now; of one that is gone by now, nothing."""
        names = list(names)
        if not names:
            return {}
        answer = await self._call("POST", "_mget", {"ids": names})
        return {
            document["_id"]: (document["_source"], (document["_seq_no"], document["_primary_term"]))
            for document in answer["docs"]
            if document.get("found")
        }

    def _document(self, config: EndpointConfig) -> dict[str, Any]:
        if config.secrets and self._keys is None:
            raise status_error(
                400,
                f"Failed to store inference endpoint [{config.inference_id}]: its secrets cannot be "
                "encrypted, since registry.key is not set; proxies that share a registry need the same key",
            )
        return to_document(config, self._keys)

    async def _call(self, method: str, target: str, body: Any = None) -> Any:
        headers = {"accept": _JSON} if body is None else {"accept": _JSON, "content-type": _JSON}
        path = f"/{_encoded(self._index)}/{target}" if target else f"/{_encoded(self._index)}"
        return (await self._client.perform_request(method, path, headers=headers, body=body)).body

    def _problem(self, error: ApiError | TransportError) -> str:
        if isinstance(error, TransportError):
            return f"upstream cannot be reached: {error.message}"
        if error.status_code == 401:
            return (
                "upstream does not accept the proxy's own credentials; correct registry.username and "
                "registry.password, or registry.api_key"
            )
        if error.status_code == 403:
            return (
                f"the proxy's own account may not; give it the index privileges [{', '.join(PRIVILEGES)}] on "
                f"[{self._index}]"
            )
        return f"upstream answered {error.status_code}: {error.message}"


def connect(upstream: UpstreamSettings, registry: RegistrySettings) -> AsyncElasticsearch:
    """A client with the proxy's own credentials.

    Raises:
        InvalidSettingsError: The certificate authorities cannot be read.
    """
    tls = tls_context(upstream)
    options: dict[str, Any] = {} if tls is None else {"ssl_context": tls}
    if registry.api_key is not None:
        options["api_key"] = registry.api_key.get_secret_value()
    elif registry.username is not None and registry.password is not None:
        options["basic_auth"] = (registry.username, registry.password.get_secret_value())
    return AsyncElasticsearch(_with_port(upstream.url), **options)


def _versions(found: Any) -> dict[str, Version]:
    hits = found.get("hits", {})
    total = hits.get("total", {}).get("value", 0)
    if total > MAX_ENDPOINTS:
        logger.warning("the registry holds %d inference endpoints; only %d are read", total, MAX_ENDPOINTS)
    return {hit["_id"]: (hit["_seq_no"], hit["_primary_term"]) for hit in hits.get("hits", ())}


def _with_port(url: str) -> str:
    """The client insists on one."""
    has_port = url.rpartition(":")[2].isdecimal()
    return url if has_port else f"{url}:{443 if url.startswith('https:') else 80}"


def _encoded(name: str) -> str:
    return quote(name, safe="")
