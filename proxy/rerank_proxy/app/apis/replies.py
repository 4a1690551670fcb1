"""Answers that are made here, in the layout that the request asks for."""

from typing import Any

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.upstream.own_headers import own_headers
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.splicing import Printer


def printer_of(context: RequestContext) -> Printer:
    return Printer(context.params.flag("pretty"))


def json_reply(context: RequestContext, value: Any) -> Reply:
    """An object or array of our own making."""
    return printed_reply(context, printer_of(context).value(value))


def printed_reply(context: RequestContext, body: bytes) -> Reply:
    """What `printer_of` has put together."""
    return Reply(200, own_headers(context.headers), body + printer_of(context).end())


def unsupported_type(context: RequestContext) -> Reply:
    """``RestController``'s refusal of a media type, which has no exception in it."""
    shown = context.content_type or ""
    body = {"error": f"Content-Type header [{shown}] is not supported", "status": 406}
    return Reply(406, own_headers(context.headers), printer_of(context).value(body))
