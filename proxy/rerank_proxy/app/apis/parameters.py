"""What an API does not know of a request (``BaseRestHandler``): parameters, and a body."""

from collections.abc import Collection
from typing import Final

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.errors import error
from rerank_proxy.xcontent.object_parser import did_you_mean

_OF_EVERY_API: Final = ("error_trace", "human", "pretty")


def check_params(context: RequestContext, own: Collection[str]) -> None:
    """Refuse a request with parameters other than `own` and those of every API.

    Raises:
        ElasticsearchError: 400, which names them all.
    """
    params, known = context.params, dict.fromkeys((*own, *_OF_EVERY_API))
    unknown = sorted(name for name in params if name not in known)
    if unknown:
        hints = [
            f"[{name}]" + (f" ->{hint}" if (hint := did_you_mean(name, known)) else "") for name in unknown
        ]
        plural = "s" if len(unknown) > 1 else ""
        reason = f"request [{context.path}] contains unrecognized parameter{plural}: {', '.join(hints)}"
        raise error(400, "illegal_argument_exception", reason)


def check_no_body(context: RequestContext) -> None:
    """Refuse a body, for an API that reads none.

    Raises:
        ElasticsearchError: 400.
    """
    if context.body:
        reason = f"request [{context.method} {context.path}] does not support having a body"
        raise error(400, "illegal_argument_exception", reason)
