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
from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.observe.log import printable
from rerank_proxy.settings import Address

_TIMEOUT_S: Final = 120.0
"""Long enough to load a model first."""

SAMPLE_QUERY: Final = "What is a reranker?"
SAMPLE_TEXTS: Final = (
    "The ferry leaves at noon and is back before dark.",
    "A reranker reads a query and a text together and says how well the text answers the query.",
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy.

    Attributes:
        authorization: The value of the `Authorization` header of requests.
    """

    url: str
    authorization: str | None = None

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
        headers = {"Authorization": self.authorization} if self.authorization is not None else {}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.request(method, self.url + path, json=body, params=params) as answer,
            ):
                text = await answer.text()
        except TimeoutError:
            raise CommandError(f"{self.url} did not answer within {_TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as failure:
            words = connection_fault(failure).words
            raise CommandError(f"{self.url} cannot be reached: {words}; name it with --url") from None
        if answer.status >= 400:
            raise CommandError(f"{self.url} answered {answer.status}: {_reason(text)}")
        try:
            return json.loads(text)
        except ValueError:
            raise CommandError(
                f"{self.url} answered {answer.status}, but not with JSON: is it the proxy?"
            ) from None


def url_of(listen: Address) -> str:
    """Return the URL of a proxy that listens on an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)
    return f"http://{Address(host, listen.port)}"


async def list_endpoints(proxy: Proxy) -> Table:
    """Return a row for each endpoint of the task type `rerank`."""
    answer = await proxy.call("GET", "/_inference/rerank/_all")
    table = Table("inference_id", "service", "model_id", "service_settings", "task_settings")
    for endpoint in answer["endpoints"]:
        settings = dict(endpoint["service_settings"])
        model = settings.pop("model_id", "")
        task_settings = endpoint.get("task_settings", {})
        cells = (
            endpoint["inference_id"],
            endpoint["service"],
            model,
            _compact(settings),
            _compact(task_settings),
        )
        table.add_row(*map(printable, cells))
    return table


async def put_endpoint(proxy: Proxy, inference_id: str, body: Mapping[str, Any]) -> str:
    """Create an endpoint, and return it in one line as the proxy keeps it."""
    return _compact(await proxy.call("PUT", f"/_inference/rerank/{quote(inference_id, safe='')}", body))


async def delete_endpoint(proxy: Proxy, inference_id: str, *, force: bool, dry_run: bool) -> str:
    """Delete an endpoint, and return a line about the result."""
    params = {name: "true" for name, wanted in (("force", force), ("dry_run", dry_run)) if wanted}
    answer = await proxy.call("DELETE", f"/_inference/rerank/{quote(inference_id, safe='')}", params=params)
    if dry_run:
        return answer["error_message"] or f"nothing refers to {inference_id}: it can be deleted"
    return f"deleted {inference_id}"


async def try_endpoint(
    proxy: Proxy, inference_id: str, query: str, texts: Sequence[str]
) -> tuple[Table, str]:
    """Call an endpoint. Return the texts with their scores, best first, and a line about the time it took."""
    began = time.perf_counter()
    answer = await proxy.call(
        "POST", f"/_inference/rerank/{quote(inference_id, safe='')}", {"query": query, "input": [*texts]}
    )
    took_ms = (time.perf_counter() - began) * 1000
    table = Table("relevance_score", "text", title=query, title_justify="left")
    for doc in answer["rerank"]:
        table.add_row(str(doc["relevance_score"]), printable(texts[doc["index"]]))
    return table, f"{len(texts)} texts in {took_ms:.1f} ms"


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


def _reason(text: str) -> str:
    """Return the innermost reason of an error in Elasticsearch's shape; any other text is shortened."""
    try:
        error = json.loads(text)["error"]
        while isinstance(error, dict) and isinstance(error.get("caused_by"), dict):
            error = error["caused_by"]
        return str(error["reason"] if isinstance(error, dict) else error)
    except (KeyError, TypeError, ValueError):
        return " ".join(text.split())[:200]
