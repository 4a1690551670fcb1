"""What a process tells of itself."""

from itertools import count

from rerank_proxy.observe.own_process import OwnProcess
from tests.support.waiting import until_true


def lag(own: OwnProcess) -> dict[str, float]:
    """Return the number of measurements by the bucket that they are in."""
    (family,) = (each for each in own.collect() if each.name == "rerank_proxy_event_loop_lag_seconds")
    assert all(sample.labels["process"] == "app" for sample in family.samples)
    return {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}


async def test_an_event_loop_that_stands_still_is_seen() -> None:
    times = count(0.0, 0.75)  # planned at 0 for a quarter of a second later, it comes at three
    own = OwnProcess("app", clock=lambda: next(times))
    own.watch_loop()
    await until_true(lambda: lag(own)["+Inf"] >= 1)
    own.close()
    measured = lag(own)
    assert (measured["0.25"], measured["0.5"]) == (0, measured["+Inf"])


async def test_what_is_closed_measures_no_more() -> None:
    own = OwnProcess("app")
    own.watch_loop()
    await until_true(lambda: lag(own)["+Inf"] >= 1)
    own.close()
    assert own._timer is not None
    assert own._timer.cancelled()
