"""The official download, from a server on this machine in place of Elastic's."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from testbed import download
from testbed.errors import TestbedError
from testbed.progress import Reporter
from testbed.releases import RELEASES

_RELEASE = RELEASES[0]
_NAME = f"elasticsearch-{_RELEASE.version}-{download.platform_name()}.tar.gz"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name that the base class gave)
        pass


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with the archive and its checksum."""
    directory = tmp_path / "site"
    directory.mkdir()
    with tarfile.open(directory / _NAME, "w:gz") as archive:
        entry = tarfile.TarInfo(f"elasticsearch-{_RELEASE.version}/bin/elasticsearch")
        entry.size, entry.mode = 4, 0o700
        archive.addfile(entry, io.BytesIO(b"echo"))
    digest = hashlib.sha512((directory / _NAME).read_bytes()).hexdigest()
    (directory / f"{_NAME}.sha512").write_text(f"{digest}  {_NAME}\n")
    return directory


@pytest.fixture
def base_url(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _obtain(tmp_path: Path, base_url: str) -> Path:
    reporter = Reporter(Console(quiet=True))
    distribution = download.obtain(_RELEASE, tmp_path / "cache", reporter, base_url)
    assert distribution.java_home is None
    return distribution.home


def test_fetches_checks_and_unpacks(tmp_path: Path, site: Path, base_url: str) -> None:
    home = _obtain(tmp_path, base_url)
    program = home / "bin" / "elasticsearch"
    assert program.read_text() == "echo"
    assert program.stat().st_mode & 0o444 == 0o444
    assert [path.name for path in home.iterdir()] == ["bin"]
    (site / _NAME).unlink()
    assert _obtain(tmp_path, base_url) == home  # from the cache


def test_a_damaged_archive_is_refused(tmp_path: Path, site: Path, base_url: str) -> None:
    with (site / _NAME).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(TestbedError, match="is damaged or another file than expected"):
        _obtain(tmp_path, base_url)


def test_a_checksum_that_is_none_is_refused(tmp_path: Path, site: Path, base_url: str) -> None:
    (site / f"{_NAME}.sha512").write_text("<html>Log in to the network</html>")
    with pytest.raises(TestbedError, match="holds no SHA-512"):
        _obtain(tmp_path, base_url)


def test_what_is_not_there_is_one_line(tmp_path: Path, site: Path, base_url: str) -> None:
    (site / f"{_NAME}.sha512").unlink()
    with pytest.raises(TestbedError, match=r"^http.*: 404 .*: set ES_URL to a running Elasticsearch$"):
        _obtain(tmp_path, base_url)


def test_no_network_is_one_line_with_the_remedies(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"^http.* cannot be reached \(.*\): check the network"):
        _obtain(tmp_path, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", "linux-x86_64"),
        ("linux", "aarch64", "linux-aarch64"),
        ("darwin", "arm64", "darwin-aarch64"),
        ("darwin", "x86_64", "darwin-x86_64"),
        ("linux", "AMD64", "linux-x86_64"),
    ],
)
def test_names_the_platform_as_elastic_does(system: str, machine: str, expected: str) -> None:
    assert download.platform_name(system, machine) == expected


def test_a_platform_without_a_download_is_one_line() -> None:
    with pytest.raises(TestbedError, match=r"^Elastic has no download .* \(linux, riscv64\): set ES_URL"):
        download.platform_name("linux", "riscv64")
