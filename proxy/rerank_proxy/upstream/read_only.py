"""Which requests only read, so that they can be sent twice.

Paths are compared the way Elasticsearch routes them (`RestController`): on the raw path, which ends at the
first `?` or `#`. See `rerank_proxy.edge.router`.
"""

import re
from urllib.parse import unquote_to_bytes

_END = rb"/*+(?:[?#]|\Z)"
# APIs whose `POST` reads without leaving a trace, so that a second try shows the caller nothing. Not here:
# `_search/scroll`, `_sql` and `_eql` make or move a cursor, `_async_search` and `_pit` leave something
# behind, `_inference` may cost money.
_READS = re.compile(
    rb"/?(?:[^/?#]*/)?(?:_m?search(?:/template)?|_count|_mget|_field_caps|_mtermvectors|_rank_eval"
    rb"|_terms_enum|_search_shards|_validate/query|_render/template|_analyze|_explain/[^/?#]+"
    rb"|_termvectors(?:/[^/?#]+)?|_security/user/_has_privileges)" + _END
)
_CURSOR = re.compile(rb"/?(?:[^/?#]*/)?(?:_search/scroll(?:/[^/?#]*)?|_sql|_eql/search)" + _END)


def is_read_only(method: bytes, target: bytes) -> bool:
    """Return whether a request that may have reached upstream can be sent again unnoticed."""
    if _may_open_scroll(target):
        return False
    if method == b"GET":
        return _CURSOR.match(target) is None
    return method in (b"HEAD", b"OPTIONS") or (method == b"POST" and _READS.match(target) is not None)


def _may_open_scroll(target: bytes) -> bool:
    """Return whether the query may hold the parameter of that name; doubt counts."""
    query = target.partition(b"?")[2]
    return b"scroll" in (unquote_to_bytes(query) if b"%" in query else query)
