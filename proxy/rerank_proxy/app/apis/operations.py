"""APIs that manage something: who may do what at one path."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.rest import unsupported_type
from rerank_proxy.upstream.privileges import Action, Privileges
from rerank_proxy.upstream.protocol import Reply

T = TypeVar("T")

Operation = Callable[[RequestContext, T], Awaitable[Reply | None]]
"""What one method does with what a path names. None: it is upstream's to answer."""


class Operations(Generic[T]):
    """What can be done at one path, for those who may do it.

    Args:
        by_method: Operations by HTTP method, with what Elasticsearch authorises; upstream answers the others.
        target: What the path names; None: that is upstream's.
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
        return None if target is None else await operation(context, target)
