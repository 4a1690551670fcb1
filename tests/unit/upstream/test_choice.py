"""Which node a request goes to, and in which order nodes are tried."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.upstream.choice import in_order, least_busy
from rerank_proxy.upstream.health import Health


@dataclass(eq=False)
class Fake:
    """A node with so many requests under way."""

    load: int = 0
    health: Health = field(default_factory=Health)


def out(due_at: float) -> Fake:
    node = Fake()
    node.health.due_at = due_at
    return node


LIVE = st.builds(Fake, st.integers(0, 5))
OUT = st.builds(out, st.floats(0, 100))
TURN = st.integers(0, 1000)


@given(st.lists(LIVE, min_size=1, max_size=8), TURN)
def test_the_least_busy(nodes: list[Fake], turn: int) -> None:
    assert least_busy(nodes, turn).load == min(node.load for node in nodes)


@given(st.integers(1, 8), st.integers(0, 1000), st.integers(1, 5))
def test_equals_take_turns(count: int, turn: int, rounds: int) -> None:
    nodes = [Fake() for _ in range(count)]
    chosen = Counter(id(least_busy(nodes, turn + n)) for n in range(count * rounds))
    assert set(chosen.values()) == {rounds}
    assert len(chosen) == count


@given(st.integers(2, 6), st.lists(st.booleans(), min_size=20, max_size=200), TURN)
def test_no_node_starves_and_none_is_drowned(count: int, finishes: list[bool], turn: int) -> None:
    """Requests begin, and some end: those of the node that has the most. Loads never differ by more than one
    request more than the ends make them.
    """
    nodes = [Fake() for _ in range(count)]
    for step, finished in enumerate(finishes):
        least_busy(nodes, turn + step).load += 1
        if finished:
            max(nodes, key=lambda node: node.load).load -= 1
        loads = [node.load for node in nodes]
        assert max(loads) - min(loads) <= 1


@given(st.lists(LIVE | OUT, min_size=1, max_size=8), TURN, st.data())
def test_every_node_is_tried_once_the_living_first(nodes: list[Fake], turn: int, data: st.DataObject) -> None:
    first, last = (data.draw(st.none() | st.sampled_from(nodes)) for _ in range(2))
    order = in_order(nodes, turn, first, last)
    assert sorted(map(id, order)) == sorted(map(id, nodes))
    if last is not None:
        assert order[-1] is last
        order.pop()
    out_since = [node.health.is_out for node in order]
    assert out_since == sorted(out_since)
    if first is not None and first is not last and not first.health.is_out:
        assert order[0] is first
        order.pop(0)
    loads = [node.load for node in order if not node.health.is_out]
    assert loads == sorted(loads)
    dues = [node.health.due_at for node in order if node.health.due_at is not None]
    assert dues == sorted(dues)


@given(st.lists(LIVE, min_size=1, max_size=8), TURN)
def test_what_is_chosen_is_tried_first(nodes: list[Fake], turn: int) -> None:
    assert in_order(nodes, turn)[0] is least_busy(nodes, turn)
