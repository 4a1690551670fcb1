"""Privileges: whether a caller may do something with inference endpoints or trained models.

Upstream's security decides, in its words.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from cachetools import TTLCache

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading

_ASKING: Final = b"cluster:admin/xpack/security/user/has_privileges"
_REMEMBERED_S: Final = 30.0
_MAX_ANSWERS: Final = 10_000

_READ: Final = ("monitor_inference", "manage_inference", "monitor", "manage", "all")
_MANAGE: Final = ("manage_inference", "manage", "all")
_READ_ML: Final = ("monitor_ml", "manage_ml", "monitor", "manage", "all")
_MANAGE_ML: Final = ("manage_ml", "manage", "all")
_DEPLOY: Final = (("manage_inference", "manage_ml", "manage", "all"), ("manage_inference",))


@dataclass(frozen=True, slots=True)
class Action:
    """Something that Elasticsearch authorises.

    Attributes:
        name: Of its transport action.
        granted_by: The built-in cluster privileges that grant it, least first
            (``ClusterPrivilegeResolver#findPrivilegesThatGrant``).
        exactly_granted_by: Those of them that grant it and nothing else that begins with its name. Asked for
            an action, Elasticsearch says whether all such are granted, so these are asked for as well.
    """

    name: str
    granted_by: tuple[str, ...]
    exactly_granted_by: tuple[str, ...] = ()


GET_ENDPOINT: Final = Action("cluster:monitor/xpack/inference/get", _READ)
GET_SERVICES: Final = Action("cluster:monitor/xpack/inference/services/get", _READ)
RUN_INFERENCE: Final = Action("cluster:monitor/xpack/inference/post", _READ)
PUT_ENDPOINT: Final = Action("cluster:admin/xpack/inference/put", _MANAGE)
UPDATE_ENDPOINT: Final = Action("cluster:admin/xpack/inference/update", _MANAGE)
DELETE_ENDPOINT: Final = Action("cluster:admin/xpack/inference/delete", _MANAGE)

GET_MODEL: Final = Action("cluster:monitor/xpack/ml/inference/get", _READ_ML)
GET_MODEL_STATS: Final = Action("cluster:monitor/xpack/ml/inference/stats/get", _READ_ML)
INFER_MODEL: Final = Action("cluster:monitor/xpack/ml/inference/infer", _READ_ML)
PUT_MODEL: Final = Action("cluster:admin/xpack/ml/inference/put", _MANAGE_ML)
PUT_MODEL_PART: Final = Action("cluster:admin/xpack/ml/trained_models/part/put", _MANAGE_ML)
PUT_MODEL_VOCABULARY: Final = Action("cluster:admin/xpack/ml/trained_models/vocabulary/put", _MANAGE_ML)
DELETE_MODEL: Final = Action("cluster:admin/xpack/ml/inference/delete", _MANAGE_ML)
START_DEPLOYMENT: Final = Action("cluster:admin/xpack/ml/trained_models/deployment/start", *_DEPLOY)
STOP_DEPLOYMENT: Final = Action("cluster:admin/xpack/ml/trained_models/deployment/stop", *_DEPLOY)
UPDATE_DEPLOYMENT: Final = Action("cluster:admin/xpack/ml/trained_models/deployment/update", _MANAGE_ML)


class DeniedError(ElasticsearchError):
    """403: the caller may not do this."""


class Privileges:
    """Asks upstream with the caller's own credentials, and remembers its answers for half a minute.

    It is asked for the action itself rather than for a privilege: so a role that names the action grants it,
    as in Elasticsearch, and no version has to know the privilege.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._answers: TTLCache[tuple[bytes, str], DeniedError | None] = TTLCache(
            _MAX_ANSWERS, _REMEMBERED_S, clock
        )

    async def require(self, upstream: Upstream, action: Action) -> None:
        """Refuse a caller who may not do this. Where upstream has no security, all callers may do everything.

        Raises:
            DeniedError: 403, in Elasticsearch's words.
            UpstreamRefusedError: Upstream does not know the caller, or refused to tell.
            ElasticsearchError: 5xx when upstream cannot be reached, or does not answer as Elasticsearch does.
        """
        key = upstream.caller, action.name
        try:
            refusal = self._answers[key]
        except KeyError:
            refusal = self._answers[key] = await _ask(upstream, action)
        if refusal is not None:
            raise DeniedError(refusal.status, refusal.cause)


async def _ask(upstream: Upstream, action: Action) -> DeniedError | None:
    names = (action.name, *action.exactly_granted_by)
    body = msgspec.json.encode({"cluster": names})
    reply = await upstream.request("POST", "/_security/user/_has_privileges", body)
    if reply.has_no_handler:  # security is switched off, or is not part of this upstream
        return None
    if reply.status == 403:  # every user may ask this, but not run as another one
        body = reply.body.replace(b"action [%b]" % _ASKING, b"action [%b]" % action.name.encode())
        raise UpstreamRefusedError(replace(reply, body=body))
    if any(_granted(reply, names)):
        return None
    reply = await upstream.request("GET", "/_security/_authenticate", b"")
    with reading("[_security/_authenticate]"):
        return denial(action, _object(reply))


def _granted(reply: Reply, names: Sequence[str]) -> Sequence[bool]:
    """Return what upstream says of each privilege that it was asked about."""
    with reading("[_security/user/_has_privileges]"):
        granted = [_object(reply)["cluster"][name] for name in names]
        if not all(isinstance(each, bool) for each in granted):
            raise TypeError("neither yes nor no")
    return granted


def denial(action: Action, caller: Any) -> DeniedError:
    """Return the refusal of an action, worded as ``AuthorizationDenialMessages`` words it.

    Args:
        caller: What `_security/_authenticate` says of it.
    """
    reason = (
        f"action [{action.name}] is unauthorized for {_description(caller)}, this action is granted by the "
        f"cluster privileges [{','.join(action.granted_by)}]"
    )
    return DeniedError(403, Cause("security_exception", reason))


def _description(caller: Any) -> str:
    realm = caller.get("authentication_realm") or {}
    name = caller.get("username")
    if caller.get("authentication_type") == "api_key":
        key = caller.get("api_key") or {}
        return f"API key id [{key.get('id')}] of user [{name}]"
    if realm.get("type") == "_service_account":
        return f"service account [{name}]"
    return f"user [{name}] with effective roles [{','.join(sorted(caller.get('roles', ())))}]"


def _object(reply: Reply) -> dict[str, Any]:
    """Return the JSON object that upstream answered with.

    Raises:
        UpstreamRefusedError: It did not answer with success.
        msgspec.DecodeError: Its answer is not a JSON object.
    """
    if reply.status != 200:
        raise UpstreamRefusedError(reply)
    return msgspec.json.decode(reply.body, type=dict[str, Any])
