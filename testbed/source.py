"""Choose where a real Elasticsearch comes from: the first of several places that has one."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testbed import docker, download, maven
from testbed.accounts import unprivileged_account
from testbed.cache import cache_directory
from testbed.distribution import Distribution
from testbed.errors import TestbedError
from testbed.http import Server
from testbed.jdks import Jdk, best_jdk, find_jdks
from testbed.node import Node
from testbed.progress import Reporter
from testbed.releases import RELEASES, Release
from testbed.running import RunningElasticsearch, read_version


class Source(Protocol):
    """A version of Elasticsearch from some place."""

    @property
    def version(self) -> str: ...

    def prepare(self, reporter: Reporter) -> None:
        """Do everything that needs a network, unless it has been done before.

        Raises:
            TestbedError: Something is missing; the message names the remedy.
        """

    def start(self, reporter: Reporter) -> AbstractContextManager[RunningElasticsearch]:
        """Run it for the duration of a `with` block, prepared or not.

        Raises:
            TestbedError: It cannot be obtained or started.
        """


@dataclass(frozen=True, slots=True)
class Given:
    """An Elasticsearch that is already running: `ES_URL`. It is neither started nor stopped here."""

    server: Server
    version: str

    def prepare(self, reporter: Reporter) -> None:
        pass

    @contextmanager
    def start(self, reporter: Reporter) -> Iterator[RunningElasticsearch]:
        yield RunningElasticsearch(self.server, self.version, "ES_URL")


@dataclass(frozen=True, slots=True)
class Container:
    """The official image."""

    release: Release

    @property
    def version(self) -> str:
        return self.release.version

    def prepare(self, reporter: Reporter) -> None:
        docker.pull(self.release, reporter)

    def start(self, reporter: Reporter) -> AbstractContextManager[RunningElasticsearch]:
        return docker.container(self.release, reporter)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A distribution that `obtain` fetches, which uses this machine's or its bundled Java."""

    release: Release
    obtain: Callable[[Reporter], Distribution]

    @property
    def version(self) -> str:
        return self.release.version

    def prepare(self, reporter: Reporter) -> None:
        self.obtain(reporter)

    def start(self, reporter: Reporter) -> AbstractContextManager[RunningElasticsearch]:
        return Node(self.obtain(reporter), reporter=reporter)


def sources(environ: Mapping[str, str] = os.environ) -> list[Source]:
    """Return the sources of the first place that has any, best version first; never an empty list.

    The places in order: `ES_URL`; a Docker engine; Maven with a JDK; Elastic's download. `ES_SOURCE` selects
        one
    of `docker`, `maven`, `download`.

    Raises:
        TestbedError: The place that the environment selects is not available.
    """
    for offers in _places(environ):
        if offers:
            return offers
    raise TestbedError(f"ES_SOURCE={environ.get('ES_SOURCE')} is not available here: {_REMEDY}")


def choose(version: str | None = None, environ: Mapping[str, str] = os.environ) -> Source:
    """Return the first source of a version, by default of the best one.

    Raises:
        TestbedError: No place has it.
    """
    if version is None:
        return sources(environ)[0]
    offered = [offer for offers in _places(environ) for offer in offers]
    for offer in offered:
        if offer.version == version:
            return offer
    known = ", ".join(dict.fromkeys(offer.version for offer in offered)) or "none"
    raise TestbedError(f"Elasticsearch {version} is not available here (available: {known}): {_REMEDY}")


_REMEDY = "start a Docker engine, or install Maven and a JDK (21 or newer), or set ES_URL"


def _places(environ: Mapping[str, str]) -> Iterator[list[Source]]:
    if url := environ.get("ES_URL"):
        server = Server.parse(url)
        yield [Given(server, read_version(server))]
        return
    wanted = environ.get("ES_SOURCE")
    if wanted and wanted not in _PLACES:
        raise TestbedError(f"ES_SOURCE={wanted} is unknown: choose {', '.join(_PLACES)}")
    for name, sources_of in _PLACES.items():
        if wanted in (None, "", name):
            yield sources_of(environ)


def _by_docker(environ: Mapping[str, str]) -> list[Source]:
    return [Container(release) for release in RELEASES] if docker.engine_answers() else []


def _by_maven(environ: Mapping[str, str]) -> list[Source]:
    mvn = shutil.which("mvn", path=environ.get("PATH", os.defpath))
    if mvn is None:
        return []
    jdks, account = find_jdks(environ), unprivileged_account()
    fitting = [(release, best_jdk(jdks, release, account)) for release in RELEASES]
    return [_minimal(release, jdk, mvn, environ) for release, jdk in fitting if jdk is not None]


def rest_api_spec(reporter: Reporter, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the archive that describes every API of Elasticsearch, fetched with Maven unless it is here.

    Raises:
        TestbedError: There is neither it nor a Maven with a JDK, or it cannot be fetched.
    """
    mvn = shutil.which("mvn", path=environ.get("PATH", os.defpath))
    jdk = best_jdk(find_jdks(environ), RELEASES[0], unprivileged_account())
    if mvn is None or jdk is None:
        raise TestbedError("the descriptions of Elasticsearch's APIs need Maven and a JDK (21 or newer)")
    return maven.obtain_rest_api_spec(jdk, mvn, cache_directory(environ), reporter)


def _minimal(release: Release, jdk: Jdk, mvn: str, environ: Mapping[str, str]) -> Source:
    cache = cache_directory(environ)
    return Unpacked(release, lambda reporter: maven.obtain(release, jdk, mvn, cache, reporter))


def _by_download(environ: Mapping[str, str]) -> list[Source]:
    """Return only the best version, since each is more than half a gigabyte."""
    release, cache = RELEASES[0], cache_directory(environ)
    return [Unpacked(release, lambda reporter: download.obtain(release, cache, reporter))]


_PLACES: dict[str, Callable[[Mapping[str, str]], list[Source]]] = {
    "docker": _by_docker,
    "maven": _by_maven,
    "download": _by_download,
}
