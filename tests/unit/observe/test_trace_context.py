"""The trace of a request: what W3C Trace Context says, and nothing else."""

import pytest

from rerank_proxy.observe.trace_context import trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("value", [PARENT, f" {PARENT}\t", PARENT.replace("00-", "cc-") + "-later"])
def test_valid(value: str) -> None:
    assert trace_id([(b"Accept", b"*/*"), (b"TraceParent", value.encode())]) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ff" + PARENT[2:],
        PARENT.replace(TRACE, "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        PARENT.upper(),
        PARENT[:-1],
        f"{PARENT}-more",
        f"{PARENT}, {PARENT}",
    ],
)
def test_invalid(value: str) -> None:
    assert trace_id([(b"traceparent", value.encode())]) is None


def test_absent_or_repeated() -> None:
    assert trace_id([]) is None
    assert trace_id([(b"traceparent", PARENT.encode())] * 2) is None
