"""The programs of clients run against the servers of the live tests; `make clients` runs them."""

import pytest

from tests.live.conftest import (
    elasticsearch,
    make_index,
    proxy,
    pytest_collection_finish,
    pytest_configure,
    pytest_generate_tests,
)

__all__ = [
    "elasticsearch",
    "make_index",
    "proxy",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_generate_tests",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would put a client before an Elasticsearch that it is not for."""
    apart = [item for item in items if not _fits(item)]
    if apart:
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in apart]


def _fits(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    client, version = params.get("tested"), params.get("elasticsearch")
    return client is None or version is None or int(version.partition(".")[0]) in client.servers
