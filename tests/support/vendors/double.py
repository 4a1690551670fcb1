"""A server that speaks one vendor's wire, strictly, and fails on command."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

Member = type | tuple[type, ...] | Callable[[Any], bool]
"""What a member of a request's body must be."""


@dataclass(frozen=True)
class Asked:
    """A request in common terms."""

    query: str
    texts: Sequence[str]
    top_n: int | None = None
    returns: bool | None = None

    def text(self, index: Any) -> str:
        """Return the text of a result, whose index may be wrong on purpose."""
        try:
            position = int(index)
        except (OverflowError, TypeError, ValueError):
            return "none"
        return self.texts[position] if 0 <= position < len(self.texts) else "none"


@dataclass(frozen=True)
class Wire:
    """One vendor's API.

    Attributes:
        path: Of the URL, with the query string if there is one.
        headers: What a request must carry.
        required, optional: Members of its body; others are refused.
        asked: Its body in common terms.
        answer: The results, best first, as `(index, score)`, in the vendor's form.
        refusal: The vendor's form of an error.
        ranks: Whether it sorts and knows `top_n`.
    """

    path: str
    headers: Mapping[str, str]
    required: Mapping[str, Member]
    asked: Callable[[Mapping[str, Any]], Asked]
    answer: Callable[[Asked, Sequence[tuple[Any, Any]]], Any]
    refusal: Callable[[int, str], Any]
    optional: Mapping[str, Member] = field(default_factory=dict)
    ranks: bool = True


def score(text: str) -> float:
    """Return the number that a text ends with; 0 where it does not."""
    try:
        return float(text.split()[-1])
    except (IndexError, ValueError):
        return 0.0


Fault = Callable[[web.Request, Asked], Awaitable[web.StreamResponse]]


@dataclass
class Vendor:
    """A running server.

    Attributes:
        seen: The bodies of the requests that it answered or failed.
        headers: Their headers.
        complaints: What was wrong with requests. Tests must find it empty.
        faults: What happens to the next requests instead of an answer, one each.
        most: The most texts in one request.
        tokens: Access tokens that were given out.
    """

    wire: Wire
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    most: int | None = None
    tokens: int = 0
    token_faults: list[int] = field(default_factory=list)

    def fails(self, *statuses: int, message: str = "no", retry_after: str | None = None) -> None:
        """Refuse the next requests."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        for status in statuses:
            self._next(partial(self._refuse, status, message, headers))

    def says(self, body: bytes, status: int = 200, content_type: str = "application/json") -> None:
        """Answer the next request with these bytes."""
        self._next(lambda asked: web.Response(status=status, body=body, content_type=content_type))

    def ranks_as(self, change: Callable[[list[tuple[Any, Any]]], list[tuple[Any, Any]]]) -> None:
        """Change the results of the next answer, which are pairs `(index, score)`."""
        self._next(lambda asked: self._json(self.wire.answer(asked, change(self.ranked(asked)))))

    def hangs_until(self, released: asyncio.Event) -> None:
        """Answer the next request only once `released` is set."""

        async def wait(request: web.Request, asked: Asked) -> web.StreamResponse:
            await released.wait()
            return self._answer(asked)

        self.faults.append(wait)

    def breaks_off(self) -> None:
        """Close the connection of the next request without an answer."""

        async def close(request: web.Request, asked: Asked) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        self.faults.append(close)

    def ranked(self, asked: Asked) -> list[tuple[Any, Any]]:
        """Return the true results."""
        pairs: list[tuple[Any, Any]] = [(index, score(text)) for index, text in enumerate(asked.texts)]
        if not self.wire.ranks:
            return pairs
        return sorted(pairs, key=lambda pair: -pair[1])[: asked.top_n]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        problem = self._problem(request, body)
        if problem is not None:
            self.complaints.append(problem)
            return self._refusal(418, problem, {})
        content = json.loads(body)
        self.seen.append(content)
        self.headers.append(dict(request.headers))
        asked = self.wire.asked(content)
        if self.faults:
            return await self.faults.pop(0)(request, asked)
        if self.most is not None and len(asked.texts) > self.most:
            message = f"batch size {len(asked.texts)} > maximum allowed batch size {self.most}"
            return self._refusal(422, message, {})
        return self._answer(asked)

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Answer as a token endpoint (RFC 6749), for any grant."""
        form = await request.post()
        if not form.get("grant_type"):
            self.complaints.append("a token without [grant_type]")
        self.seen.append({"form": dict(form)})
        if self.token_faults:
            status = self.token_faults.pop(0)
            return web.json_response({"error": "invalid_grant", "error_description": "no"}, status=status)
        self.tokens += 1
        return web.json_response(
            {"access_token": f"access-token-{self.tokens}", "expires_in": 3600, "token_type": "Bearer"}
        )

    def _next(self, answer: Callable[[Asked], web.StreamResponse]) -> None:
        async def fault(request: web.Request, asked: Asked) -> web.StreamResponse:
            return answer(asked)

        self.faults.append(fault)

    def _answer(self, asked: Asked) -> web.StreamResponse:
        return self._json(self.wire.answer(asked, self.ranked(asked)))

    def _json(self, content: Any) -> web.Response:
        return web.Response(text=json.dumps(content), content_type="application/json")

    def _refuse(
        self, status: int, message: str, headers: Mapping[str, str], asked: Asked
    ) -> web.StreamResponse:
        return self._refusal(status, message, headers)

    def _refusal(self, status: int, message: str, headers: Mapping[str, str]) -> web.Response:
        return web.json_response(self.wire.refusal(status, message), status=status, headers=headers)

    def _problem(self, request: web.Request, body: bytes) -> str | None:
        if request.path_qs != self.wire.path:
            return f"path {request.path_qs}, not {self.wire.path}"
        for name, value in self.wire.headers.items():
            sent = request.headers.get(name, "")
            if sent != value and not (value.endswith("*") and sent.startswith(value[:-1])):
                return f"header {name}"
        if request.content_type != "application/json":
            return f"content type {request.content_type}"
        content = json.loads(body)
        known = {**self.wire.required, **self.wire.optional}
        unknown = set(content) - set(known)
        absent = set(self.wire.required) - set(content)
        bad = [name for name, value in content.items() if name in known and not _is(value, known[name])]
        return f"unknown {unknown}, absent {absent}, bad {bad}" if unknown or absent or bad else None


def _is(value: Any, member: Member) -> bool:
    if isinstance(member, type | tuple):
        return isinstance(value, member) and not (isinstance(value, bool) and member is int)
    return member(value)


@asynccontextmanager
async def serving(wire: Wire) -> AsyncIterator[Vendor]:
    """Serve `wire` at an address of this machine; the test fails if a request was not of the wire."""
    vendor = Vendor(wire)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/token", vendor.token)
    app.router.add_post("/identity/token", vendor.token)
    app.router.add_route("*", "/{path:.*}", vendor.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        vendor.url = f"http://{host}:{port}"
        yield vendor
    finally:
        await runner.cleanup()
    assert not vendor.complaints, vendor.complaints
