"""Searches of an evaluation: few at a time, patient with a busy server, exact about what went wrong."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from rerank_proxy.errors import reason_of
from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.inference.remote.retries import retry_after
from rerank_proxy.relevance.client.foreign_answers import NotJsonError, Score, TooLongError, body_of, parsed
from rerank_proxy.relevance.client.places import by_names
from rerank_proxy.relevance.client.x_rerank import Reranking, rerankings
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judgments import Hit

BUSY: Final = frozenset({429, 503})
"""Statuses after which a search is sent again."""
_T = TypeVar("_T")
_LONGEST_WAIT_S: Final = 60.0
_MAX_ANSWER: Final = 64 << 20


class UnreachableError(RelevanceError):
    """Nothing answers at the address, or something else than Elasticsearch."""


class RefusedError(RelevanceError):
    """The server answers a request with an error, or too late: other requests may fare better.

    Attributes:
        status: Of HTTP; 504 stands for no answer in time, 200 for one that is of no use.
        reason: What Elasticsearch says, in its innermost words.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"answered {status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search.

    Attributes:
        hits: Best first.
        took_ms: From the request to the whole answer, as the client sees it; of the last attempt.
        x_rerank: The header as it came, None if there is none.
        fields: Of each hit by its id, what the search has asked for in `fields`: lists by their names.
        attempts: How often it was sent.
    """

    hits: Sequence[Hit]
    took_ms: float
    x_rerank: str | None
    fields: Mapping[str, Mapping[str, Sequence[Any]]] = field(repr=False)
    attempts: int = 1

    @property
    def rerankings(self) -> list[Reranking]:
        return rerankings(self.x_rerank)

    @property
    def skipped(self) -> str | None:
        """Why a reranker of the search did not rerank; None if all did."""
        skipped = (each for each in self.rerankings if each.outcome == "skipped")
        return next((each.reason or "no reason is given" for each in skipped), None)


class Searcher:
    """A client of a proxy, or of any Elasticsearch. Use it as an asynchronous context manager.

    Args:
        url: Its address.
        authorization: The header `Authorization`, as `cli.credentials.authorization` makes it.
        tls: What verifies its certificate.
        concurrency: How many requests are under way at once; also how many pieces of work ask side by side.
        timeout_s: For one request.
        patience_s: How long a busy server (429, 503) is waited for altogether before a search fails, and one
            that has answered before and is gone, as while it is restarted.
    """

    def __init__(
        self,
        url: str,
        authorization: str | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        concurrency: int = 2,
        timeout_s: float = 120.0,
        patience_s: float = 120.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.concurrency = concurrency
        self._headers = {"Authorization": authorization} if authorization is not None else {}
        self._tls = tls
        self._turns = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None
        self._has_answered = False

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s), headers=self._headers
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def search(self, index: str, body: Mapping[str, Any]) -> Found:
        """Search, and wait for a server that is busy.

        Args:
            index: A name, several with commas between them, or a pattern.

        Raises:
            RefusedError: The server refuses this search, or some of its shards fail.
            UnreachableError: It does not answer at all.
        """
        path = f"/{quoted(index)}/_search"
        try:
            reply = await self._patient("POST", path, body)
            answer = self._said(reply)
        except RefusedError as refused:
            reason = by_names(refused.reason, _printed(body))
            raise RefusedError(refused.status, reason) from refused
        hits = _hits(answer)
        return Found(
            [Hit(each.id, each.score or 0.0) for each in hits],
            reply.took_ms,
            _text(reply.headers.get("X-Rerank")),
            {each.id: each.fields for each in hits},
            reply.attempts,
        )

    async def get(self, path: str) -> Any:
        """Ask for something else, such as `/_cat/indices?format=json`.

        Raises:
            RefusedError, UnreachableError: As of a search.
        """
        return self._said(await self._patient("GET", path, None))

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a body to another API that reads, such as `/index/_mget`.

        Raises:
            RefusedError, UnreachableError: As of a search.
        """
        return self._said(await self._patient("POST", path, body))

    async def _patient(self, method: str, path: str, body: Mapping[str, Any] | None) -> "Reply":
        """Send a request, and again while the server is busy or away, as long as there is patience."""
        # With tenacity, as calls of remote services have it, this took more code and was no clearer: an
        # answer is as good a reason to try again as a failure, the last one of either is what counts when
        # patience ends, and how often it was tried belongs to the answer.
        began, attempts = time.monotonic(), 0
        while True:
            attempts += 1
            try:
                async with self._turns:
                    reply = await self._exchange(method, path, body)
            except UnreachableError:
                wait_s = self._wait_s(began, attempts, None) if self._has_answered else None
                if wait_s is None:
                    raise
            else:
                self._has_answered = True
                asked_s = retry_after(reply.headers, time.time())
                wait_s = self._wait_s(began, attempts, asked_s) if reply.status in BUSY else None
                if wait_s is None:
                    return reply._replace(attempts=attempts)
            await asyncio.sleep(wait_s)

    def _said(self, reply: "Reply") -> Any:
        """Return what a server says, as parsed JSON.

        Raises:
            RefusedError: It is an error.
            UnreachableError: It is not JSON.
        """
        if reply.status >= 400:
            raise RefusedError(reply.status, reason_of(reply.body.decode("utf-8", "replace")))
        try:
            return parsed(reply.body)
        except NotJsonError:
            raise UnreachableError(f"{self.url} answered, but not with JSON: is it Elasticsearch?") from None

    def _wait_s(self, began: float, attempts: int, asked_s: float | None) -> float | None:
        """Return how long to wait before the next attempt; None if that is longer than there is patience."""
        wait_s = _wait_s(attempts, asked_s)
        return wait_s if time.monotonic() + wait_s - began <= self._patience_s else None

    async def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> "Reply":
        """Send a request once."""
        assert self._session is not None, "enter the context first"
        began = time.perf_counter()
        try:
            async with self._session.request(
                method,
                self.url + path,
                data=None if body is None else _printed(body),
                headers={} if body is None else {"Content-Type": "application/json"},
                ssl=self._tls or True,
                allow_redirects=False,
            ) as answer:
                given = await body_of(answer, _MAX_ANSWER)
                took_ms = round((time.perf_counter() - began) * 1000, 3)
                return Reply(answer.status, given, answer.headers, took_ms)
        except TooLongError:
            raise RefusedError(200, f"the answer has more than {_MAX_ANSWER} bytes") from None
        except TimeoutError:
            raise RefusedError(504, f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.InvalidURL:
            raise UnreachableError(f"{self.url} is not an address: expected http://HOST:PORT") from None
        except aiohttp.ClientError as failure:
            words = connection_fault(failure).words
            raise UnreachableError(f"{self.url} cannot be reached: {words}; name it with --url") from None


class Reply(NamedTuple):
    """What a server has sent.

    Attributes:
        took_ms: From the request to the whole answer; of the last attempt.
        attempts: How often it was asked.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    took_ms: float
    attempts: int = 1


def quoted(index: str) -> str:
    """Return the name of an index as a part of a path: the commas between several, and patterns, stay."""
    return quote(index, safe=",*-")


def _printed(body: Mapping[str, Any]) -> bytes:
    """Return a body as it is sent."""
    return json.dumps(body).encode()


def check_whole(answer: Any) -> None:
    """Check that an answer has all hits that the server could have found.

    Raises:
        RefusedError: Some are missing, or it is not the answer to a search.
    """
    read = _as(_Completeness, answer)
    if read.shards.failed:
        raise RefusedError(200, f"{read.shards.failed} shards failed: {read.shards.reason}")
    if absent := read.clusters.skipped + read.clusters.partial + read.clusters.failed:
        raise RefusedError(200, f"{absent} remote clusters have not answered, or not with all hits")
    if read.timed_out:
        raise RefusedError(200, "the search timed out, and its hits are only some")
    if read.terminated_early:
        raise RefusedError(200, "the search ended early (terminate_after), and its hits are only some")


def _as(kind: type[_T], answer: Any) -> _T:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError:
        raise RefusedError(200, "the answer is not that of a search") from None


def _hits(answer: Any) -> Sequence["_Hit"]:
    """Return the hits of a search that has found all that there is.

    Raises:
        RefusedError: It has not, or this is not the answer to a search.
    """
    check_whole(answer)
    found = _as(_Answer, answer).hits.hits
    if len({hit.id for hit in found}) < len(found):
        raise RefusedError(
            200, "two hits have the same id, of several indices: evaluate each index by itself"
        )
    return found


class _Failed(msgspec.Struct):
    reason: Any = None


class _Shards(msgspec.Struct):
    failed: int = 0
    failures: list[_Failed] = []

    @property
    def reason(self) -> str:
        reasons = [each.reason for each in self.failures if each.reason is not None]
        return reason_of(json.dumps({"error": reasons[0]})) if reasons else "no reason is given"


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    score: Score | None = msgspec.field(name="_score", default=None)
    fields: dict[str, list[Any]] = {}


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Answer(msgspec.Struct):
    hits: _Hits


class _Clusters(msgspec.Struct):
    """Remote clusters whose hits are missing."""

    skipped: int = 0
    partial: int = 0
    failed: int = 0


class _Completeness(msgspec.Struct):
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)
    clusters: _Clusters = msgspec.field(name="_clusters", default_factory=_Clusters)
    timed_out: bool = False
    terminated_early: bool | None = None


def _wait_s(attempts: int, asked_s: float | None) -> float:
    """Return how long to wait: as long as a server asks, or else longer each time; at most a minute."""
    wait_s = 0.5 * 2 ** min(attempts - 1, 10) if asked_s is None else max(asked_s, 0.1)
    return min(wait_s, _LONGEST_WAIT_S)


def _text(header: str | None) -> str | None:
    """Return a header with all that UTF-8 cannot hold replaced."""
    return None if header is None else header.encode("utf-8", "replace").decode()
