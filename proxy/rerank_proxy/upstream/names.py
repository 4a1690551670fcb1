"""The addresses behind the host names of nodes, where a name has several.

A headless Service of Kubernetes, for example, has one name and an address for each pod. Of a name with
addresses of both families those of one count, which is the system's choice (RFC 6724): the others lead to the
same nodes. A name that has only one address of a family stays a name, which each new connection resolves.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from itertools import islice

from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.settings.values import MAX_NODES
from rerank_proxy.upstream.targets import TcpTarget


async def resolved(
    targets: Iterable[TcpTarget], known: dict[TcpTarget, Sequence[TcpTarget]]
) -> list[TcpTarget]:
    """Return the nodes behind targets, at most `MAX_NODES`.

    Args:
        known: The nodes that were found behind each target; updated. They count where a name cannot be
            resolved now.
    """
    named = [target for target in targets if target.may_have_several_addresses]
    answers = await side_by_side(_addresses(target) for target in named)
    for target, found in zip(named, answers, strict=True):
        if found:
            known[target] = [target] if len(found) == 1 else _in_order(target, found, known.get(target, ()))
    nodes = {node.address: node for target in targets for node in known.get(target, [target])}
    return list(islice(nodes.values(), MAX_NODES))


def _in_order(target: TcpTarget, found: Iterable[str], earlier: Iterable[TcpTarget]) -> list[TcpTarget]:
    """Return the nodes at addresses, first those that were there before: name servers change the order, and
    of more than `MAX_NODES` others would be used each time.
    """
    nodes = dict.fromkeys(target.at(address) for address in found)
    return list(dict.fromkeys([*(node for node in earlier if node in nodes), *nodes]))


async def _addresses(target: TcpTarget) -> list[str]:
    """Return the addresses of a name; none if it cannot be resolved."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError):
        return []
    return of_one_family([(family, str(address[0])) for family, *_, address in found])


def of_one_family(found: Sequence[tuple[int, str]]) -> list[str]:
    """Return the addresses of the first family, each once, in their order.

    Args:
        found: Families and addresses, as the system orders them.
    """
    return list(dict.fromkeys(address for family, address in found if family == found[0][0]))
