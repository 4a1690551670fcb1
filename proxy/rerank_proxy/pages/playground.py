"""The requests of the playground: each goes through the edge, as any client's, and brings what was recorded.

A visitor searches with credentials of their own, and may do what Elasticsearch lets them do. Bodies pass
through as bytes: this process also relays plain traffic, and reads no more of them than it has to.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError, encode, illegal_argument, rejected, status_error
from rerank_proxy.http.answer_reader import AnswerError, TooLargeError
from rerank_proxy.http.messages import Response
from rerank_proxy.observe import recording
from rerank_proxy.observe.admin_bodies import json_body
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.pages import allowed
from rerank_proxy.pages.assets import DATA
from rerank_proxy.pages.inward import Attach, ask
from rerank_proxy.settings import Settings

CREDENTIALS: Final = "X-Elasticsearch-Authorization"
"""Has what Elasticsearch gets as `Authorization`, which is the admin port's own header."""
MAX_BODY: Final = 1024 * 1024
"""Bytes of a request of the page."""
MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer to it."""
MOST: Final = 8
"""Requests under way at a time."""
_MORE_S: Final = 20.0
"""Seconds beyond the longest search, for its answer to arrive and for what was recorded."""
_CONNECTION_S: Final = 10.0
"""Seconds beyond that, for the request to come and the answer to go."""
_RECORD_S: Final = 10.0
"""Seconds for what was recorded: texts are tokenised once more, to tell what the model read of each."""
_NOT_SHOWN: Final = frozenset({"connection", "content-length", "set-cookie", "transfer-encoding"})


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What the page sends. A body that is text is sent as it is: lines of JSON, for many searches."""

    method: str
    path: str
    body: msgspec.Raw = msgspec.Raw(b"null")


class Playground:
    """Answers `POST /playground/request`.

    Args:
        app: The control socket of the application, which records.
        attach: Has the edge serve a connection.
        settings: Those in force.
    """

    def __init__(self, app: ControlClient, attach: Attach, settings: Callable[[], Settings]) -> None:
        self._app = app
        self._attach = attach
        self._settings = settings
        self._under_way = 0

    def lasts_s(self) -> float:
        """Return the seconds that a request's connection may last."""
        return self._given_s + _CONNECTION_S

    @property
    def _given_s(self) -> float:
        return self._settings().search.deadline_s + _MORE_S

    async def request(self, request: web.Request) -> web.Response:
        """Answer one request of the page."""
        try:
            # Read first, so that one that comes slowly is not under way.
            asked = await json_body(request, MAX_BODY)
            if self._under_way >= MOST:
                raise rejected(f"the playground has {MOST} requests under way; try again when one has ended")
            self._under_way += 1
            try:
                async with asyncio.timeout(self._given_s):
                    body = await self._answered(asked, _credentials(request))
            except TimeoutError:
                raise status_error(504, f"there was no answer within {self._given_s:g} s") from None
            finally:
                self._under_way -= 1
        except ElasticsearchError as failure:
            return web.Response(body=encode(failure.body()), status=failure.status, headers=DATA)
        return web.Response(body=body, headers=DATA)

    async def _answered(self, given: bytes, credentials: Sequence[tuple[str, str]]) -> bytes:
        asked = _read(given)
        allowed.check(asked.method, asked.path)
        body, content_type = _sent(asked.body)
        headers = [("Host", "localhost"), ("Accept", "application/json"), *credentials]
        if body:
            headers.append(("Content-Type", content_type))
        key = await self._key() if allowed.is_search(asked.path) else None
        if key is not None:
            headers.append((recording.HEADER, key))
        began = time.perf_counter()
        try:
            answer = await ask(self._attach, asked.method, asked.path, headers, body, MAX_ANSWER)
        except TooLargeError:
            raise illegal_argument(
                f"the answer is larger than the {MAX_ANSWER} bytes that the playground shows: ask for fewer "
                "hits, or for less of [_source]"
            ) from None
        except AnswerError as failure:
            raise status_error(502, f"the proxy {failure}") from None
        took_ms = (time.perf_counter() - began) * 1000
        record = b"null" if key is None else await self._record(key)
        return await offload(len(answer.body) + len(record), _written, answer, took_ms, record)

    async def _key(self) -> str | None:
        """Return a key for a recording; None where there is none, as while the application is down."""
        answer = await self._app.post("/recordings")
        if answer is None or answer[0] != 200:
            return None
        key: str = msgspec.json.decode(answer[1])["key"]
        return key

    async def _record(self, key: str) -> bytes:
        answer = await self._app.get(f"/recordings/{key}", _RECORD_S)
        return answer[1] if answer is not None and answer[0] == 200 else b"null"


def _read(body: bytes) -> _Asked:
    try:
        return msgspec.json.decode(body, type=_Asked)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        raise illegal_argument(
            f"the body has to be an object with [method], [path] and perhaps [body]: {failure}"
        ) from None


def _sent(body: msgspec.Raw) -> tuple[bytes, str]:
    """Return the body to send, and its type."""
    raw = bytes(body).strip()
    if raw == b"null":
        return b"", ""
    if raw.startswith(b'"'):
        text = msgspec.json.decode(raw, type=str)
        return text.encode("utf-8", "surrogatepass"), "application/x-ndjson"
    return raw, "application/json"


def _credentials(request: web.Request) -> Sequence[tuple[str, str]]:
    given = request.headers.getall(CREDENTIALS, [])
    if len(given) > 1:
        raise illegal_argument(f"[{CREDENTIALS}] may be given once")
    return [("Authorization", value) for value in given]


def _written(answer: Response, took_ms: float, record: bytes) -> bytes:
    """Return the answer for the page: JSON stays as it came, other text becomes a string."""
    headers: dict[str, str] = {}
    for name, value in answer.headers:
        if name not in _NOT_SHOWN:
            shown = value.encode("utf-8", "replace").decode("utf-8", "replace")
            headers[name] = f"{headers[name]}, {shown}" if name in headers else shown
    return b'{"status":%d,"headers":%b,"took_ms":%.3f,"body":%b,"record":%b}' % (
        answer.status,
        msgspec.json.encode(headers),
        took_ms,
        _shown(answer.body),
        record,
    )


def _shown(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        body.decode("utf-8")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return msgspec.json.encode(body.decode("utf-8", "replace"))
    return body
