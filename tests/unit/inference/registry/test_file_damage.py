"""What may be in the place of the endpoints' file is reported, and nothing is lost."""

import errno
import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from rerank_proxy.files.state import make_private_directory
from rerank_proxy.inference.registry import content, file_store
from tests.support.stores import endpoint, modes, open_file_store, refusal

SOON_S = 0.01


ENTRY = b'{"revision": 1, "endpoint": %b}'
WHOLE = b'{"revision": 1, "endpoints": {"a": %b}}'
DEEP = 100_000
DAMAGED = {
    "empty": b"",
    "cut off": b"{",
    "an array": b"[]",
    "null": b"null",
    "no object": b"{}",
    "not UTF-8": b"\xff",
    "not UTF-8 in an endpoint": WHOLE % ENTRY % b'"\xff"',
    "a byte order mark": b"\xef\xbb\xbf" + WHOLE % ENTRY % b"{}",
    "UTF-16": (WHOLE % ENTRY % b"{}").decode().encode("utf-16"),
    "zeros, as after a power failure": bytes(4096),
    "a revision of another type": b'{"revision": "x", "endpoints": {}}',
    "a revision below zero": b'{"revision": -1, "endpoints": {}}',
    "a revision beyond all numbers": b'{"revision": %b, "endpoints": {}}' % (b"9" * 5000),
    "endpoints of another type": b'{"revision": 1, "endpoints": {"a": 5}}',
    "no revision": b'{"endpoints": {}}',
    "a member too many": b'{"revision": 1, "endpoints": {}, "b": 1}',
    "a member too many in an endpoint": WHOLE % b'{"revision": 1, "endpoint": {}, "c": 1}',
    "something after it": WHOLE % ENTRY % b"{}" + b"{}",
    "two of one id": b'{"revision": 1, "endpoints": {"a": %b, "a": %b}}' % (ENTRY % b"1", ENTRY % b"2"),
    "two of one id, spelled differently": b'{"revision": 1, "endpoints": {"a": %b, "\\u0061": %b}}'
    % (ENTRY % b"1", ENTRY % b"2"),
    "two members of one name": WHOLE % ENTRY % b'{"a": [{"b": 1, "b": 1}]}',
    "two of one very long id": b'{"revision": 1, "endpoints": {"%b": %b, "%b": %b}}'
    % (b"\\n" * 99_999, ENTRY % b"1", b"\\n" * 99_999, ENTRY % b"2"),
    "deep": b"[" * DEEP,
    "deep in an endpoint": WHOLE % ENTRY % (b"[" * DEEP + b"]" * DEEP),
    "deep objects": WHOLE % ENTRY % (b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "half a surrogate pair for an id": b'{"revision": 1, "endpoints": {"\\ud800": %b}}' % (ENTRY % b"{}"),
}


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


Obstacle = Callable[[Path], None]
OBSTACLES: dict[str, tuple[Obstacle, str]] = {
    "a directory": (Path.mkdir, "is a directory, not a file"),
    "a FIFO": (os.mkfifo, "is a named pipe, not a file"),
    "a socket": (_bind, "is a socket, not a file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), "is a symbolic link to what is not there"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic link"),
}


class TestDamage:
    @pytest.mark.parametrize(("obstacle", "problem"), OBSTACLES.values(), ids=OBSTACLES)
    @pytest.mark.parametrize("name", ["endpoints.json", "registry.key"])
    async def test_something_other_than_a_file_is_reported_and_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, obstacle: Obstacle, problem: str
    ) -> None:
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        state = Path("s")
        make_private_directory(state)
        (state / "endpoints.json").write_bytes(b'{"revision": 1, "endpoints": {}}')
        (state / name).unlink(missing_ok=True)
        obstacle(state / name)
        before = (state / name).lstat()
        async with open_file_store(state) as watched:
            for attempt in (watched.store.refresh(), watched.store.create(endpoint("b", api_key="sesame"))):
                failure = await refusal(attempt)
                assert failure.status == 500
                assert f"{name}: " in failure.cause.reason
                assert problem in failure.cause.reason
        assert (state / name).lstat() == before

    async def test_a_file_that_is_too_large_is_not_read(
        self, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_private_directory(state)
        with (state / "endpoints.json").open("wb") as file:
            file.truncate(2**40)  # takes no room on the disk
        async with open_file_store(state) as watched:
            failure = await refusal(watched.store.create(endpoint("b")))
            assert failure.cause.reason.endswith("endpoints.json: is larger than 67108864 bytes")

    async def test_a_registry_never_grows_beyond_what_is_read(
        self, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_store, "_MAX_FILE_BYTES", 1000)
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("a"))
            failure = await refusal(watched.store.create(endpoint("b" * 1000)))
            assert failure.cause.reason.endswith("endpoints.json would be larger than 1000 bytes")
            await watched.store.refresh()
            assert set(watched.configs) == {"a"}

    async def test_what_an_endpoint_is_kept_as_stays_when_others_are_written(self, state: Path) -> None:
        """Also what no parser would give back as it was."""
        odd = b'{"b":1.10, "c": 1e999, "d": 123456789012345678901234567890, "f":"\\u0061"}'
        make_private_directory(state)
        (state / "endpoints.json").write_bytes(WHOLE % ENTRY % odd)
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("b"))
            assert set(watched.configs) == {"b"}
        assert odd in (state / "endpoints.json").read_bytes()

    async def test_a_damaged_file_is_parsed_once(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed = 0
        parse = content.parse

        def counted(data: bytes) -> content.Content:
            nonlocal parsed
            parsed += 1
            return parse(data)

        monkeypatch.setattr(content, "parse", counted)
        make_private_directory(state)
        (state / "endpoints.json").write_text("{")
        async with open_file_store(state) as watched:
            for _ in range(3):
                await refusal(watched.store.refresh())
        assert parsed == 1

    @pytest.mark.parametrize("deep", [1, 2])
    async def test_a_state_directory_that_leads_nowhere_is_not_taken_for_a_new_one(
        self, tmp_path: Path, deep: int
    ) -> None:
        """Its volume may not be mounted."""
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "volume")
        state = link if deep == 1 else link / "state"
        async with open_file_store(state) as watched:
            for attempt in (watched.store.refresh(), watched.store.create(endpoint("b"))):
                failure = await refusal(attempt)
                assert "link: is a symbolic link to what is not there; mount or" in failure.cause.reason
            (tmp_path / "volume").mkdir()
            await watched.store.create(endpoint("b"))
            assert set(watched.configs) == {"b"}

    @pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
    async def test_a_damaged_file_is_told_and_never_overwritten(
        self, state: Path, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        make_private_directory(state)
        file = state / "endpoints.json"
        file.write_bytes(content)
        async with open_file_store(state, refresh_s=SOON_S) as watched:
            for attempt in (watched.store.refresh(), watched.store.create(endpoint("b"))):
                failure = await refusal(attempt)
                assert failure.status == 500
                assert "endpoints.json is damaged (" in failure.cause.reason
                assert "restore it from a backup, or move it away and start" in failure.cause.reason
                assert "\n" not in failure.cause.reason
                assert len(failure.cause.reason) < 600
                assert str(state) not in failure.cause.reason  # clients see it
            assert file.read_bytes() == content
            (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert told.getMessage().endswith(f"[{file}]")
            file.unlink()
            await watched.store.create(endpoint("c"))
            assert set(watched.configs) == {"c"}

    async def test_endpoints_go_on_while_the_file_is_damaged(self, state: Path) -> None:
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("a"))
            whole = (state / "endpoints.json").read_bytes()
            (state / "endpoints.json").write_text("{")
            await refusal(watched.store.refresh())
            assert set(watched.configs) == {"a"}
            (state / "endpoints.json").write_bytes(whole)
            await watched.store.refresh()
            assert set(watched.configs) == {"a"}

    async def test_one_damaged_endpoint_leaves_the_others(
        self, state: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("a"))
            await watched.store.create(endpoint("b"))
            file = state / "endpoints.json"
            content = json.loads(file.read_text())
            content["endpoints"]["a"]["endpoint"] = {"by": "hand"}
            file.write_text(json.dumps(content))
            await watched.store.refresh()
            assert set(watched.configs) == {"b"}
            await watched.store.create(endpoint("c"))
            assert json.loads(file.read_text())["endpoints"]["a"]["endpoint"] == {"by": "hand"}
        assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
            "inference endpoint [a] of the registry is damaged and left out until it is repaired: its "
            "[format] is [None], not [1]"
        ]


Break = Callable[[Path, pytest.MonkeyPatch], None]


def _no_directory(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.parent.write_text("a file where a directory should be")


def _full_disk(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def _no_rename(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: Any, target: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), target)

    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize(
    ("break_", "problem", "remedy"),
    [
        (_no_directory, "File exists", ""),
        (_full_disk, "No space left on device", "; make room there; it is tried again with the next request"),
        (
            _no_rename,
            "Read-only file system",
            "; let the account of the proxy write there, or name another directory with [state_dir]",
        ),
    ],
)
async def test_a_place_that_cannot_be_written(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    break_: Break,
    problem: str,
    remedy: str,
) -> None:
    break_(state, monkeypatch)
    async with open_file_store(state) as watched:
        failure = await refusal(watched.store.create(endpoint("a")))
        told = caplog.records[-1].getMessage()
        assert told.startswith(f"an inference endpoint could not be stored: {state.parent}")
        assert told.endswith(f": {problem}{remedy}")
        assert (failure.status, failure.cause.type) == (500, "status_exception")
        assert failure.cause.reason.startswith(
            "Failed to store inference endpoint [a]: the registry cannot be written: "
        )
        assert problem in failure.cause.reason
        assert watched.configs == {}
    assert modes(state).keys() <= {".", "endpoints.json.lock"}


async def test_a_failed_write_leaves_what_was_there(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_file_store(state) as watched:
        await watched.store.create(endpoint("a"))
        before = (state / "endpoints.json").read_bytes()
        _no_rename(state, monkeypatch)
        await refusal(watched.store.delete("a", watched.version("a")))
        assert (state / "endpoints.json").read_bytes() == before
        assert set(watched.configs) == {"a"}


async def test_a_lock_that_is_never_let_go(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_store, "_LOCK_TIMEOUT_S", 0.05)
    make_private_directory(state)
    lock = state / "endpoints.json.lock"
    async with open_file_store(state) as watched:
        with FileLock(lock):
            failure = await refusal(watched.store.create(endpoint("a")))
        assert failure.cause.reason.endswith(f"another process has held {lock.name} for 0.05 s")
        await watched.store.create(endpoint("a"))
