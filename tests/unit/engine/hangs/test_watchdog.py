"""What counts as something that never returns, and what the next process learns of it."""

from pathlib import Path

import pytest

from rerank_proxy.engine.hangs.journal import Journal, LoadBlock, Running
from rerank_proxy.engine.hangs.watchdog import Hang, Watchdog
from rerank_proxy.settings import EngineSettings

SETTINGS = EngineSettings(max_batch_s=10.0, max_load_s=100.0)


class Clock:
    """A clock that tests move."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A watchdog that looks as often as it wants to, over a journal."""

    def __init__(self, path: Path | None = None) -> None:
        self.clock = Clock()
        self.journal = Journal(path, self.clock)
        self.watchdog = Watchdog(SETTINGS, self.journal, self.clock)

    def passes(self, seconds: float) -> Hang | None:
        """Time in which the process runs."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + self.watchdog.every_s)
            if (hang := self.watchdog.check()) is not None:
                return hang
        return None


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_batch_that_ends_in_time_is_none(bench: Bench) -> None:
    for _ in range(20):
        with bench.watchdog.batch("m", 100, 0.0):
            assert bench.passes(9) is None


def test_a_batch_beyond_the_bound(bench: Bench) -> None:
    with bench.watchdog.batch("m", 100, 0.0):
        hang = bench.passes(11)
    assert hang == Hang("m", "it was scoring one batch for more than 10 s ([engine.max_batch_s])")


def test_the_bound_of_a_load_is_another(bench: Bench) -> None:
    with bench.watchdog.load("m"):
        assert bench.passes(99) is None
        assert bench.passes(2) == Hang("m", "it was loading for more than 100 s ([engine.max_load_s])")


def test_tokenising_is_watched_as_well(bench: Bench) -> None:
    with bench.watchdog.tokenising("m"):
        hang = bench.passes(11)
    assert hang is not None
    assert "tokenising" in hang.reason


@pytest.mark.parametrize(("pace_s", "allowed_s"), [(0.001, 10), (0.02, 40), (7.0, 100)])
def test_a_slow_model_gets_more_time_but_never_more_than_a_load(
    bench: Bench, pace_s: float, allowed_s: float
) -> None:
    with bench.watchdog.batch("m", 100, pace_s):
        assert bench.passes(allowed_s - 1) is None
        assert bench.passes(2) is not None


def test_time_in_which_the_process_is_stopped_does_not_count(bench: Bench) -> None:
    with bench.watchdog.batch("m", 100, 0.0):
        assert bench.passes(4) is None
        bench.clock.now += 10_000
        assert bench.watchdog.check() is None
        assert bench.passes(0.5) is None


def test_an_event_loop_that_is_busy_for_a_while_hides_nothing(bench: Bench) -> None:
    with bench.watchdog.batch("m", 100, 0.0):
        for _ in range(5):
            bench.clock.now += 3
            hang = bench.watchdog.check()
    assert hang is not None


def test_each_of_several_is_watched_for_itself(bench: Bench) -> None:
    with bench.watchdog.load("slow"):
        assert bench.passes(95) is None
        with bench.watchdog.batch("quick", 10, 0.0):
            assert bench.passes(4) is None
        hang = bench.passes(2)
    assert hang is not None
    assert hang.model == "slow"


class TestJournal:
    def test_what_hung_is_told_to_the_next_process(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path / "journal")
        with bench.watchdog.load("m"):
            hang = bench.passes(101)
        assert hang is not None
        after = Journal(tmp_path / "journal", bench.clock)
        assert after.load_block("m", trusted=False) == LoadBlock(hang.reason, None)
        assert after.load_block("other", trusted=False) is None
        after.forgive("m")
        assert Journal(tmp_path / "journal", bench.clock).load_block("m", trusted=False) is None

    def test_what_a_process_died_of_is_told_to_the_next(self, tmp_path: Path) -> None:
        """The program may have ended the process, or have held the interpreter so that nothing noticed."""
        clock = Clock()
        before = Journal(tmp_path / "journal", clock)
        before.begin(Running("batch", "batch"))
        before.begin(Running("load", "load"))
        before.begin(Running("done", "load"))
        before.end(Running("done", "load"))
        after = Journal(tmp_path / "journal", clock)
        assert after.load_block("load", trusted=False) == LoadBlock(
            "the reranking process died while it was loading", None
        )
        assert after.load_block("done", trusted=False) is None
        assert after.load_block("batch", trusted=False) is None, "once may be chance"

    def test_an_end_in_good_order_blames_nothing(self, tmp_path: Path) -> None:
        before = Journal(tmp_path / "journal")
        before.begin(Running("m", "load"))
        before.close()
        assert Journal(tmp_path / "journal").load_block("m", trusted=False) is None

    def test_a_trusted_model_is_tried_again_later_each_time_and_not_for_ever(self, tmp_path: Path) -> None:
        clock = Clock()
        waits = []
        for _ in range(5):
            Journal(tmp_path / "journal", clock).begin(Running("m", "load"))
            block = Journal(tmp_path / "journal", clock).load_block("m", trusted=True)
            waits.append(0 if block is None else block.retry_in_s)
            clock.now += 100
        assert waits == [0, 60, 600, None, None]
        clock.now += 7200
        Journal(tmp_path / "journal", clock).begin(Running("m", "load"))
        assert Journal(tmp_path / "journal", clock).load_block("m", trusted=True) is None, "that was long ago"

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100, b'{"running":[{"model":1}]}'])
    def test_a_damaged_file_blames_nothing(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "journal"
        path.write_bytes(content)
        journal = Journal(path)
        journal.begin(Running("m", "load"))
        assert Journal(path).load_block("m", trusted=False) is not None

    def test_writing_leaves_nothing_of_what_was_longer(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "journal")
        long = Running("a long name" * 100, "batch")
        journal.begin(long)
        journal.end(long)
        journal.begin(Running("m", "load"))
        assert Journal(tmp_path / "journal").load_block("m", trusted=False) is not None
