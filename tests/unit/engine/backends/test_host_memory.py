"""Memory that was freed, and is given back to the system."""

import os
import platform

import pytest

from benchmarks.memory import rss_mib
from rerank_proxy.engine.backends.host_memory import give_back_to_system

_BLOCK = 100_000
"""Bytes: too few for memory that the system gives for one block alone."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_what_was_freed_is_no_longer_resident() -> None:
    blocks = [os.urandom(_BLOCK) for _ in range(1000)]
    last = blocks.pop()  # keeps what lies below it from being given back by itself
    blocks.clear()
    kept = rss_mib()
    give_back_to_system()
    given_back = rss_mib()
    assert kept is not None
    assert given_back is not None
    assert kept - given_back > 50
    assert len(last) == _BLOCK
