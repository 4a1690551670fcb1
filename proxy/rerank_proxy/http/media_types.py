"""Media types as Elasticsearch reads and prints them."""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-\[\]\\]+")
_KNOWN: Final = re.compile(r"application/(?:vnd\.elasticsearch\+)?(json|x-ndjson|yaml|cbor|smile)")
_OTHER_THAN_JSON: Final = re.compile(
    r"(\s*application\s*/\s*(?:vnd\.elasticsearch\+)?)(?:yaml|cbor|smile)(?=\s*(?:;|$))", re.IGNORECASE
)
VERSION: Final = "compatible-with"
"""The parameter of a media type that names a version of Elasticsearch."""


class Format(enum.Enum):
    """``XContentType``, by the value of the parameter `format`."""

    JSON = "json"
    YAML = "yaml"
    CBOR = "cbor"
    SMILE = "smile"


@dataclass(frozen=True, slots=True)
class MediaType:
    """``ParsedMediaType``: one media type and its parameters, all in lower case."""

    name: str
    parameters: dict[str, str]

    @property
    def format(self) -> Format | None:
        """Elasticsearch's format, or None for another; newline-delimited JSON is JSON."""
        known = _KNOWN.fullmatch(self.name)
        if known is None:
            return None
        return Format.JSON if known[1] == "x-ndjson" else Format(known[1])

    @property
    def vendor(self) -> bool:
        """Return whether it is one of `application/vnd.elasticsearch+…`."""
        return self.name.startswith("application/vnd.elasticsearch+")


class MediaTypeError(ValueError):
    """A header that Elasticsearch answers with a `media_type_header_exception`."""


def header(values: Sequence[str]) -> MediaType | None:
    """Return the media type of all values of `Accept` or `Content-Type`, or None if Elasticsearch ignores
    them.

    Raises:
        MediaTypeError: Elasticsearch refuses them.
    """
    if not values:
        return None
    if len(values) > 1 or not values[0].strip():
        raise MediaTypeError
    return _parse(values[0].strip().lower())


def _parse(value: str) -> MediaType | None:
    """Parse as ``ParsedMediaType#parseMediaType`` does, which ignores lists."""
    if "," in value or value == "*/*":
        return None
    name, *parameters = value.split(";")
    parts = [part.strip() for part in name.split("/")]
    if len(parts) != 2 or not all(_TOKEN.fullmatch(part) for part in parts):
        raise MediaTypeError
    return MediaType("/".join(parts), dict(_parameter(each.strip()) for each in parameters if each.strip()))


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value or "=" in value or re.search(r"\s", text):
        raise MediaTypeError
    return name, value


def for_json(media_type: str) -> str:
    """Replace another format by JSON in a header value, and keep the spelling of the rest.

    For inner requests, whose bodies and answers are JSON: a version that is asked for by `compatible-with`
    must go along.
    """
    return _OTHER_THAN_JSON.sub(r"\1json", media_type, count=1)


def format_of(content_type: str) -> Format | None:
    """Return which of Elasticsearch's formats a `Content-Type` names; None for any other value."""
    try:
        media_type = header([content_type])
    except MediaTypeError:
        return None
    return media_type.format if media_type is not None else None
