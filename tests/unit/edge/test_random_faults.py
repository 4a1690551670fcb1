"""One fault at any byte of any exchange, without a network: an answer, a visible cut, or one error."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Pool
from tests.support.examples import examples
from tests.support.memory_transport import MemoryTransport
from tests.unit.edge.test_exchange import FAULT, FUSED, PASS, RERANKED, ManualPool, ManualRelay
from tests.unit.edge.test_relay import BODY, GET, OK, STATUS, chunked, cut, sized

FEW_CUTS = st.lists(st.integers(0, 5000), max_size=2)
EARLY_STEPS = (0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7)
"""Most exchanges have few: half a request, an answer's head, the rest of both."""
GARBAGE = b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n"
REQUESTS = st.one_of(
    st.just(RERANKED),
    st.just(FUSED),
    st.sampled_from([GET, b"DELETE /i HTTP/1.1\r\n\r\n"]),
    st.builds(sized, BODY, st.sampled_from([b"POST /_bulk HTTP/1.1", b"POST /i/_search HTTP/1.1"])),
    st.builds(chunked, st.lists(BODY, max_size=3), st.just(b"POST /_bulk HTTP/1.1")),
)
ANSWERS = st.one_of(
    st.just(OK),
    st.builds(sized, BODY, STATUS),
    st.builds(chunked, st.lists(BODY, max_size=3), STATUS),
)


@dataclass
class Target:
    """A connection to upstream or the application, and what it will still answer on it."""

    connection: UpstreamConnection
    transport: MemoryTransport
    to_come: list[bytes]
    sent: bytes = b""
    lost: bool = False

    def answer(self, data: bytes) -> None:
        self.sent += data
        self.connection.data_received(data)

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.transport.abort()
            self.connection.connection_lost(error)


class World(ManualRelay):
    """An edge with all that it is connected to; `turn` does what an event loop would do next by itself."""

    def __init__(self, answers: dict[str, list[bytes]], kept: bool) -> None:
        super().__init__()
        self._answers = answers
        self.client_left = False
        self.targets = {
            "upstream": [Target(self.upstream, self.at_upstream, [*answers["upstream"]])],
            "application": [Target(self.app, self.at_app, [*answers["application"]])],
        }
        if not kept:
            for (target,) in self.targets.values():
                target.lose(None)

    @property
    def all(self) -> list[Target]:
        return [target for targets in self.targets.values() for target in targets]

    @property
    def busy(self) -> Target | None:
        """The target that has a request, or a part of it."""
        return next((each for each in self.all if each.connection.receiver and not each.lost), None)

    def awaited(self) -> tuple[str, ManualPool] | None:
        """Return the pool that is to make a connection, and its name."""
        pools: dict[str, Pool] = {"upstream": self.shared.upstream, "application": self.shared.app}
        for name, pool in pools.items():
            assert isinstance(pool, ManualPool)
            if pool.waiter is not None:
                return name, pool
        return None

    def connect(self) -> None:
        awaited = self.awaited()
        assert awaited is not None
        name, pool = awaited
        waiter, pool.waiter = pool.waiter, None
        connection, transport = UpstreamConnection(pool.nodes[0]), MemoryTransport()
        connection.connection_made(transport)
        self.targets[name].append(Target(connection, transport, [*self._answers[name]]))
        assert waiter is not None
        waiter.connected(connection)

    def refuse(self) -> None:
        awaited = self.awaited()
        if awaited is not None:
            waiter, awaited[1].waiter = awaited[1].waiter, None
            assert waiter is not None
            waiter.connect_failed(FAULT)

    def leave(self) -> None:
        if not self.client_left:
            self.client_left = True
            self.at_client.abort()
            self.client.connection_lost(None)

    def turn(self) -> None:
        for target in self.all:
            if target.transport.is_closing():
                target.lose(None)
        if self.at_client.is_closing():
            self.leave()


def lose(error: Exception | None) -> Callable[[World], None]:
    def fault(world: World) -> None:
        if world.busy is not None:
            world.busy.lose(error)

    return fault


def send_garbage(world: World) -> None:
    target = world.busy
    if target is not None:
        target.answer(GARBAGE)
        target.lose(None)


def end_sending(world: World) -> None:
    if not world.client_left and not world.client.eof_received():
        world.leave()


FOREIGN = "the target sends something else"
FAULTS: dict[str, Callable[[World], None]] = {
    "the target ends": lose(None),
    "the target resets": lose(ConnectionResetError()),
    FOREIGN: send_garbage,
    "the target refuses": World.refuse,
    "the client leaves": World.leave,
    "the client ends": end_sending,
}


@examples(40)
@given(
    request=REQUESTS,
    answer=ANSWERS,
    declined=st.booleans(),
    cuts=st.tuples(FEW_CUTS, FEW_CUTS),
    kept=st.booleans(),
    fault=st.sampled_from(sorted(FAULTS)),
    when=st.sampled_from(EARLY_STEPS),
    data=st.data(),
)
async def test_any_fault(
    request: bytes,
    answer: bytes,
    declined: bool,
    cuts: tuple[list[int], list[int]],
    kept: bool,
    fault: str,
    when: int,
    data: st.DataObject,
) -> None:
    answers = cut(answer, cuts[1])
    world = World({"upstream": answers, "application": [PASS] if declined else answers}, kept)
    run(world, cut(request, cuts[0]), when, FAULTS[fault], lambda: data.draw(st.booleans()))
    check_what_the_client_got(world, answer, fault)
    check_that_nothing_came_twice(world, request)
    if not world.client_left and not world.at_client.ended:
        check_that_the_connection_still_serves(world)
    world.leave()
    world.turn()
    assert world.shared.buffered == 0
    assert not world.shared.clients
    assert world.awaited() is None
    assert world.shared.upstream.busy == world.shared.app.busy == 0


def run(
    world: World,
    pieces: list[bytes],
    when: int,
    fault: Callable[[World], None],
    client_first: Callable[[], bool],
) -> None:
    """Let all happen that can, in any order, and the fault at step `when` or in the end."""
    step, over = 0, False
    while not over:
        world.turn()
        target = world.busy
        answers = target is not None and target.to_come and target.transport.written
        if step == when:
            fault(world)
        elif pieces and not world.client_left and (client_first() or not (answers or world.awaited())):
            world.client.data_received(pieces.pop(0))
        elif world.awaited():
            world.connect()
        elif answers:
            assert target is not None
            target.answer(target.to_come.pop(0))
        elif step < when:
            step = when - 1
        else:
            over = True
        step += 1


def check_what_the_client_got(world: World, answer: bytes, fault: str) -> None:
    got = bytes(world.at_client.written)
    if got == answer or is_error(got):
        return
    if fault == FOREIGN:  # what it sends may pass for a part of its answer
        assert any(target.sent.startswith(got) for target in world.all)
        return
    assert world.client_left, "it waits for ever"
    assert answer.startswith(got)


def is_error(got: bytes) -> bool:
    head, _, body = got.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 503 ")):
        return False
    assert b"content-length: %d" % len(body) in head
    return bool(json.loads(body)["error"]["reason"])


def check_that_nothing_came_twice(world: World, request: bytes) -> None:
    sent = [len([each for each in targets if each.transport.written]) for targets in world.targets.values()]
    reads = request.startswith(b"GET") or b"_search" in request
    assert sent[0] <= (2 if reads else 1)
    assert sent[1] <= 1


def check_that_the_connection_still_serves(world: World) -> None:
    before = len(world.at_client.written)
    world.client.data_received(GET)
    if world.awaited():
        world.connect()
    target = world.busy
    assert target is not None
    assert target.transport.written.endswith(GET)
    target.answer(OK)
    assert world.at_client.written[before:] == OK
