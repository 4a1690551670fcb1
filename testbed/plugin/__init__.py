"""The Elasticsearch plugin that answers `GET /` where the minimal distribution does not.

That of version 9 also has the retrievers that take a licence, as far as tests need them, for nodes with the
setting `testbed.ranks`.
"""

import hashlib
import subprocess
import tempfile
import zipfile
from pathlib import Path

from testbed.errors import TestbedError
from testbed.jdks import Jdk
from testbed.releases import Release

_NAME = "testbed-root"
_SOURCES = Path(__file__).parent


def _sources(release: Release) -> list[Path]:
    """One handler for every version; the method that registers it changed its signature in 9.x."""
    return sorted([*(_SOURCES / "common").glob("*.java"), *(_SOURCES / f"es{release.major}").glob("*.java")])


def fingerprint(release: Release) -> str:
    """Changes when the plugin for that release does."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for source in _sources(release):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def install(home: Path, release: Release, jdk: Jdk) -> None:
    """Compile the plugin against the distribution in `home` and lay it into its `plugins`.

    A directory there that holds a descriptor is an installed plugin; `bin/elasticsearch-plugin` adds no more
    than that, and takes seconds.

    Raises: TestbedError: the compiler refuses.
    """
    directory = home / "plugins" / _NAME
    directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as classes:
        _compile(release, jdk, home, Path(classes))
        with zipfile.ZipFile(directory / f"{_NAME}.jar", "w", zipfile.ZIP_DEFLATED) as jar:
            for path in sorted(Path(classes).rglob("*.class")):
                jar.write(path, path.relative_to(classes))
    (directory / "plugin-descriptor.properties").write_text(_descriptor(release), encoding="utf-8")
    for path in (directory, *directory.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _compile(release: Release, jdk: Jdk, home: Path, target: Path) -> None:
    command = [
        str(jdk.javac),
        *("-proc:none", "-Xlint:all", "-Werror"),
        *("--release", str(release.java_min)),
        *("-cp", str(home / "lib" / "*")),
        *("-d", str(target)),
        *map(str, _sources(release)),
    ]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode != 0:
        raise TestbedError(
            f"{jdk} cannot compile the test plugin for Elasticsearch {release.version}: "
            "set ES_JAVA_HOME to another JDK",
            run.stdout + run.stderr,
        )


def _descriptor(release: Release) -> str:
    return (
        f"name={_NAME}\n"
        "description=GET / for the minimal distribution\n"
        "version=1\n"
        "classname=testbed.RootPlugin\n"
        f"elasticsearch.version={release.version}\n"
        f"java.version={release.java_min}\n"
    )
