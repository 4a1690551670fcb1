"""Packages behind a URL: fetched once, checked, gone on with where a download broke off."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages import package as packages
from rerank_proxy.engine.loading.packages.package import Package
from rerank_proxy.engine.loading.sources.progress import LoggedProgress
from rerank_proxy.engine.loading.sources.repository import default_artifacts_dir, fetch
from rerank_proxy.engine.loading.sources.source import locate
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.support.model_repository import Repository, serving
from tests.support.packages import write

NAME = "rerank-v1"
PROGRAM = os.urandom(3_000_000)
"""Several pieces; what is in it does not matter here."""

CONFIG: dict[str, object] = {"inference_config": {"text_similarity": {"tokenization": {"bert": {}}}}}
VOCABULARY = {"vocabulary": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]}


def package_in(directory: Path, program: bytes = PROGRAM) -> Path:
    (directory / f"{NAME}.pt").write_bytes(program)
    write(directory, NAME, config=CONFIG, vocabulary=VOCABULARY)
    return directory


@pytest.fixture
def original(tmp_path: Path) -> Path:
    directory = tmp_path / "original"
    directory.mkdir()
    return package_in(directory)


@pytest.fixture
def repository(original: Path) -> Iterator[Repository]:
    with serving({path.name: path.read_bytes() for path in original.iterdir()}) as repository:
        yield repository


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def fetched(repository: Repository, kept: Path, *, offline: bool = False) -> Package:
    return fetch(repository.url, NAME, kept, offline=offline)


def refusal(repository: Repository, kept: Path, *, offline: bool = False) -> str:
    with pytest.raises(ModelLoadError) as refused:
        fetched(repository, kept, offline=offline)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def whole(package: Package) -> bool:
    return package.model_path.read_bytes() == PROGRAM and bool(package.sha256)


def test_a_package_is_fetched_once(repository: Repository, kept: Path) -> None:
    package = fetched(repository, kept)
    assert whole(package)
    assert package.read_vocabulary().vocabulary == VOCABULARY["vocabulary"]
    assert fetched(repository, kept) == package
    assert [name for name, _ in repository.asked] == [
        *(f"{NAME}.metadata.json", f"{NAME}.pt", f"{NAME}.vocab.json"),
        f"{NAME}.metadata.json",
    ]


def test_repositories_are_kept_apart(repository: Repository, kept: Path) -> None:
    package = fetched(repository, kept)
    with serving(repository.files) as other:
        assert fetched(other, kept).directory != package.directory
    assert fetch(repository.url + "/", NAME, kept, offline=False).directory == package.directory


def test_a_new_version_is_fetched(repository: Repository, kept: Path, tmp_path: Path) -> None:
    fetched(repository, kept)
    (tmp_path / "new").mkdir()
    changed = package_in(tmp_path / "new", PROGRAM[::-1])
    repository.files = {path.name: path.read_bytes() for path in changed.iterdir()}
    assert fetched(repository, kept).model_path.read_bytes() == PROGRAM[::-1]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on(repository: Repository, kept: Path, ranges: bool) -> None:
    repository.ranges = ranges
    repository.break_off_after[f"{NAME}.pt"] = [1_500_000]
    assert whole(fetched(repository, kept))
    assert repository.models_asked() == [None, "bytes=1500000-"]


def test_a_download_that_breaks_off_again_and_again_goes_on_at_the_next_try(
    repository: Repository, kept: Path
) -> None:
    repository.break_off_after[f"{NAME}.pt"] = [1_000_000, 500_000, 250_000]
    message = refusal(repository, kept)
    assert "broke off at 1750000 of 3000000 bytes" in message
    assert f"{NAME}.pt" in message
    assert whole(fetched(repository, kept))
    assert repository.models_asked()[-1] == "bytes=1750000-"
    assert not list(kept.rglob("*.part"))


def test_what_does_not_match_its_hash_is_not_kept(repository: Repository, kept: Path) -> None:
    good = repository.files[f"{NAME}.pt"]
    repository.files[f"{NAME}.pt"] = good[:-1] + bytes([good[-1] ^ 1])
    assert "has the SHA-256" in refusal(repository, kept)
    assert not list(kept.rglob("*.pt*"))
    repository.files[f"{NAME}.pt"] = good
    assert whole(fetched(repository, kept))


def test_a_file_that_is_too_long_is_not_read_to_its_end(repository: Repository, kept: Path) -> None:
    repository.files[f"{NAME}.pt"] = PROGRAM * 3
    assert "is larger than the 3000000 bytes" in refusal(repository, kept)


def test_a_damaged_copy_is_fetched_again(
    repository: Repository, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetched(repository, kept).model_path
    path.write_bytes(PROGRAM[:100])
    assert whole(fetched(repository, kept))
    assert "fetching package [rerank-v1] again" in caplog.text


def test_a_package_that_is_here_does_not_need_its_repository(
    repository: Repository, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "is not in" in refusal(repository, kept, offline=True)
    package = fetched(repository, kept)
    assert fetched(repository, kept, offline=True) == package
    repository.failing = True
    assert fetched(repository, kept) == package
    assert "taking the copy of package [rerank-v1]" in caplog.text


def test_a_repository_that_fails(repository: Repository, kept: Path) -> None:
    repository.failing = True
    assert "was answered 503; check the repository" in refusal(repository, kept)


def test_a_repository_that_is_not_there(kept: Path) -> None:
    with serving({}) as repository:
        pass
    assert "check the network, or give a directory" in refusal(repository, kept)


def test_a_package_that_the_repository_does_not_have(repository: Repository, kept: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"has no other\.metadata\.json.*\[package\] setting"):
        fetch(repository.url, "other", kept, offline=False)


@pytest.mark.parametrize("field", ["size", "sha256"])
def test_what_cannot_be_checked_is_not_fetched(repository: Repository, kept: Path, field: str) -> None:
    metadata = json.loads(repository.files[f"{NAME}.metadata.json"])
    del metadata[field]
    repository.files[f"{NAME}.metadata.json"] = json.dumps(metadata).encode()
    assert "run unchecked" in refusal(repository, kept)
    assert repository.models_asked() == []


def test_a_place_that_cannot_be_written(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "set engine.artifacts_dir" in refusal(repository, tmp_path / "file")


def test_a_repository_of_files(original: Path, kept: Path) -> None:
    for url in (original.as_uri(), original.as_uri() + "/"):
        assert fetch(url, NAME, kept, offline=True).directory == original
    assert not kept.exists()
    with pytest.raises(ModelLoadError, match=r"has no other\.metadata\.json\. It has: rerank-v1\."):
        fetch(original.as_uri(), "other", kept, offline=False)
    with pytest.raises(ModelLoadError, match=r"there is no directory \["):
        fetch((original / "nothing").as_uri(), NAME, kept, offline=False)


def test_the_package_has_the_models_name_unless_another_is_given(original: Path) -> None:
    source = original.as_uri()
    for name, settings in (
        (".rerank-v1", ModelSettings(source=source)),
        ("rerank-v1", ModelSettings(source=source)),
        ("elastic", ModelSettings(source=source, package=NAME)),
    ):
        assert locate(name, settings, EngineSettings()) == packages.read(original, NAME)


def test_where_packages_are_kept(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = ModelSettings(source=repository.url)
    package = locate(NAME, settings, EngineSettings())
    assert isinstance(package, Package)
    assert package.directory.is_relative_to(tmp_path / "cache" / "rerank-proxy" / "models")
    package = locate(NAME, settings, EngineSettings(artifacts_dir=Path("~/models")))
    assert isinstance(package, Package)
    assert package.directory.is_relative_to(tmp_path / "home" / "models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_artifacts_dir() == tmp_path / "home" / ".cache" / "rerank-proxy" / "models"


def test_a_bar_is_drawn_on_a_terminal(
    repository: Repository, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    fetched(repository, kept)
    assert f"fetching {NAME}.pt" in terminal.getvalue()
    assert f"{len(PROGRAM) / 1e6:.1f}/{len(PROGRAM) / 1e6:.1f} MB" in terminal.getvalue()
    assert "%" not in caplog.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    progress = LoggedProgress("m.pt", 0, 10_000, lambda: now)
    for _ in range(100):
        progress.add(50)
    assert len(caplog.records) == 1 + 5, "each tenth"
    progress.add(50)
    now += 5
    progress.add(50)
    assert caplog.records[-1].getMessage() == "fetching [m.pt]: 51 %"
    assert len(caplog.records) == 1 + 6
