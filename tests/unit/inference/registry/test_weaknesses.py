"""What others on the machine could do to the state of the proxy is told, in the log and by `check`."""

import logging
import os
from pathlib import Path

import pytest

from rerank_proxy.inference.registry.opening import open_store, weaknesses
from rerank_proxy.settings import Settings, load

OTHERS, GROUP = "every user of this machine", "users of its group"


def settings(state: Path, **registry: str) -> Settings:
    return load(None, {"state_dir": str(state), "registry": registry}, {})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state directory with a registry, as the proxy makes it."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    for name in ("endpoints.json", "registry.key"):
        (directory / name).touch(mode=0o600)
    return directory


@pytest.mark.parametrize("store", ["file", "index", "none"])
def test_what_the_proxy_makes_has_none(state: Path, store: str) -> None:
    assert weaknesses(settings(state, store=store)) == []
    assert weaknesses(settings(state / "not there yet", store=store)) == []


@pytest.mark.parametrize(
    ("name", "mode", "told"),
    [
        (".", 0o755, None),
        (".", 0o775, f"written by {GROUP}; chmod go-w takes that back"),
        (".", 0o707, f"written by {OTHERS}; chmod go-w takes that back"),
        (".", 0o1777, f"written by {OTHERS}; chmod go-w takes that back"),
        ("endpoints.json", 0o644, None),
        ("endpoints.json", 0o660, f"written by {GROUP}; chmod go-w takes that back"),
        ("endpoints.json", 0o602, f"written by {OTHERS}; chmod go-w takes that back"),
        ("registry.key", 0o400, None),
        ("registry.key", 0o640, f"read by {GROUP}; chmod go-rwx takes that back"),
        ("registry.key", 0o604, f"read by {OTHERS}; chmod go-rwx takes that back"),
        ("registry.key", 0o666, f"read and written by {OTHERS}; chmod go-rwx takes that back"),
    ],
)
def test_rights(
    state: Path, name: str, mode: int, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = state if name == "." else state / name
    path.chmod(mode)
    expected = [] if told is None else [f"{path} can be {told}"]
    assert weaknesses(settings(state)) == expected
    open_store(settings(state))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, each) for each in expected
    ]


def test_rights_of_a_key_file_that_the_settings_name(state: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o604)
    assert weaknesses(settings(state, key_file=str(key))) == [
        f"{key} can be read by {OTHERS}; chmod go-rwx takes that back"
    ]


@pytest.mark.parametrize("owner", [0, 1, 4711])
def test_owners(state: Path, monkeypatch: pytest.MonkeyPatch, owner: int) -> None:
    """What belongs to root can only be changed by root, who can change anything."""
    stat = Path.stat

    def of_owner(path: Path, **options: bool) -> os.stat_result:
        values = list(stat(path, **options))
        values[4] = owner
        return os.stat_result(values)

    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(Path, "stat", of_owner)
    paths = (state, state / "endpoints.json", state / "registry.key") if owner == 1 else ()
    assert weaknesses(settings(state)) == [
        f"{path} belongs to another user (id 1) than the proxy runs as" for path in paths
    ]


def test_a_directory_above_whose_entries_all_may_change(state: Path) -> None:
    state.parent.chmod(0o777)
    assert weaknesses(settings(state)) == [f"{state.parent}, above {state}, can be written by {OTHERS}"]
    state.parent.chmod(0o1777)
    assert weaknesses(settings(state)) == []


def test_what_a_link_leads_to_counts(state: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(state)
    assert weaknesses(settings(link)) == []
    state.chmod(0o777)
    assert weaknesses(settings(link)) == [f"{link} can be written by {OTHERS}; chmod go-w takes that back"]
