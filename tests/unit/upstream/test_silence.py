"""When a node that has not answered for a while is asked whether it hangs."""

from pathlib import Path

import pytest

from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.node import Node
from rerank_proxy.upstream.silence import MOST_S, SILENT_S, Silence
from rerank_proxy.upstream.targets import UnixTarget


@pytest.fixture
async def node() -> Node:
    return Node(UnixTarget(Path("node")), connect_timeout_s=1, idle_timeout_s=1, max_idle=1)


def asked_at(silence: Silence, node: Node, times: range) -> list[int]:
    return [now for now in times if silence.to_ask((node,), now)]


async def test_questions_become_rare_while_it_works_on_the_same_requests(node: Node) -> None:
    node.opened(UpstreamConnection(node))
    times = asked_at(Silence(), node, range(600))
    gaps = [after - before for before, after in zip([0, *times], times, strict=False)]
    assert gaps[:3] == [SILENT_S, 2 * SILENT_S, 4 * SILENT_S]
    assert set(gaps[3:]) == {MOST_S}


async def test_one_that_answers_is_not_asked(node: Node) -> None:
    silence = Silence()
    node.opened(UpstreamConnection(node))
    for now in range(100):
        node.answers += now % 5 == 0
        assert not silence.to_ask((node,), now)
    assert asked_at(silence, node, range(100, 120)) == [95 + SILENT_S]


async def test_one_without_requests_is_not_asked(node: Node) -> None:
    """But clients that give up early do not make it one that answers."""
    silence = Silence()
    connection = UpstreamConnection(node)
    assert not asked_at(silence, node, range(100))
    node.opened(connection)
    assert not asked_at(silence, node, range(100, 105))
    node.forget(connection)
    assert not asked_at(silence, node, range(105, 200))
    node.opened(connection)
    assert asked_at(silence, node, range(200, 215)) == [204]


async def test_one_that_is_left_out_is_tried_otherwise(node: Node) -> None:
    node.opened(UpstreamConnection(node))
    node.health.failed("it hangs", 0, 1, 0)
    assert not asked_at(Silence(), node, range(100))
