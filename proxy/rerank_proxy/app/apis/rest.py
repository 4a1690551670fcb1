"""What all APIs that manage something have in common (``BaseRestHandler``).

They check who may call, their parameters and their body, and they print their answers.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Generic, TypeVar

from rerank_proxy.app.apis import changes
from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.errors import illegal_argument
from rerank_proxy.upstream.headers import of_own_answer
from rerank_proxy.upstream.privileges import Action, Privileges
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.object_parser import did_you_mean
from rerank_proxy.xcontent.splicing import Printer

_OF_EVERY_API: Final = ("error_trace", "human", "pretty")

T = TypeVar("T")

Operation = Callable[[RequestContext, T], Awaitable[Reply | None]]
"""Does what one method does with what a path names; returns None for what upstream answers."""


class Operations(Generic[T]):
    """The operations at one path, for callers who may do them.

    Args:
        by_method: Operations by HTTP method, each with what Elasticsearch authorises; upstream answers other
            methods.
        target: Returns what the path names, whose text is its name; None if that is upstream's.
    """

    def __init__(
        self,
        by_method: Mapping[str, tuple[Operation[T], Action]],
        target: Callable[[RequestContext], Awaitable[T | None]],
        privileges: Privileges,
    ) -> None:
        self._by_method = by_method
        self._target = target
        self._privileges = privileges

    async def answer(self, context: RequestContext) -> Reply | None:
        if context.method not in self._by_method:
            return None
        context.refuse_smile()
        if context.body and not context.has_json_body:
            return unsupported_type(context)
        operation, action = self._by_method[context.method]
        await self._privileges.require(context.upstream(), action)
        target = await self._target(context)
        reply = None if target is None else await operation(context, target)
        if reply is not None and changes.is_change(action) and is_done(context, reply):
            await changes.tell(action, str(target), context.upstream())
        return reply


def is_done(context: RequestContext, reply: Reply) -> bool:
    """Return whether what was asked for was done, and not only tried out."""
    return reply.status < 300 and not context.params.flag("dry_run")


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
        raise illegal_argument(reason)


def check_no_body(context: RequestContext) -> None:
    """Refuse a body, for an API that reads none.

    Raises:
        ElasticsearchError: 400.
    """
    if context.body:
        reason = f"request [{context.method} {context.path}] does not support having a body"
        raise illegal_argument(reason)


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
