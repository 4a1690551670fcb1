"""Searches of an evaluation: few at a time, patient with a busy server, exact about what went wrong."""

import asyncio
import json
import math
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp

from rerank_proxy.errors import reason_of
from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.inference.remote.retries import retry_after
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judgments import Hit
from rerank_proxy.relevance.x_rerank import Reranking, rerankings

BUSY: Final = frozenset({429, 503})
"""Statuses after which a search is sent again."""
_ABSENT: Final = ("skipped", "partial", "failed")
"""States of remote clusters whose hits are missing."""
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
        answer: The whole answer, for what the hits hold besides.
        attempts: How often it was sent.
    """

    hits: Sequence[Hit]
    took_ms: float
    x_rerank: str | None
    answer: Mapping[str, Any] = field(repr=False)
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
        concurrency: How many requests are under way at once.
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
        answer, took_ms, x_rerank, attempts = await self._patient(
            "POST", f"/{quote(index, safe=',*-')}/_search", body
        )
        return Found(_hits(answer), took_ms, x_rerank, answer, attempts)

    async def get(self, path: str) -> Any:
        """Ask for something else, such as `/_cat/indices?format=json`.

        Raises:
            RefusedError, UnreachableError: As of a search.
        """
        answer, *_ = await self._patient("GET", path, None)
        return answer

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a body to another API that reads, such as `/index/_mget`.

        Raises:
            RefusedError, UnreachableError: As of a search.
        """
        answer, *_ = await self._patient("POST", path, body)
        return answer

    async def _patient(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[Any, float, str | None, int]:
        began, attempts = time.monotonic(), 0
        while True:
            attempts += 1
            try:
                async with self._turns:
                    status, text, headers, took_ms = await self._exchange(method, path, body)
            except UnreachableError:
                wait_s = self._wait_s(began, attempts, None) if self._has_answered else None
                if wait_s is None:
                    raise
            else:
                self._has_answered = True
                asked_s = retry_after(headers, time.time())
                wait_s = self._wait_s(began, attempts, asked_s) if status in BUSY else None
                if wait_s is None:
                    break
            await asyncio.sleep(wait_s)
        if status >= 400:
            raise RefusedError(status, reason_of(text))
        try:
            return json.loads(text), took_ms, _text(headers.get("X-Rerank")), attempts
        except (ValueError, RecursionError):
            raise UnreachableError(f"{self.url} answered, but not with JSON: is it Elasticsearch?") from None

    def _wait_s(self, began: float, attempts: int, asked_s: float | None) -> float | None:
        """Return how long to wait before the next attempt; None if that is longer than there is patience."""
        wait_s = _wait_s(attempts, asked_s)
        return wait_s if time.monotonic() + wait_s - began <= self._patience_s else None

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, str, Mapping[str, str], float]:
        assert self._session is not None, "enter the context first"
        began = time.perf_counter()
        try:
            async with self._session.request(
                method, self.url + path, json=body, ssl=self._tls or True, allow_redirects=False
            ) as answer:
                data = bytearray()
                async for piece in answer.content.iter_any():
                    data += piece
                    if len(data) > _MAX_ANSWER:
                        raise RefusedError(answer.status, f"with more than {_MAX_ANSWER} bytes")
                took_ms = round((time.perf_counter() - began) * 1000, 3)
                return answer.status, data.decode("utf-8", "replace"), answer.headers, took_ms
        except TimeoutError:
            raise RefusedError(504, f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.InvalidURL:
            raise UnreachableError(f"{self.url} is not an address: expected http://HOST:PORT") from None
        except aiohttp.ClientError as failure:
            words = connection_fault(failure).words
            raise UnreachableError(f"{self.url} cannot be reached: {words}; name it with --url") from None


def check_whole(answer: Any) -> None:
    """Check that an answer has all hits that the server could have found.

    Raises:
        RefusedError: Some are missing, or it is not the answer to a search.
    """
    try:
        shards = answer.get("_shards", {})
        if shards.get("failed"):
            reason = shards["failures"][0]["reason"]
            raise RefusedError(
                200, f"{shards['failed']} shards failed: {reason_of(json.dumps({'error': reason}))}"
            )
        if absent := sum(answer.get("_clusters", {}).get(state, 0) for state in _ABSENT):
            raise RefusedError(200, f"{absent} remote clusters have not answered, or not with all hits")
        if answer.get("timed_out"):
            raise RefusedError(200, "the search timed out, and its hits are only some")
        if answer.get("terminated_early"):
            raise RefusedError(200, "the search ended early (terminate_after), and its hits are only some")
    except (AttributeError, KeyError, TypeError, IndexError, RecursionError):
        raise _not_of_a_search() from None


def _not_of_a_search() -> RefusedError:
    return RefusedError(200, "the answer is not that of a search")


def _hits(answer: Any) -> list[Hit]:
    check_whole(answer)
    try:
        found = [_hit(hit["_id"], float(hit["_score"] or 0.0)) for hit in answer["hits"]["hits"]]
    except (AttributeError, KeyError, TypeError, IndexError, ValueError, OverflowError, RecursionError):
        raise _not_of_a_search() from None
    if len({hit.id for hit in found}) < len(found):
        raise RefusedError(
            200, "two hits have the same id, of several indices: evaluate each index by itself"
        )
    return found


def _wait_s(attempts: int, asked_s: float | None) -> float:
    """Return how long to wait: as long as a server asks, or else longer each time; at most a minute."""
    wait_s = 0.5 * 2 ** min(attempts - 1, 10) if asked_s is None else max(asked_s, 0.1)
    return min(wait_s, _LONGEST_WAIT_S)


def _text(header: str | None) -> str | None:
    """Return a header with all that UTF-8 cannot hold replaced."""
    return None if header is None else header.encode("utf-8", "replace").decode()


def _hit(name: Any, score: float) -> Hit:
    """Return a hit that can be written to a file of JSON.

    Raises:
        ValueError: Its id is not text or holds half of a surrogate pair, or its score is not finite.
    """
    if not isinstance(name, str) or not math.isfinite(score):
        raise ValueError(name, score)
    name.encode()
    return Hit(name, score)
