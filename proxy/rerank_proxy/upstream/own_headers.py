"""The headers of an answer that has none of upstream's."""

from collections.abc import Mapping


def own_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """What Elasticsearch answers to every request with these headers, whatever the format."""
    own = [("X-elastic-product", "Elasticsearch")]
    opaque_id = headers.get("X-Opaque-Id")
    if opaque_id is not None:
        own.insert(0, ("X-Opaque-Id", opaque_id))
    return own
