"""A client of a running proxy, for the commands of `endpoints`."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from rich.table import Table

from rerank_proxy.cli.options import CommandError
from rerank_proxy.cli.proxy_options import Access
from rerank_proxy.errors import reason_of
from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.observe.log_lines import printable

_TIMEOUT_S: Final = 120.0
"""Long enough to load a model first."""

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
                session.request(
                    method, self.at.url + path, json=body, params=params, ssl=self.at.tls or True
                ) as answer,
            ):
                text = await answer.text()
        except TimeoutError:
            raise CommandError(f"{self.at.url} did not answer within {_TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as failure:
            words = connection_fault(failure).words
            raise CommandError(f"{self.at.url} cannot be reached: {words}; name it with --url") from None
        if answer.status >= 400:
            raise CommandError(f"{self.at.url} answered {answer.status}: {reason_of(text)}")
        try:
            return json.loads(text)
        except ValueError:
            raise CommandError(
                f"{self.at.url} answered {answer.status}, but not with JSON: is it the proxy?"
            ) from None


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


async def list_endpoints(proxy: Proxy) -> Any:
    """Return the endpoints of the task type `rerank`, as the proxy shows them."""
    return (await proxy.call("GET", "/_inference/rerank/_all"))["endpoints"]


def table_of(endpoints: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each endpoint."""
    table = Table("inference_id", "service", "model_id", "service_settings", "task_settings")
    for endpoint in endpoints:
        settings = dict(endpoint["service_settings"])
        model = settings.pop("model_id", "")
        others = (_compact(settings), _compact(endpoint.get("task_settings", {})))
        table.add_row(*map(printable, (endpoint["inference_id"], endpoint["service"], model, *others)))
    return table


async def get_endpoint(proxy: Proxy, inference_id: str) -> Any:
    """Return an endpoint as the proxy shows it."""
    (endpoint,) = (await proxy.call("GET", _path(inference_id)))["endpoints"]
    return endpoint


async def put_endpoint(proxy: Proxy, inference_id: str, body: Mapping[str, Any]) -> Any:
    """Create an endpoint, and return it as the proxy keeps it."""
    return await proxy.call("PUT", _path(inference_id), body)


async def delete_endpoint(proxy: Proxy, inference_id: str, *, force: bool, dry_run: bool) -> Any:
    """Delete an endpoint, and return the answer."""
    params = {name: "true" for name, wanted in (("force", force), ("dry_run", dry_run)) if wanted}
    return await proxy.call("DELETE", _path(inference_id), params=params)


async def try_endpoint(proxy: Proxy, inference_id: str, query: str, texts: Sequence[str]) -> Tried:
    """Call an endpoint."""
    began = time.perf_counter()
    answer = await proxy.call("POST", _path(inference_id), {"query": query, "input": [*texts]})
    took_ms = (time.perf_counter() - began) * 1000
    return Tried([(doc["index"], doc["relevance_score"]) for doc in answer["rerank"]], took_ms)


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
