"""What is known of the server and the index before an evaluation: a report says it, and it decides whether
answers of an earlier run still count.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rerank_proxy.relevance.client.endpoints import path_of
from rerank_proxy.relevance.client.searching import RefusedError, Searcher, check_whole, quoted
from rerank_proxy.relevance.errors import RelevanceError

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as it was when an evaluation began.

    Attributes:
        documents: How many it has.
        elasticsearch: The version of the server.
        fingerprint: Changes when documents are added or removed, or the index is made anew.
        endpoints: The configuration of each endpoint by its id; None where it is not shown.
    """

    documents: int
    elasticsearch: str
    fingerprint: Sequence[Any]
    endpoints: Mapping[str, Any]


async def state_of(searcher: Searcher, index: str, endpoints: Collection[str]) -> IndexState:
    """Ask for the state of an index, as far as the credentials allow.

    Raises:
        RelevanceError: There is no such index, it is empty, or it may not be read.
    """
    name = quoted(index)
    info = await _shown(searcher, "/")
    try:
        documents = msgspec.convert(await searcher.get(f"/{name}/_count"), _Count).count
    except RefusedError as error:
        raise RelevanceError(f"index {index}: {error.status}: {error.reason}") from None
    except msgspec.ValidationError:
        raise RelevanceError(f"{searcher.url} does not answer as Elasticsearch does") from None
    if not documents:
        raise RelevanceError(f"index {index}: holds no documents")
    columns = "h=index,uuid,docs.count,docs.deleted&s=index"
    rows = await _shown(searcher, f"/_cat/indices/{name}?format=json&{columns}")
    configured = {each: await _shown(searcher, path_of(each)) for each in endpoints}
    return IndexState(documents, _version(info), [documents, rows], configured)


def _version(info: Any) -> str:
    try:
        return msgspec.convert(info, _Info).version.number
    except msgspec.ValidationError:
        return "unknown"


class _Count(msgspec.Struct):
    count: int


class _Version(msgspec.Struct):
    number: str


class _Info(msgspec.Struct):
    """The answer of the address without a path."""

    version: _Version


async def missing(searcher: Searcher, index: str, documents: Collection[str]) -> list[str]:
    """Return the ids that no document of an index has, in order.

    Raises:
        RelevanceError: The index cannot be asked for all of them, or several have a document of one id.
    """
    ids = sorted(documents)
    absent: list[str] = []
    for start in range(0, len(ids), _BATCH):
        wanted = ids[start : start + _BATCH]
        found = await _found(searcher, index, wanted)
        absent += [name for name in wanted if name not in found]
    return absent


async def _found(searcher: Searcher, index: str, ids: Sequence[str]) -> dict[str, str]:
    """Return in which index each of some documents is."""
    # One hit more than there are ids: so there are always two of one id to see if any is in two indices.
    body = {"query": {"ids": {"values": ids}}, "size": len(ids) + 1, "_source": False, "sort": ["_doc"]}
    shown = "hits.hits._id,hits.hits._index,timed_out,_shards,_clusters"
    try:
        answer = await searcher.post(f"/{quoted(index)}/_search?filter_path={shown}", body)
        check_whole(answer)
        read = msgspec.convert(answer, _Answer)
    except RefusedError as error:
        raise RelevanceError(f"index {index}: {error.status}: {error.reason}") from None
    except msgspec.ValidationError:
        raise RelevanceError(f"{searcher.url} does not answer a search as Elasticsearch does") from None
    found: dict[str, str] = {}
    for hit in read.hits.hits:
        if (other := found.setdefault(hit.id, hit.index)) != hit.index:
            raise RelevanceError(
                f"index {index}: document {hit.id} is in {other} and in {hit.index}, and judgments "
                "do not say which is meant: evaluate each index by itself"
            )
    return found


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")


class _Hits(msgspec.Struct):
    hits: list[_Hit] = []


class _Answer(msgspec.Struct):
    """With `filter_path` a search without hits is an empty object."""

    hits: _Hits = msgspec.field(default_factory=_Hits)


async def _shown(searcher: Searcher, path: str) -> Any:
    """Return an answer; None if it may not be seen, or there is nothing to see."""
    try:
        return await searcher.get(path)
    except RefusedError:
        return None
