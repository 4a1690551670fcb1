"""What fails is left out, for longer each time."""

from rerank_proxy.engine.shared_cache.breaker import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_left_out_for_longer_each_time_up_to_a_limit() -> None:
    clock = Clock()
    breaker = Breaker(clock, 1.0, 5.0)
    waits = []
    for _ in range(5):
        breaker.fail()
        waits.append(breaker.wait_s)
        assert not breaker.may_try
        clock.now += breaker.wait_s
        assert breaker.may_try
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_each_change_is_told_once() -> None:
    breaker = Breaker(Clock(), 1.0, 5.0, used=True)
    assert [breaker.fail(), breaker.fail()] == [True, False]
    assert [breaker.succeed(), breaker.succeed()] == [True, False]
    assert breaker.used
    assert breaker.wait_s == 0


def test_what_fails_again_soon_is_left_out_for_longer_still() -> None:
    clock = Clock()
    breaker = Breaker(clock, 1.0, 60.0, used=True)
    breaker.fail()
    breaker.succeed()
    clock.now = 0.5
    breaker.fail()
    assert breaker.wait_s == 2.0


def test_what_has_worked_for_long_is_left_out_briefly() -> None:
    clock = Clock()
    breaker = Breaker(clock, 1.0, 60.0, used=True)
    for _ in range(4):
        breaker.fail()
    breaker.succeed()
    clock.now = 8.0
    breaker.fail()
    assert breaker.wait_s == 1.0
