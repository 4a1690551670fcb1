"""What is known of the server and the index before an evaluation: a report says it, and it decides whether
answers of an earlier run still count.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from rerank_proxy.relevance.endpoints import path_of
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.searching import RefusedError, Searcher

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
    name = quote(index, safe=",*-")
    try:
        info = await searcher.get("/")
        documents = int((await searcher.get(f"/{name}/_count"))["count"])
    except RefusedError as error:
        raise RelevanceError(f"index {index}: {error.status}: {error.reason}") from None
    except (KeyError, TypeError, ValueError, OverflowError):
        raise RelevanceError(f"{searcher.url} does not answer as Elasticsearch does") from None
    if not documents:
        raise RelevanceError(f"index {index}: holds no documents")
    columns = "h=index,uuid,docs.count,docs.deleted&s=index"
    rows = await _shown(searcher, f"/_cat/indices/{name}?format=json&{columns}")
    configured = {each: await _shown(searcher, path_of(each)) for each in endpoints}
    return IndexState(documents, _version(info), [documents, rows], configured)


def _version(info: Any) -> str:
    try:
        return str(info["version"]["number"])
    except (KeyError, TypeError, IndexError):
        return "unknown"


async def missing(searcher: Searcher, index: str, documents: Collection[str]) -> list[str]:
    """Return the ids that no document of an index has, in order."""
    ids = sorted(documents)
    found: set[str] = set()
    for start in range(0, len(ids), _BATCH):
        body = {
            "query": {"ids": {"values": ids[start : start + _BATCH]}},
            "size": _BATCH,
            "_source": False,
            "sort": ["_doc"],
        }
        path = f"/{quote(index, safe=',*-')}/_search?filter_path=hits.hits._id"
        found |= _ids(await searcher.post(path, body), searcher.url)
    return [name for name in ids if name not in found]


def _ids(answer: Any, url: str) -> set[str]:
    """Return the ids of the hits. With `filter_path` there is nothing but these: no hits, an empty object."""
    try:
        hits = msgspec.convert(answer, _Answer).hits.hits
    except msgspec.ValidationError:
        raise RelevanceError(f"{url} does not answer a search as Elasticsearch does") from None
    return {hit.id for hit in hits}


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")


class _Hits(msgspec.Struct):
    hits: list[_Hit] = []


class _Answer(msgspec.Struct):
    hits: _Hits = msgspec.field(default_factory=_Hits)


async def _shown(searcher: Searcher, path: str) -> Any:
    """Return an answer; None if it may not be seen, or there is nothing to see."""
    try:
        return await searcher.get(path)
    except RefusedError:
        return None
