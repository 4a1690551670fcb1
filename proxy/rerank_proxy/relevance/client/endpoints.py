"""Inference endpoints of a running proxy: who they are, and what they score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from rerank_proxy.relevance.client.foreign_answers import Score
from rerank_proxy.relevance.client.searching import RefusedError, Searcher
from rerank_proxy.relevance.errors import RelevanceError


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """What a proxy says of an endpoint; None for what it does not say."""

    service: str | None = None
    model: str | None = None


def info_of(answer: Any) -> EndpointInfo | None:
    """Return what an answer says of one endpoint; None if it is not such an answer."""
    try:
        (shown,) = msgspec.convert(answer, _Shown).endpoints
    except ValueError:  # one by msgspec, too
        return None
    settings = shown.service_settings
    model = settings.get("model_id", settings.get("model"))
    return EndpointInfo(shown.service, model if isinstance(model, str) else None)


class _Endpoint(msgspec.Struct):
    service: str | None = None
    service_settings: dict[str, Any] = {}


class _Shown(msgspec.Struct):
    endpoints: list[_Endpoint]


def path_of(endpoint: str) -> str:
    """Return the path of an endpoint in the API."""
    return f"/_inference/rerank/{quote(endpoint, safe='')}"


async def look_up(searcher: Searcher, endpoint: str) -> EndpointInfo:
    """Ask the proxy who an endpoint is.

    Raises:
        RelevanceError: There is no such endpoint, or the proxy cannot be asked.
    """
    try:
        answer = await searcher.get(path_of(endpoint))
    except RefusedError as error:
        raise RelevanceError(f"{endpoint}: {searcher.url} {error}") from None
    if (info := info_of(answer)) is None:
        raise RelevanceError(f"{endpoint}: {searcher.url} does not say what it is: is it the proxy?")
    return info


async def scores_of(searcher: Searcher, endpoint: str, query: str, texts: Sequence[str]) -> list[float]:
    """Have an endpoint score texts, in one call.

    Returns:
        The score of each text, in their order.

    Raises:
        RefusedError: The endpoint refuses them, or there is none.
        RelevanceError: The proxy cannot be reached, or the answer lacks the score of a text.
    """
    body = {"query": query, "input": [*texts], "top_n": len(texts)}
    answer = await searcher.post(path_of(endpoint), body)
    try:
        scores = {row.index: row.relevance_score for row in msgspec.convert(answer, _Ranked).rerank}
        return [scores[place] for place in range(len(texts))]
    except (KeyError, msgspec.ValidationError):
        raise RelevanceError(
            f"{endpoint}: {searcher.url} answered without a score for every text: is it the proxy?"
        ) from None


class _Scored(msgspec.Struct):
    index: int
    relevance_score: Score


class _Ranked(msgspec.Struct):
    rerank: list[_Scored]
