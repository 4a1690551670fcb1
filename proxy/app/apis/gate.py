"""Who may do what with the APIs that are answered here."""

from proxy.app.apis.context import RequestContext
from proxy.app.credentials import CallerDigests
from proxy.inference.privileges import Action, Privileges


class Gate:
    """Upstream's security, asked in the name of the caller of a request."""

    def __init__(self) -> None:
        self._privileges = Privileges()
        self._callers = CallerDigests()

    async def require(self, context: RequestContext, action: Action) -> None:
        """Raises: As `Privileges.require`."""
        await self._privileges.require(context.upstream(), self._callers.of(context.headers), action)
