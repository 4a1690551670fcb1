"""Fetch the minimal distribution of Elasticsearch, which Elastic publishes for integration tests, with
Maven."""

import os
import re
import select
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from testbed import plugin
from testbed.cache import cached_directory
from testbed.distribution import Distribution, check_digest, unpack_zip
from testbed.errors import TestbedError
from testbed.jdks import Jdk
from testbed.progress import Reporter, Step
from testbed.releases import Release

_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
"""`dependency:copy`, in a pinned version so that every machine runs the same."""

_SPEC_VERSION = "9.3.0"
_SPEC_SHA256 = "db9bfe5cd6b281a93d8dd264fecaa4aea9e0fdc6d1804a2dee37752737ad9ac2"
_STALLED_S = 180.0
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def obtain(release: Release, jdk: Jdk, mvn: str, cache: Path, reporter: Reporter) -> Distribution:
    """Fetch, check, unpack and complete the minimal distribution, unless the cache has it.

    Raises:
        TestbedError: Maven cannot fetch it, or it is another file than expected.
    """

    def fill(directory: Path) -> None:
        archive = directory / f"elasticsearch-{release.version}.zip"
        with reporter.step(f"Getting Elasticsearch {release.version} with Maven") as step:
            name = f"Elasticsearch {release.version}"
            _copy(_artifact(release), name, jdk, mvn, directory, step)
        check_digest(archive, "sha256", release.zip_sha256)
        with reporter.step(f"Unpacking Elasticsearch {release.version}, compiling its test plugin"):
            unpack_zip(archive, directory)
            plugin.install(directory, release, jdk)
        archive.unlink()

    target = cache / "elasticsearch" / f"{release.version}-minimal-{plugin.fingerprint(release)}"
    home = cached_directory(target, fill, reporter)
    return Distribution(release.version, home, jdk.home, f"the minimal distribution from Maven, on {jdk}")


def obtain_rest_api_spec(jdk: Jdk, mvn: str, cache: Path, reporter: Reporter) -> Path:
    """Fetch and check the archive that describes every API of Elasticsearch, unless the cache has it.

    It is not published for every release. Other releases answer what they do not know by an error.

    Raises:
        TestbedError: Maven cannot fetch it, or it is another file than expected.
    """
    name = f"rest-api-spec-{_SPEC_VERSION}"

    def fill(directory: Path) -> None:
        with reporter.step(f"Getting {name} with Maven") as step:
            _copy(f"org.elasticsearch:rest-api-spec:{_SPEC_VERSION}:jar", name, jdk, mvn, directory, step)
        check_digest(directory / f"{name}.jar", "sha256", _SPEC_SHA256)

    return cached_directory(cache / "elasticsearch" / name, fill, reporter) / f"{name}.jar"


def _artifact(release: Release) -> str:
    return f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{release.version}:zip"


def copy_command(artifact: str, mvn: str, directory: Path) -> list[str]:
    # Without --batch-mode, which would switch off Maven's progress, which is read below.
    return [
        mvn,
        _GOAL,
        f"-Dartifact={artifact}",
        f"-DoutputDirectory={directory}",
        "-Dstyle.color=never",
    ]


def _copy(artifact: str, name: str, jdk: Jdk, mvn: str, directory: Path, step: Step) -> None:
    """Fetch an artifact, which messages call `name`."""
    said: deque[str] = deque(maxlen=30)
    maven = subprocess.Popen(
        copy_command(artifact, mvn, directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "JAVA_HOME": str(jdk.home)},
        cwd=directory,  # where there is no pom.xml that Maven would read
    )
    try:
        for line in _lines(maven):
            if progress := read_progress(line):
                step.update(*progress)
            elif line.strip():
                said.append(line)
        status = maven.wait(30)
    finally:
        maven.kill()
        maven.wait()
    if status != 0:
        errors = [line.removeprefix("[ERROR] ") for line in said if line.startswith("[ERROR] ")]
        reason = errors[0] if errors else f"exit status {status}"
        raise TestbedError(
            f"Maven cannot get {name}: check the network and Maven's own settings, "
            f"or set ES_URL to a running Elasticsearch ({reason[:300]})",
            "\n".join(errors[1:] or said),
        )


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    r"""Yield the output of a process, split at \n and at the \r that redraws a line of progress.

    Raises:
        TestbedError: There was no output for so long that the process must hang.
    """
    assert process.stdout is not None
    with process.stdout as stream:
        rest = b""
        while True:
            if not select.select([stream], [], [], _STALLED_S)[0]:
                raise TestbedError(
                    f"Maven has printed nothing for {_STALLED_S:.0f} s: check the network, and try again"
                )
            chunk = os.read(stream.fileno(), 65536)
            *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
            yield from (line.decode(errors="replace") for line in whole)
            if not chunk:
                yield rest.decode(errors="replace")
                return


def read_progress(line: str) -> tuple[int, int] | None:
    """Return bytes done and total of the largest file in a line such as `Progress (1): 4.1/130 MB`.

    Return None for any other line.
    """
    if not line.startswith("Progress ("):
        return None
    files = [
        (round(float(done) * _UNITS[unit]), round(float(total) * _UNITS[unit]))
        for done, total, unit in re.findall(r"([\d.]+)/([\d.]+) ([kMG]?B)\b", line)
    ]
    return max(files, key=lambda file: file[1], default=None)
