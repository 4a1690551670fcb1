"""Elastic's download: the complete Elasticsearch with a bundled Java."""

import platform
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from testbed.cache import cached_directory
from testbed.distribution import Distribution, check_digest, unpack_tar
from testbed.errors import TestbedError
from testbed.progress import Reporter, Step
from testbed.releases import Release

BASE_URL = "https://artifacts.elastic.co/downloads/elasticsearch"
_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 18

_SETTINGS = {"xpack.ml.enabled": "false", "ingest.geoip.downloader.enabled": "false"}
"""Switches off what the complete build starts by itself: native processes and downloads."""


def obtain(release: Release, cache: Path, reporter: Reporter, base_url: str = BASE_URL) -> Distribution:
    """Download, check and unpack the complete distribution, unless the cache has it.

    The checksum is the one that Elastic publishes beside the archive. Unlike that of the minimal distribution
    it is not pinned here, because there is one for each platform. So it detects a damaged download; the
    identity of the server is left to TLS.

    Raises:
        TestbedError: There is no network, no build for this platform, or the file is damaged.
    """
    name = f"elasticsearch-{release.version}-{platform_name()}.tar.gz"

    def fill(directory: Path) -> None:
        archive = directory / name
        with reporter.step(f"Downloading {name} from {base_url.split('/')[2]}") as step:
            expected = _published_digest(f"{base_url}/{name}.sha512", directory / f"{name}.sha512", step)
            _fetch(f"{base_url}/{name}", archive, step)
        check_digest(archive, "sha512", expected)
        with reporter.step(f"Unpacking {name}"):
            unpack_tar(archive, directory)
        archive.unlink()

    home = cached_directory(cache / "elasticsearch" / f"{release.version}-{platform_name()}", fill, reporter)
    return Distribution(release.version, home, None, "Elastic's download, with its bundled Java", _SETTINGS)


def platform_name(system: str = sys.platform, machine: str | None = None) -> str:
    """Return the platform as the names of the archives have it.

    Raises:
        TestbedError: There is no archive for this platform.
    """
    machine = (machine or platform.machine()).lower()
    systems = {"linux": "linux", "darwin": "darwin"}
    machines = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    if system not in systems or machine not in machines:
        raise TestbedError(
            f"Elastic has no download that runs here ({system}, {machine}): "
            "set ES_URL to a running Elasticsearch, or start a Docker engine"
        )
    return f"{systems[system]}-{machines[machine]}"


def _published_digest(url: str, path: Path, step: Step) -> str:
    """Return the first word of the `.sha512` file, which has the format of `sha512sum`."""
    _fetch(url, path, step)
    words = path.read_text(encoding="ascii", errors="replace").split()
    path.unlink()
    if not words or len(words[0]) != 128:
        raise TestbedError(f"{url} holds no SHA-512: try again, or set ES_URL to a running Elasticsearch")
    return words[0]


def _fetch(url: str, path: Path, step: Step) -> None:
    """Download `url` to `path`. A stalled connection ends when a read times out."""
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response, path.open("wb") as sink:
            total = int(response.headers.get("Content-Length") or 0) or None
            done = 0
            while chunk := response.read(_CHUNK_BYTES):
                sink.write(chunk)
                done += len(chunk)
                step.update(done, total)
    except HTTPError as error:
        raise TestbedError(
            f"{url}: {error.code} {error.reason}: set ES_URL to a running Elasticsearch"
        ) from error
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise TestbedError(
            f"{url} cannot be reached ({reason}): check the network, install Maven and a JDK, start a Docker "
            "engine, or set ES_URL to a running Elasticsearch"
        ) from error
    if total is not None and done != total:
        raise TestbedError(f"{url} ended after {done} of {total} bytes: try again")
