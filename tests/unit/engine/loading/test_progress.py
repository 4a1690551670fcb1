"""How far a download is, where the log tells it."""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rerank_proxy.engine.loading.sources.progress import hub_progress


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Have threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("many_switches")
def test_files_that_come_side_by_side_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bars = hub_progress("someone/reranker")
    assert bars is not None
    for _ in range(50):
        caplog.clear()
        bar = bars(name="huggingface_hub.snapshot_download", total=8000, unit="B")
        with ThreadPoolExecutor(8) as files:
            list(files.map(bar.update, [1000] * 8))
        assert [each.getMessage() for each in caplog.records if "MB" in each.getMessage()] == [
            "fetching [someone/reranker], 0 MB"
        ]
        assert caplog.messages[-1] == "fetching [someone/reranker]: 100 %"
