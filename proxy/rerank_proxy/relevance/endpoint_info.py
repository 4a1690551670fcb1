"""Who an endpoint is, by what `GET _inference` shows of it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """What a proxy says of an endpoint; None for what it does not say."""

    service: str | None = None
    model: str | None = None


def info_of(answer: Any) -> EndpointInfo | None:
    """Return what an answer says of one endpoint; None if it is not such an answer."""
    try:
        (shown,) = answer["endpoints"]
        settings = shown.get("service_settings", {})
        return EndpointInfo(shown.get("service"), settings.get("model_id", settings.get("model")))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
