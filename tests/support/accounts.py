"""Accounts of an Elasticsearch with security: each has one right, or none."""

import base64
from typing import Any, Final

from testbed import Server
from testbed.http import basic
from testbed.node import SERVICE_TOKEN

PASSWORD: Final = "kept ' secret"

REGISTRY: Final = "rerank-proxy-endpoints"

ROLES: Final[dict[str, Any]] = {
    "reader": {"indices": [{"names": ["*"], "privileges": ["read"]}]},
    "monitor_inference": {"cluster": ["monitor_inference"]},
    "manage_inference": {"cluster": ["manage_inference"]},
    "monitor": {"cluster": ["monitor"]},
    "manage": {"cluster": ["manage"]},
    "manage_ml": {"cluster": ["manage_ml"]},
    "put_only": {"cluster": ["cluster:admin/xpack/inference/put"]},
    "registry": {"indices": [{"names": [f"{REGISTRY}*"], "privileges": ["read", "write", "create_index"]}]},
    "registry_reader": {"indices": [{"names": [f"{REGISTRY}*"], "privileges": ["read"]}]},
    "impersonator": {"run_as": ["manage_inference"]},
    "some_documents": {
        "cluster": ["monitor_inference"],
        "indices": [{"names": ["*"], "privileges": ["read"], "query": {"match_all": {}}}],
    },
}

USERS: Final[dict[str, list[str]]] = {
    "nobody": [],
    "two_roles": ["reader", "monitor_inference"],
    **{name: [name] for name in ROLES},
}
"""Each user of one role has that role's name."""


def account(server: Server, user: str) -> Server:
    """Return the server, spoken to as one of `USERS`."""
    return Server(server.url, basic(user, PASSWORD))


SERVICE: Final = "Bearer " + base64.b64encode(b"\0\1\0\1" + f"{SERVICE_TOKEN}:{PASSWORD}".encode()).decode()
"""The `Authorization` of a service account (``ServiceAccountToken``), which may read no index of tests.

API keys cannot be made here: their index needs an analyzer that the minimal distribution lacks.
"""
