"""Which requests a node answers about itself, so that a connection's should all go to one node.

A client's connection to Elasticsearch leads to one node. Most APIs answer for the cluster, whichever node is
asked; these do not:

- `GET /`, which names the node;
- `_nodes/_local/…`, `_tasks?nodes=_local`, and searches with `preference=_local` or `_only_local`, whose
  `_local` is the node that is asked (`DiscoveryNodes.resolveNodes`, `OperationRouting`);
- `?local` of `_cluster/health`, `_cluster/state`, `_cat/…` and others, which reads the node's own copy of the
  cluster's state;
- `_ssl/certificates` and `_remote/info`, which show the node's files and connections.
"""

import re
from urllib.parse import unquote_to_bytes

_about_itself = re.compile(rb"\A/*(?:[?#]|\Z)|local|/_ssl/|/_remote/info").search


def is_node_local(target: bytes) -> bool:
    """Return whether the answer may be about the node that is asked. Doubt counts."""
    return _about_itself(unquote_to_bytes(target) if b"%" in target else target) is not None
