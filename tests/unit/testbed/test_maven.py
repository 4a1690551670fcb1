"""Fetch the minimal distribution with Maven, whose failures become one line."""

import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from testbed import maven
from testbed.distribution import check_digest, unpack_zip
from testbed.errors import TestbedError
from testbed.jdks import Jdk
from testbed.progress import Reporter
from testbed.releases import RELEASES

_RELEASE = RELEASES[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Progress (1): 4.1/130 MB", (4_100_000, 130_000_000)),
        ("Progress (2): 1.2/3.4 kB | 12/130 MB", (12_000_000, 130_000_000)),
        ("Progress (1): elasticsearch-9.5.0.zip (12/130 MB)", (12_000_000, 130_000_000)),
        ("Progress (1): 130 MB", None),
        ("Downloaded from central: 3/4 MB", None),
        ("", None),
    ],
)
def test_reads_progress(line: str, expected: tuple[int, int] | None) -> None:
    assert maven.read_progress(line) == expected


def test_names_the_artifact(tmp_path: Path) -> None:
    command = maven.copy_command("group:name:1:zip", "/opt/mvn", tmp_path)
    assert command[0] == "/opt/mvn"
    assert "-Dartifact=group:name:1:zip" in command
    assert f"-DoutputDirectory={tmp_path}" in command


def _obtain(tmp_path: Path, script: str) -> None:
    """Run with a script in place of `mvn`, whose last argument but one names the output directory."""
    mvn = tmp_path / "mvn"
    mvn.write_text(f"#!/bin/sh\n{script}\n")
    mvn.chmod(0o755)
    jdk = Jdk(tmp_path, 25)
    maven.obtain(_RELEASE, jdk, str(mvn), tmp_path / "cache", Reporter(Console(quiet=True)))


def test_a_failure_is_one_line_with_what_maven_said(tmp_path: Path) -> None:
    script = "echo '[INFO] Scanning'; echo '[ERROR] no route'; echo '[ERROR] more'; exit 1"
    with pytest.raises(TestbedError, match=r"^Maven cannot get .*set ES_URL .*\(no route\)$") as caught:
        _obtain(tmp_path, script)
    assert caught.value.details == "more"


def test_a_failure_without_a_reason_shows_all_that_was_said(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"\(exit status 2\)$") as caught:
        _obtain(tmp_path, "echo one; echo; echo two; exit 2")
    assert caught.value.details == "one\ntwo"


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    script = f"echo wrong > elasticsearch-{_RELEASE.version}.zip"
    with pytest.raises(TestbedError, match=r"^elasticsearch-.*\.zip is damaged or another"):
        _obtain(tmp_path, script)
    assert not [path for path in (tmp_path / "cache" / "elasticsearch").iterdir() if path.is_dir()]


def test_unpacks_for_every_user_and_keeps_what_is_executable(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.mkdir("elasticsearch-1/logs")
        for name, mode in (("bin/elasticsearch", 0o700), ("config/users", 0o600)):
            entry = zipfile.ZipInfo(f"elasticsearch-1/{name}")
            entry.external_attr = (0o100000 | mode) << 16
            opened.writestr(entry, name)
    unpack_zip(archive, tmp_path / "home")
    modes = {
        str(path.relative_to(tmp_path / "home")): path.stat().st_mode & 0o777
        for path in (tmp_path / "home").rglob("*")
    }
    assert modes == {
        "bin": 0o755,
        "bin/elasticsearch": 0o755,
        "config": 0o755,
        "config/users": 0o644,
        "logs": 0o755,
    }


def test_checks_digests(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    check_digest(path, "sha256", digest)
    check_digest(path, "sha256", digest.upper())
    with pytest.raises(TestbedError, match="damaged"):
        check_digest(path, "sha256", digest.replace("b", "c"))
