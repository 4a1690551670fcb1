"""`indices_boost` of a search whose scores it does not change."""

from rerank_proxy.search.retrievers.queries import array, to_object
from rerank_proxy.xcontent.splicing import elements, members


def without_effect(boosts: bytes) -> bytes:
    """Return boosts that Elasticsearch checks as it does these, but that multiply nothing.

    It looks up the indices even where native's ranked documents keep their scores. What it cannot read is
    returned as it is, for Elasticsearch to refuse.
    """
    if not boosts.startswith(b"["):
        return boosts
    items = elements(boosts)
    if not all(map(_is_boost, items)):
        return boosts
    return array([to_object(dict.fromkeys(members(item), b"1")) for item in items])


def _is_boost(item: bytes) -> bool:
    if not item.startswith(b"{"):
        return False
    return [value[:1] in b"-0123456789" for value in members(item).values()] == [True]
