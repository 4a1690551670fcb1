import gc

import pytest

from rerank_proxy.concurrency.collection import no_collection


def _fail() -> None:
    with no_collection():
        assert not gc.isenabled()
        with no_collection():
            pass
        assert not gc.isenabled()
        raise ImportError


def test_it_is_as_before_at_the_end() -> None:
    assert gc.isenabled()
    with pytest.raises(ImportError):
        _fail()
    assert gc.isenabled()
