"""Keeps endpoints in an index of upstream, for all proxies in front of it."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import msgspec

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, not_found, status_error
from rerank_proxy.inference.registry.documents import MAPPINGS, NO_ENDPOINT, DamagedError, to_document
from rerank_proxy.inference.registry.following import FollowingStore
from rerank_proxy.inference.registry.index_answers import (
    MARK,
    Done,
    FieldCaps,
    Found,
    GotMany,
    Version,
    document_of,
    mapping_problem,
)
from rerank_proxy.inference.registry.index_client import IndexClient, RefusedError, UnreadableError
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.registry.refusals import explain
from rerank_proxy.inference.store import StoredEndpoint, already_exists, changed_meanwhile

logger = logging.getLogger(__name__)

MAX_ENDPOINTS: Final = 10_000
"""The most hits of one search (``index.max_result_window``)."""

_SETTINGS: Final = {"index": {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"}}
_VERSIONS: Final = {
    "size": MAX_ENDPOINTS,
    "query": {"match_all": {}},
    "sort": ["_doc"],
    "_source": False,
    "seq_no_primary_term": True,
    "track_total_hits": True,
}
_VERSIONS_TARGET: Final = (
    "_search?allow_partial_search_results=false"
    "&filter_path=hits.total.value,hits.hits._id,hits.hits._seq_no,hits.hits._primary_term"
)
_CAPS_TARGET: Final = "_field_caps?fields=*&filter_path=indices,fields.*.*.type"
_FETCHED_AT_ONCE: Final = 100
_Document = bytes | DamagedError


class IndexStore(FollowingStore):
    """An `EndpointStore` in an index, with the proxy's own account.

    A poll is a search for sequence numbers, which costs little; documents that are new are then fetched.
    Writes are visible to searches when they are answered, so that no later poll misses them.

    Args:
        client: Closed with the store.
        keys: None: endpoints with secrets can be neither created nor used.
    """

    def __init__(self, client: IndexClient, index: str, keys: KeyRing | None, refresh_s: float) -> None:
        super().__init__(refresh_s, where=f"index {index}")
        self._client: Final = client
        self._index: Final = index
        self._keys: Final = keys
        self._documents: dict[str, tuple[_Document, Version]] = {}
        self._decoded_from: dict[str, tuple[_Document, Version]] | None = None
        self._latest: Mapping[str, StoredEndpoint] = {}
        self._exists = False
        self._marks: tuple[str, ...] = ()
        self._told_problem: str | None = None
        self._too_many = False

    async def close(self) -> None:
        await super().close()
        await self._client.close()

    async def create(self, config: EndpointConfig) -> None:
        inference_id, document = config.inference_id, self._document(config)
        async with self._turn, self._writing(inference_id, config, already_exists):
            await self._fetch_changes()
            self._refuse_loss(exists=self._exists)
            if self._exists:
                await self._check_mapping(inference_id)
            if (self._exists and not self._marks) or (not self._exists and await self._make_index()):
                await self._mark()
            if self._too_many or len(self._documents) >= MAX_ENDPOINTS:
                raise self._not_stored(
                    inference_id, 400, f"it holds {MAX_ENDPOINTS} endpoints, the most it can"
                )
            await self._client.call(
                "PUT", f"_create/{_encoded(inference_id)}?refresh=true", document, answer=Done
            )

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        await self._change("PUT", config.inference_id, version, config)

    async def delete(self, inference_id: str, version: Any) -> None:
        await self._change("DELETE", inference_id, version, None)

    async def _change(
        self, method: str, inference_id: str, version: Version, config: EndpointConfig | None
    ) -> None:
        document = None if config is None else self._document(config)
        condition = f"if_seq_no={version.seq_no}&if_primary_term={version.primary_term}"
        async with self._turn, self._writing(inference_id, config, changed_meanwhile):
            await self._fetch_changes()
            self._refuse_loss(exists=self._exists)
            if inference_id not in self._documents:
                raise not_found(inference_id)
            if self._documents[inference_id][1] != version:
                raise changed_meanwhile(inference_id)
            if document is not None:
                await self._check_mapping(inference_id)
            target = f"_doc/{_encoded(inference_id)}?refresh=true&{condition}"
            await self._client.call(method, target, document, answer=Done)

    @asynccontextmanager
    async def _writing(
        self,
        inference_id: str,
        config: EndpointConfig | None,
        conflict: Callable[[str], InferenceFailedError],
    ) -> AsyncIterator[None]:
        """Tell clients why a write failed, and read what is stored now in any case.

        If the answer to a write was lost, what is stored now tells whether it was carried out.

        Args:
            config: What is to be stored; None: nothing.
            conflict: Returns the failure that a 409 means.
        """
        unknown: InferenceFailedError | None = None
        try:
            yield
        except RefusedError as refusal:
            if refusal.status == 409:
                raise conflict(inference_id) from None
            failure = self._not_stored(inference_id, *explain(refusal, self._index))
            if not refusal.is_unanswered:
                raise failure from None
            unknown = failure
        except UnreadableError as error:
            raise self._not_stored(inference_id, 502, f"upstream's answer {error}") from None
        finally:
            await self._read_back(inference_id)
        if unknown is not None and not self._holds(inference_id, config):
            raise unknown

    def _holds(self, inference_id: str, config: EndpointConfig | None) -> bool:
        """Return whether just this is stored under the id, as far as it could be read."""
        if config is None:
            return inference_id not in self._documents
        stored = self.all().get(inference_id)
        return stored is not None and stored.config == config

    def _not_stored(self, inference_id: str, status: int, problem: str) -> InferenceFailedError:
        return status_error(
            status,
            f"Failed to store inference endpoint [{inference_id}]: the registry cannot be written: {problem}",
        )

    async def _make_index(self) -> bool:
        """Create the index. Return whether this proxy did: another may have been faster."""
        try:
            await self._client.call("PUT", "", {"settings": _SETTINGS, "mappings": MAPPINGS}, answer=Done)
        except RefusedError as refusal:
            if refusal.type == "resource_already_exists_exception":
                return False  # a write waits for its shard all the same
            raise
        logger.info("the index [%s] for inference endpoints was made", self._index)
        return True

    async def _mark(self) -> None:
        """Mark the index, so that it can be told from others of its name."""
        mark = _encoded(MARK + uuid.uuid4().hex)
        await self._client.call("PUT", f"_create/{mark}", {"format": NO_ENDPOINT}, answer=Done)

    async def _check_mapping(self, inference_id: str) -> None:
        """Refuse to write to an index with another mapping that cannot be put right.

        Raises:
            InferenceFailedError: 500.
        """
        if (problem := await self._mapping_problem()) is not None:
            raise self._not_stored(inference_id, 500, problem)

    async def _mapping_problem(self) -> str | None:
        """Return what is wrong with the mapping, after putting right what can be; None when nothing is."""
        caps = await self._client.call("GET", _CAPS_TARGET, answer=FieldCaps)
        problem = mapping_problem(caps, MAPPINGS)
        if problem is not None and len(caps.indices) == 1 and await self._mend_mapping():
            caps = await self._client.call("GET", _CAPS_TARGET, answer=FieldCaps)
            problem = mapping_problem(caps, MAPPINGS)
        if problem is None:
            return None
        return (
            f"the index [{self._index}] was not made by the proxy: {problem}; delete it and have it made "
            "again, or set registry.index to another"
        )

    async def _mend_mapping(self) -> bool:
        try:
            await self._client.call("PUT", "_mapping", MAPPINGS, answer=Done)
        except RefusedError:
            return False
        logger.warning("the index [%s] was not made by the proxy; the mapping was added to it", self._index)
        return True

    async def _read(self) -> Mapping[str, StoredEndpoint] | None:
        try:
            await self._fetch_changes()
        except RefusedError as refusal:
            raise _not_read(*explain(refusal, self._index)) from None
        except UnreadableError as error:
            raise _not_read(502, f"upstream's answer {error}") from None
        if self._documents is not self._decoded_from:
            self._latest = await asyncio.to_thread(self._decoded, self._documents, self._keys)
            self._decoded_from = self._documents
        return self._latest if self._exists else None

    async def _fetch_changes(self) -> None:
        """Bring `_documents` up to date, by another object when anything has changed."""
        try:
            found = await self._client.call("POST", _VERSIONS_TARGET, _VERSIONS, answer=Found)
        except RefusedError as refusal:
            if refusal.type != "index_not_found_exception":
                raise
            self._exists, self._marks = False, ()
            return  # the endpoints that were read before go on
        self._exists, self._marks = True, found.marks()
        self._tell_too_many(found.hits.total.value)
        versions = found.versions()
        known = {name: each for name, each in self._documents.items() if each[1] == versions.get(name)}
        new = [name for name in versions if name not in known]
        if new or len(known) < len(self._documents):
            await self._tell_mapping()
            self._documents = known | await self._fetch(new, versions)

    async def _tell_mapping(self) -> None:
        """Log what is wrong with the mapping, once. Called after a change, when it may be another index."""
        problem = await self._mapping_problem()
        if problem is not None and problem != self._told_problem:
            logger.error("%s", problem)
        self._told_problem = problem

    def _tell_too_many(self, total: int) -> None:
        too_many = total > MAX_ENDPOINTS
        if too_many and not self._too_many:
            logger.warning(
                "the registry holds %d inference endpoints; only %d are read", total, MAX_ENDPOINTS
            )
        self._too_many = too_many

    async def _fetch(
        self, names: Sequence[str], versions: Mapping[str, Version]
    ) -> dict[str, tuple[_Document, Version]]:
        """Return documents as they are now, without those that are gone by now."""
        fetched: dict[str, tuple[_Document, Version]] = {}
        for begin in range(0, len(names), _FETCHED_AT_ONCE):
            fetched |= await self._fetch_some(names[begin : begin + _FETCHED_AT_ONCE], versions)
        return fetched

    async def _fetch_some(
        self, names: Sequence[str], versions: Mapping[str, Version]
    ) -> dict[str, tuple[_Document, Version]]:
        """Fetch documents in one call, and in halves of that where one of them cannot be read."""
        try:
            answer = await self._client.call("POST", "_mget", {"ids": names}, answer=GotMany)
        except UnreadableError as error:
            if len(names) == 1:
                return {names[0]: (DamagedError(f"it {error}"), versions[names[0]])}
            middle = len(names) // 2
            first = await self._fetch_some(names[:middle], versions)
            return first | await self._fetch_some(names[middle:], versions)
        return {got.id: document_of(got, self._marks) for got in answer.docs if got.found or got.error}

    def _document(self, config: EndpointConfig) -> msgspec.Raw:
        if config.secrets and self._keys is None:
            raise status_error(
                400,
                f"Failed to store inference endpoint [{config.inference_id}]: its secrets cannot be "
                "encrypted, since registry.key is not set; proxies that share a registry need the same key",
            )
        return to_document(config, self._keys)


def _not_read(status: int, problem: str) -> InferenceFailedError:
    return status_error(status, f"The registry of inference endpoints cannot be read: {problem}")


def _encoded(name: str) -> str:
    return quote(name, safe="")
