"""What status clients get when a call fails."""

import pytest

from rerank_proxy.inference.remote.failures import refused


@pytest.mark.parametrize("status", range(300, 600))
def test_the_status_is_never_that_of_a_broken_proxy(status: int) -> None:
    failure = refused("mine", status, "http://x", None)
    assert 400 <= failure.status < 500
    assert f"status [{status}]" in str(failure)
    assert failure.transient == (status == 429 or status >= 500)
    assert failure.outage == (status >= 500)
