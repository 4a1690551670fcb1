"""Find the JDKs, and choose one."""

from pathlib import Path

import pytest

from testbed.jdks import Jdk, best_jdk, find_jdks
from testbed.releases import RELEASES, find_release

_ES9, _ES8 = find_release("9.5.0"), find_release("8.19.21")


def _install(home: Path, version: str, *, compiler: bool = True) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'IMPLEMENTOR="Someone"\nJAVA_VERSION="{version}"\nOS_ARCH="x86_64"\n')
    if compiler:
        (home / "bin" / "javac").touch(mode=0o755)
    return home


def _found(tmp_path: Path, environ: dict[str, str] | None = None) -> list[tuple[str, int]]:
    jdks = find_jdks(environ or {"PATH": ""}, [str(tmp_path / "jvm" / "*")])
    return [(jdk.home.name, jdk.major) for jdk in jdks if jdk.home.is_relative_to(tmp_path)]


def test_reads_the_release_files(tmp_path: Path) -> None:
    _install(tmp_path / "jvm" / "a", "17.0.15")
    _install(tmp_path / "jvm" / "b", "25")
    assert _found(tmp_path) == [("a", 17), ("b", 25)]


def test_passes_over_what_cannot_compile(tmp_path: Path) -> None:
    _install(tmp_path / "jvm" / "jre", "21.0.1", compiler=False)
    (tmp_path / "jvm" / "empty").mkdir()
    _install(tmp_path / "jvm" / "odd", "unknown")
    assert _found(tmp_path) == []


def test_the_environment_comes_first_and_links_count_once(tmp_path: Path) -> None:
    _install(tmp_path / "jvm" / "a", "17.0.15")
    _install(tmp_path / "jvm" / "b", "21.0.1")
    own = _install(tmp_path / "own", "22.0.1")
    (tmp_path / "jvm" / "default").symlink_to(tmp_path / "jvm" / "b")
    environ = {"JAVA_HOME": str(own), "ES_JAVA_HOME": str(tmp_path / "jvm" / "default"), "PATH": ""}
    assert _found(tmp_path, environ) == [("b", 21), ("own", 22), ("a", 17)]


def test_the_compiler_on_the_path_leads_to_its_home(tmp_path: Path) -> None:
    own = _install(tmp_path / "own", "22.0.1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "javac").symlink_to(own / "bin" / "javac")
    assert _found(tmp_path, {"PATH": str(tmp_path / "bin")}) == [("own", 22)]


@pytest.mark.parametrize(
    ("majors", "es9", "es8"),
    [
        ([], None, None),
        ([11], None, None),
        ([17], None, 17),
        ([17, 21], 21, 21),
        ([17, 21, 25], 25, 25),
        ([17, 24, 26, 27], 24, 24),
        ([17, 26, 27], 26, 17),
    ],
)
def test_takes_the_newest_that_it_is_known_to_run_on(
    tmp_path: Path, majors: list[int], es9: int | None, es8: int | None
) -> None:
    jdks = [Jdk(_install(tmp_path / str(major), str(major)), major) for major in majors]
    for release, expected in ((_ES9, es9), (_ES8, es8)):
        best = best_jdk(jdks, release)
        assert (best.major if best else None) == expected


def test_releases_are_best_first() -> None:
    numbers = [tuple(map(int, release.version.split("."))) for release in RELEASES]
    assert numbers == sorted(numbers, reverse=True)
