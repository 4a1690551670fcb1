"""Calls of endpoints that keep failing fail without being sent."""

import asyncio

import pytest

from rerank_proxy.errors import Cause
from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.inference.remote.breaker import CircuitBreaker
from rerank_proxy.inference.remote.failures import RemoteFailedError
from tests.support.remote import SkippingClock


class Watched:
    """A circuit breaker, and how many circuits are open."""

    def __init__(self) -> None:
        self.clock = SkippingClock()
        self.open = 0
        self.breaker = CircuitBreaker(self.clock, 2, 10, self._changed)

    def _changed(self, by: int) -> None:
        self.open += by

    def call(self, failure: BaseException | None = None) -> None:
        with self.breaker.call("mine"):
            if failure is not None:
                raise failure

    def fail(self, failure: BaseException) -> None:
        with pytest.raises(type(failure)):
            self.call(failure)

    def refusal(self) -> str:
        with pytest.raises(RemoteFailedError) as raised:
            self.call()
        assert raised.value.status == 400
        return str(raised.value)


def down() -> RemoteFailedError:
    return RemoteFailedError(400, Cause("status_exception", "down"), outage=True)


def refused() -> RemoteFailedError:
    return RemoteFailedError(401, Cause("status_exception", "who?"))


async def test_failures_in_a_row_open_it() -> None:
    watched = Watched()
    watched.fail(down())
    watched.call()
    watched.fail(down())
    watched.fail(refused())  # the service is there
    watched.fail(down())
    assert watched.open == 0
    watched.fail(down())
    assert watched.open == 1
    assert watched.refusal().startswith(
        "Inference endpoint [mine] is not called at present: its last [2] calls failed. It will be tried "
    )


async def test_one_call_is_let_through_to_try() -> None:
    watched = Watched()
    watched.fail(down())
    watched.fail(down())
    await watched.clock.sleep(11)
    with watched.breaker.call("mine"):
        assert "when the call that tries it has ended" in watched.refusal()
    assert watched.open == 0
    watched.call()


async def test_it_stays_open_when_that_call_fails() -> None:
    watched = Watched()
    watched.fail(down())
    watched.fail(down())
    await watched.clock.sleep(11)
    watched.fail(down())
    assert watched.open == 1
    assert "in [10.0s]" in watched.refusal()


@pytest.mark.parametrize("failure", [asyncio.CancelledError(), status_error(429, "too many")])
async def test_a_call_that_never_went_says_nothing(failure: BaseException) -> None:
    watched = Watched()
    watched.fail(down())
    watched.fail(failure)
    watched.fail(down())
    assert watched.open == 1
    await watched.clock.sleep(11)
    watched.fail(failure)
    watched.call()
    assert watched.open == 0


async def test_an_endpoint_that_is_gone_is_not_counted() -> None:
    watched = Watched()
    watched.fail(down())
    watched.fail(down())
    watched.breaker.close()
    assert watched.open == 0
    assert isinstance(down(), InferenceFailedError)
