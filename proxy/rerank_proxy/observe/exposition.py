"""Writes metrics in the format that a scraper asks for."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS, OPENMETRICS = choose_encoder("application/openmetrics-text")
"""What writes OpenMetrics, and its content type."""
_VERSIONS: Final = ("", "1.0.0")
"""Versions of OpenMetrics that are written here; a scraper may leave it to us."""


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def exposed(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Return metrics as the body of an answer, and its content type.

    OpenMetrics has exemplars, which the text format does not have.

    Args:
        accept: The `Accept` header of the scraper: OpenMetrics if it wants that as much as the text format
            or more, else the text format, whatever it names.
    """
    if wants_openmetrics(accept):
        return _OPENMETRICS(_Collected(families)), OPENMETRICS
    return generate_latest(_Collected(families)), TEXT


def wants_openmetrics(accept: str) -> bool:
    """Return whether an `Accept` header asks for OpenMetrics 1.0.0 (RFC 9110, 12.5.1)."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        media_type, *rest = (piece.strip().lower() for piece in part.split(";"))
        parameters = dict(piece.partition("=")[::2] for piece in rest)
        if media_type in best and (media_type == "text/plain" or parameters.get("version", "") in _VERSIONS):
            best[media_type] = max(best[media_type], _quality(parameters.get("q", "1")))
    return 0 < best["application/openmetrics-text"] >= best["text/plain"]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
