"""Where a real Elasticsearch comes from: the first of several places that has one."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
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
    """One version of Elasticsearch at one place."""

    @property
    def version(self) -> str: ...

    def prepare(self, reporter: Reporter) -> None:
        """Everything that takes a network; what has been done once costs nothing.

        Raises: TestbedError: what is missing, and the remedy.
        """

    def start(self, reporter: Reporter) -> AbstractContextManager[RunningElasticsearch]:
        """Run it for the length of a `with` block, prepared or not. Raises: TestbedError."""


@dataclass(frozen=True, slots=True)
class Given:
    """One that runs already: `ES_URL`. Nothing is started, nothing is stopped."""

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
    """A distribution that `obtain` fetches, on this machine's or its own Java."""

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
    """What the first place offers that has anything, best version first; never empty.

    The places in order: `ES_URL`; a Docker engine; Maven with a JDK; Elastic's download. `ES_SOURCE` picks
    one of `docker`, `maven`, `download`.

    Raises: TestbedError: the environment asks for what is not there.
    """
    for offers in _places(environ):
        if offers:
            return offers
    raise TestbedError(f"ES_SOURCE={environ.get('ES_SOURCE')} is not to be had here: {_WHAT_IT_TAKES}")


def choose(version: str | None = None, environ: Mapping[str, str] = os.environ) -> Source:
    """The first source of that version, or of the best.

    Raises: TestbedError: no place has it.
    """
    if version is None:
        return sources(environ)[0]
    offered = [offer for offers in _places(environ) for offer in offers]
    for offer in offered:
        if offer.version == version:
            return offer
    known = ", ".join(dict.fromkeys(offer.version for offer in offered)) or "none"
    raise TestbedError(f"Elasticsearch {version} is not to be had here (there is: {known}): {_WHAT_IT_TAKES}")


_WHAT_IT_TAKES = "start a Docker engine, or install Maven and a JDK (21 or newer), or set ES_URL"


def _places(environ: Mapping[str, str]) -> Iterator[list[Source]]:
    if url := environ.get("ES_URL"):
        server = Server.parse(url)
        yield [Given(server, read_version(server))]
        return
    wanted = environ.get("ES_SOURCE")
    if wanted and wanted not in _PLACES:
        raise TestbedError(f"ES_SOURCE={wanted} is unknown: choose {', '.join(_PLACES)}")
    for name, look in _PLACES.items():
        if wanted in (None, "", name):
            yield look(environ)


def _by_docker(environ: Mapping[str, str]) -> list[Source]:
    return [Container(release) for release in RELEASES] if docker.engine_answers() else []


def _by_maven(environ: Mapping[str, str]) -> list[Source]:
    mvn = shutil.which("mvn", path=environ.get("PATH", os.defpath))
    if mvn is None:
        return []
    jdks, account = find_jdks(environ), unprivileged_account()
    fitting = [(release, best_jdk(jdks, release, account)) for release in RELEASES]
    return [_minimal(release, jdk, mvn, environ) for release, jdk in fitting if jdk is not None]


def _minimal(release: Release, jdk: Jdk, mvn: str, environ: Mapping[str, str]) -> Source:
    cache = cache_directory(environ)
    return Unpacked(release, lambda reporter: maven.obtain(release, jdk, mvn, cache, reporter))


def _by_download(environ: Mapping[str, str]) -> list[Source]:
    """Only the best version: each is more than half a gigabyte."""
    release, cache = RELEASES[0], cache_directory(environ)
    return [Unpacked(release, lambda reporter: download.obtain(release, cache, reporter))]


_PLACES: dict[str, Callable[[Mapping[str, str]], list[Source]]] = {
    "docker": _by_docker,
    "maven": _by_maven,
    "download": _by_download,
}
