"""Lines about what callers change: inference endpoints, uploaded models, deployments; and who it was."""

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe.events import NAMESPACE, event
from rerank_proxy.observe.log_lines import short
from rerank_proxy.upstream import privileges
from rerank_proxy.upstream.privileges import Action
from rerank_proxy.upstream.protocol import Upstream

logger = logging.getLogger(f"{NAMESPACE}.changes")

_CHANGES: Final[Mapping[Action, tuple[str, str, str]]] = {
    privileges.PUT_ENDPOINT: ("endpoint-created", "inference endpoint", "was created"),
    privileges.UPDATE_ENDPOINT: ("endpoint-changed", "inference endpoint", "was changed"),
    privileges.DELETE_ENDPOINT: ("endpoint-deleted", "inference endpoint", "was deleted"),
    privileges.PUT_MODEL: ("model-created", "model", "was created"),
    privileges.DELETE_MODEL: ("model-deleted", "model", "was deleted"),
    privileges.START_DEPLOYMENT: ("deployment-started", "deployment of model", "was started"),
    privileges.STOP_DEPLOYMENT: ("deployment-stopped", "deployment of model", "was stopped"),
    privileges.UPDATE_DEPLOYMENT: ("deployment-changed", "deployment of model", "was changed"),
}


class Who(NamedTuple):
    """A caller, as Elasticsearch names it.

    Attributes:
        words: For a sentence.
        user: None if it has no name.
        api_key: The id of the API key that it came with, which may be shown.
    """

    words: str
    user: str | None = None
    api_key: str | None = None


_ANYONE: Final = Who("a caller without a name: upstream has no security")
_UNKNOWN: Final = Who("a caller whom upstream did not name")


def is_change(action: Action) -> bool:
    """Return whether what an action does has a line."""
    return action in _CHANGES


async def tell(action: Action, name: str, upstream: Upstream) -> None:
    """Write the line about a change that was made, whether or not upstream says whose it was.

    Args:
        name: Of the endpoint or model.
        upstream: Spoken to in the name of the caller.
    """
    word, what, became = _CHANGES[action]
    who = await named(upstream)
    field = "endpoint" if what == "inference endpoint" else "model"
    logger.info(
        "%s [%s] %s by %s",
        what,
        short(name),
        became,
        who.words,
        extra={
            **event(word, "configuration", api_key=who.api_key),
            f"{NAMESPACE}.{field}": short(name),
            **({} if who.user is None else {"user.name": who.user}),
        },
    )


async def named(upstream: Upstream) -> Who:
    """Return who a caller is."""
    try:
        reply = await upstream.request("GET", "/_security/_authenticate", b"")
    except ElasticsearchError:
        return _UNKNOWN
    if reply.has_no_handler:
        return _ANYONE
    if reply.status != 200:
        return _UNKNOWN
    try:
        return _who(msgspec.json.decode(reply.body, type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNKNOWN


def _who(caller: Mapping[str, Any]) -> Who:
    name, key = caller.get("username"), caller.get("api_key")
    user = short(name) if isinstance(name, str) else None
    if isinstance(key, Mapping) and isinstance(key.get("id"), str):
        return Who(f"API key [{short(key['id'])}] of user [{user}]", user, short(key["id"]))
    return _UNKNOWN if user is None else Who(f"user [{user}]", user)
