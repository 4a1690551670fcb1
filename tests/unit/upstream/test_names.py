"""The addresses behind names of nodes."""

import socket
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.settings.values import MAX_NODES
from rerank_proxy.upstream import names
from rerank_proxy.upstream.names import of_one_family, resolved
from rerank_proxy.upstream.targets import TcpTarget, node_targets

V4, V6 = socket.AF_INET, socket.AF_INET6


def targets(*urls: str) -> tuple[TcpTarget, ...]:
    return node_targets(UpstreamSettings.model_validate({"urls": urls}))


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ([], []),
        ([(V4, "10.0.0.1")], ["10.0.0.1"]),
        ([(V6, "::1"), (V4, "127.0.0.1")], ["::1"]),
        ([(V4, "a"), (V6, "c"), (V4, "b"), (V4, "a"), (V6, "d")], ["a", "b"]),
    ],
)
def test_those_of_one_family_count(found: list[tuple[int, str]], kept: list[str]) -> None:
    assert of_one_family(found) == kept


async def test_this_machine_is_one_node() -> None:
    """Though its name often has an address of each family."""
    local = targets("http://localhost:9200")
    assert tuple(await resolved(local, {})) == local


async def test_a_name_without_addresses_stays_a_node() -> None:
    absent = targets("http://absent.invalid:9200", "http://10.0.0.1:9200")
    assert tuple(await resolved(absent, {})) == absent


async def test_two_names_of_one_machine_are_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    async def same(target: TcpTarget) -> list[str]:
        return ["10.0.0.1", "10.0.0.2"]

    monkeypatch.setattr(names, "_addresses", same)
    nodes = await resolved(targets("http://a:9200", "http://b:9200"), {})
    assert [node.address for node in nodes] == ["10.0.0.1:9200", "10.0.0.2:9200"]


@given(st.integers(2, 3 * MAX_NODES))
async def test_no_more_than_can_be_shown(count: int) -> None:
    async def many(target: TcpTarget) -> list[str]:
        return [f"10.0.{number // 256}.{number % 256}" for number in range(count)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_addresses", many)
        nodes = await resolved(targets("http://es:9200"), {})
    assert len(nodes) == min(count, MAX_NODES)
    assert nodes[1].name == "http://es:9200 (10.0.0.1)"
    assert (nodes[1].address, nodes[1].server_name) == ("10.0.0.1:9200", "es")


@given(st.randoms(), st.integers(2, 2 * MAX_NODES), st.integers(0, 3))
async def test_the_order_of_an_answer_changes_nothing(random: Random, count: int, gone: int) -> None:
    """Those that are used stay while they are there, though there are more than can be used."""
    addresses = [f"10.0.0.{number}" for number in range(count)]

    async def shuffled(target: TcpTarget) -> list[str]:
        random.shuffle(addresses)
        return addresses.copy()

    known: dict[TcpTarget, Sequence[TcpTarget]] = {}
    asked = targets("http://es:9200")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_addresses", shuffled)
        first = await resolved(asked, known)
        assert await resolved(asked, known) == first
        del addresses[: min(gone, count - 2)]
        left = [node for node in first if node.host in addresses]
        assert (await resolved(asked, known))[: len(left)] == left
