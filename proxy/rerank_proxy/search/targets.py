"""Which parameters of a client's search go along with which request upstream."""

from typing import Final

RESPONSE_FORMAT: Final = frozenset({"error_trace", "human", "pretty"})
"""Parameters that say how an answer is printed."""
INNER_SEARCH: Final = RESPONSE_FORMAT | {"allow_partial_search_results"}
"""With partial results refused, a window with a lost shard in it must not pass either."""
INDICES_OPTIONS: Final = frozenset(
    {
        "allow_no_indices", "ccs_minimize_roundtrips", "expand_wildcards", "ignore_throttled",
        "ignore_unavailable",
    }
)  # fmt: skip
OPENING: Final = RESPONSE_FORMAT | {
    "allow_no_indices", "allow_partial_search_results", "expand_wildcards", "ignore_throttled",
    "ignore_unavailable", "max_concurrent_shard_requests", "preference", "routing",
}  # fmt: skip
"""Parameters that opening a point in time takes."""
PAGE: Final = frozenset({"from", "size"})
NOT_IN_POINT_IN_TIME: Final = INDICES_OPTIONS | PAGE | {"index", "preference", "routing"}
"""Parameters that the final search cannot have, or has in its body."""
SEARCH: Final = frozenset(
    {
        "_source", "_source_exclude_vectors", "_source_excludes", "_source_includes", "allow_no_indices",
        "allow_partial_search_results", "batched_reduce_size", "ccs_minimize_roundtrips", "docvalue_fields",
        "error_trace", "expand_wildcards", "explain", "from", "human", "ignore_throttled",
        "ignore_unavailable", "include_named_queries_score", "index", "max_concurrent_shard_requests",
        "pre_filter_shard_size", "preference", "pretty", "request_cache", "rest_total_hits_as_int", "routing",
        "search_type", "seq_no_primary_term", "size", "stats", "stored_fields", "timeout", "track_scores",
        "track_total_hits", "typed_keys", "version",
    }
)  # fmt: skip
"""Parameters that any search may have (``RestSearchAction``), those of the URL's own query aside."""
ALL_SHARDS: Final = "pre_filter_shard_size=2147483647"
"""Native runs its inner searches on all shards: what is wrong with one shows even if nothing can match."""


def target(index: str | None, api: str, query: str) -> str:
    """Return the target of an API.

    Args:
        index: The index expression, percent-encoded already; None for none.
        query: The query string, without `?`; may be empty.
    """
    path = f"/{api}" if index is None else f"/{index}/{api}"
    return f"{path}?{query}" if query else path
