"""What all handlers of management APIs do (``BaseRestHandler``): they check parameters and body, and print
answers.
"""

from collections.abc import Collection
from typing import Any, Final

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.errors import error
from rerank_proxy.upstream.headers import of_own_answer
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.object_parser import did_you_mean
from rerank_proxy.xcontent.splicing import Printer

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


def printer_of(context: RequestContext) -> Printer:
    """Return a printer for the layout that the request asks for."""
    return Printer(context.params.flag("pretty"))


def json_reply(context: RequestContext, value: Any) -> Reply:
    """Return an answer whose body is `value`."""
    return printed_reply(context, printer_of(context).value(value))


def printed_reply(context: RequestContext, body: bytes) -> Reply:
    """Return an answer whose body `printer_of` has put together."""
    return Reply(200, of_own_answer(context.headers), body + printer_of(context).end())


def unsupported_type(context: RequestContext) -> Reply:
    """Return ``RestController``'s refusal of a media type, which has no exception in it."""
    shown = context.content_type or ""
    body = {"error": f"Content-Type header [{shown}] is not supported", "status": 406}
    return Reply(406, of_own_answer(context.headers), printer_of(context).value(body))
