"""What the playground may ask of the proxy: searches, and what one has to know to write them."""

import re
from typing import Final

from rerank_proxy.errors import ElasticsearchError, error, illegal_argument
from rerank_proxy.xcontent.target import RequestTarget, decode

_INDEX: Final = r"(?:/(?:[^/_][^/]*|_all))?"
_READ: Final = ("GET", "POST")
_ROUTES: Final = (
    (_READ, rf"{_INDEX}/_search"),
    (_READ, rf"{_INDEX}/_search/template"),
    (_READ, rf"{_INDEX}/_msearch"),
    (_READ, rf"{_INDEX}/_msearch/template"),
    (_READ, rf"{_INDEX}/_field_caps"),
    (("GET",), rf"{_INDEX}/_mapping"),
    (("GET",), r"/_cat/indices(?:/[^/]+)?"),
    (("GET",), r"/_resolve/index/[^/]+"),
    (_READ, r"/_inference/rerank/[^/_%][^/%]*"),
    (("GET",), r"/_inference/rerank(?:/_all)?"),
)
_COMPILED: Final = tuple((methods, re.compile(path)) for methods, path in _ROUTES)
_SEARCH: Final = re.compile(rf"{_INDEX}/_m?search(?:/template)?")
_SEPARATOR: Final = re.compile(r"(?:;[^/\\]*)?(?:[/\\]|$)")
"""Between the parts of a path, as some servers see them: they take what follows a semicolon from a part."""
_ENDS_A_TARGET: Final = re.compile(r"[\x00-\x20\x7f?#]")
_TARGET: Final = re.compile(r"/[!-~]*")
_MAX_TARGET: Final = 4096
"""Characters: what Elasticsearch reads of a request line (`http.max_initial_line_length`)."""


def check(method: str, target: str) -> None:
    """Refuse a request that the playground has no need of.

    Raises:
        ElasticsearchError: 400, it cannot be a target; 403, it is not among those that are allowed.
    """
    if len(target) > _MAX_TARGET or not _TARGET.fullmatch(target) or "#" in target:
        raise illegal_argument(
            f"[path] has to be the path of a request, beginning with [/], of at most {_MAX_TARGET} "
            "visible ASCII characters; others are escaped with [%]"
        )
    route = RequestTarget.of(target).route
    # What is between here and Elasticsearch may decode the path and resolve its dots before it looks at it,
    # and may send it on as it is then.
    decoded = decode(route)
    dotted = any(part in (".", "..") for part in _SEPARATOR.split(decoded))
    if (
        dotted
        or _ENDS_A_TARGET.search(decoded)
        or not any(method in methods and path.fullmatch(route) for methods, path in _COMPILED)
    ):
        raise _refused(method, target)


def is_search(target: str) -> bool:
    """Return whether a request, which `check` has passed, may have a recording."""
    return _SEARCH.fullmatch(RequestTarget.of(target).route) is not None


def _refused(method: str, target: str) -> ElasticsearchError:
    shown = f"{method} {target.partition('?')[0]}"[:200]
    return error(
        403,
        "security_exception",
        f"the playground does not send [{shown}]: it searches ([_search], [_msearch], templates) and reads "
        "mappings, field capabilities, the names of indices and endpoints",
    )
