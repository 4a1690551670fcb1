"""A client of a running proxy, for the commands of `endpoints`."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from rich.table import Table

from rerank_proxy.cli.options import CommandError
from rerank_proxy.cli.proxy_options import Access
from rerank_proxy.errors import reason_of
from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.relevance.client.foreign_answers import NotJsonError, TooLongError, body_of, parsed

_T = TypeVar("_T")
_TIMEOUT_S: Final = 120.0
"""Long enough to load a model first."""
_MAX_ANSWER: Final = 64 << 20

SAMPLE_QUERY: Final = "What is a reranker?"
SAMPLE_TEXTS: Final = (
    "The ferry leaves at noon and is back before dark.",
    "A reranker reads a query and a text together and says how well the text answers the query.",
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy."""

    at: Access

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request, and return the body of the answer.

        Raises:
            CommandError: The proxy cannot be reached, or refuses the request.
        """
        headers = {"Authorization": self.at.authorization} if self.at.authorization is not None else {}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                # Where a redirect leads to is not who the secrets in a body are for.
                session.request(
                    method,
                    self.at.url + path,
                    json=body,
                    params=params,
                    ssl=self.at.tls or True,
                    allow_redirects=False,
                ) as answer,
            ):
                given = await body_of(answer, _MAX_ANSWER)
        except TooLongError:
            raise CommandError(f"{self.at.url} answered with more than {_MAX_ANSWER} bytes") from None
        except TimeoutError:
            raise CommandError(f"{self.at.url} did not answer within {_TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as failure:
            words = connection_fault(failure).words
            raise CommandError(f"{self.at.url} cannot be reached: {words}; name it with --url") from None
        if answer.status >= 300:
            reason = reason_of(given.decode("utf-8", "replace")) or answer.reason
            raise CommandError(f"{self.at.url} answered {answer.status}: {reason}")
        try:
            return parsed(given)
        except NotJsonError:
            raise self.unlike_the_proxy(answer.status) from None

    def unlike_the_proxy(self, status: int = 200) -> CommandError:
        """Return the error for an answer that the proxy would not give."""
        return CommandError(f"{self.at.url} answered {status}, but not as the proxy does: is it the proxy?")

    async def ask(
        self,
        kind: type[_T],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[Any, _T]:
        """Send a request, and return the body of the answer as it came, and what it says.

        Raises:
            CommandError: As of `call`, or the answer is none of this kind.
        """
        answer = await self.call(method, path, body, params)
        try:
            return answer, msgspec.convert(answer, kind)
        except msgspec.ValidationError:
            raise self.unlike_the_proxy() from None


class Endpoint(msgspec.Struct):
    """An endpoint as the proxy shows it."""

    inference_id: str
    service: str
    service_settings: dict[str, Any] = {}
    task_settings: dict[str, Any] = {}


class _Endpoints(msgspec.Struct):
    endpoints: list[Endpoint]


class _Scored(msgspec.Struct):
    index: int
    relevance_score: float


class _Ranked(msgspec.Struct):
    rerank: list[_Scored]


class _Deleted(msgspec.Struct):
    acknowledged: bool = False
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What a call of an endpoint gave.

    Attributes:
        scores: The place of each text and its score, best first.
    """

    scores: Sequence[tuple[int, float]]
    took_ms: float


def _path(inference_id: str) -> str:
    return f"/_inference/rerank/{quote(inference_id, safe='')}"


async def list_endpoints(proxy: Proxy) -> tuple[Any, Sequence[Endpoint]]:
    """Return the endpoints of the task type `rerank`: as they are shown, and what that says."""
    shown, found = await proxy.ask(_Endpoints, "GET", "/_inference/rerank/_all")
    return shown["endpoints"], found.endpoints


def table_of(endpoints: Sequence[Endpoint]) -> Table:
    """Return a row for each endpoint."""
    table = Table("inference_id", "service", "model_id", "service_settings", "task_settings")
    for endpoint in endpoints:
        settings = dict(endpoint.service_settings)
        model = str(settings.pop("model_id", ""))
        others = (_compact(settings), _compact(endpoint.task_settings))
        table.add_row(*map(printable, (endpoint.inference_id, endpoint.service, model, *others)))
    return table


async def get_endpoint(proxy: Proxy, inference_id: str) -> Any:
    """Return an endpoint as the proxy shows it."""
    shown, found = await proxy.ask(_Endpoints, "GET", _path(inference_id))
    if len(found.endpoints) != 1:
        raise proxy.unlike_the_proxy()
    return shown["endpoints"][0]


async def put_endpoint(proxy: Proxy, inference_id: str, body: Mapping[str, Any]) -> Any:
    """Create an endpoint, and return it as the proxy keeps it."""
    return await proxy.call("PUT", _path(inference_id), body)


async def delete_endpoint(
    proxy: Proxy, inference_id: str, *, force: bool, dry_run: bool
) -> tuple[Any, str | None]:
    """Delete an endpoint, and return the answer, and what refers to the endpoint."""
    params = {name: "true" for name, wanted in (("force", force), ("dry_run", dry_run)) if wanted}
    shown, said = await proxy.ask(_Deleted, "DELETE", _path(inference_id), params=params)
    return shown, said.error_message


async def try_endpoint(proxy: Proxy, inference_id: str, query: str, texts: Sequence[str]) -> Tried:
    """Call an endpoint."""
    began = time.perf_counter()
    asked = {"query": query, "input": [*texts]}
    _, ranked = await proxy.ask(_Ranked, "POST", _path(inference_id), asked)
    took_ms = (time.perf_counter() - began) * 1000
    if not all(0 <= each.index < len(texts) for each in ranked.rerank):
        raise proxy.unlike_the_proxy()
    return Tried([(each.index, each.relevance_score) for each in ranked.rerank], took_ms)


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Read settings from texts `NAME=VALUE`.

    A value that is JSON is parsed, any other is text. A dot in a name leads into an object.

    Raises:
        CommandError: A text has no `=`, or a name leads into a value that is not an object.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise CommandError(f"{pair}: expected NAME=VALUE")
        *path, last = name.split(".")
        target = settings
        for key in path:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise CommandError(f"{pair}: [{key}] is given as a value already")
        target[last] = _value(value)
    return settings


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
