"""Which requests may be sent to Elasticsearch a second time.

That is done when a kept connection turns out to be closed before a byte of an answer came.

Paths are compared as `edge/router.py` compares them: raw, as Elasticsearch routes them.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_END: Final = rb"/*+(?:[?#]|\Z)"
# What reads without leaving a trace, so that a second try shows the caller nothing. Not here:
# `_search/scroll`, `_sql` and `_eql` make or move a cursor, `_async_search` and `_pit` leave something
# behind, `_inference` may cost money.
_READS: Final = re.compile(
    rb"/?(?:[^/?#]*/)?(?:_m?search(?:/template)?|_count|_mget|_field_caps|_mtermvectors|_rank_eval"
    rb"|_terms_enum|_search_shards|_validate/query|_render/template|_analyze|_explain/[^/?#]+"
    rb"|_termvectors(?:/[^/?#]+)?|_security/user/_has_privileges)" + _END
)
_CURSOR: Final = re.compile(rb"/?(?:[^/?#]*/)?(?:_search/scroll(?:/[^/?#]*)?|_sql|_eql/search)" + _END)


def is_read_only(method: bytes, target: bytes) -> bool:
    """Return whether a request that may have reached upstream can be sent again unnoticed."""
    if _makes_scroll(target):
        return False
    if method == b"GET":
        return _CURSOR.match(target) is None
    return method in (b"HEAD", b"OPTIONS") or (method == b"POST" and _READS.match(target) is not None)


def is_repeatable(method: bytes, target: bytes) -> bool:
    """Return whether an inner request may be sent again.

    It may if it only reads, or if it ends a point in time, which is the same when it comes twice.
    """
    return is_read_only(method, target) or (method == b"DELETE" and target == b"/_pit")


def _makes_scroll(target: bytes) -> bool:
    """Return whether a search may open a scroll, by the parameter of that name; in doubt, too."""
    query = target.partition(b"?")[2]
    return b"scroll" in (unquote_to_bytes(query) if b"%" in query else query)
