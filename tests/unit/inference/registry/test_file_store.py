"""Endpoints in a file: nothing is lost, nothing half written is read, and what is damaged stays as it is."""

import asyncio
import errno
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from proxy.inference.failures import InferenceFailedError
from proxy.inference.registry import file_store
from proxy.inference.registry.file_store import FileStore
from proxy.inference.registry.files import make_private_directory
from proxy.inference.registry.key_ring import KeyRing
from tests.support.project import ROOT
from tests.support.stores import Watched, endpoint

SOON_S, LATE_S = 0.01, 3600.0
RING = KeyRing([b"k" * 32])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "deep" / "state"


def open_store(state: Path, keys: KeyRing | None = None, refresh_s: float = LATE_S) -> Watched:
    return Watched(FileStore(state, keys, refresh_s))


def modes(directory: Path) -> dict[str, int]:
    """Rights of the directory, as `.`, and of all that is in it."""
    paths = (
        {".": directory, **{path.name: path for path in directory.iterdir()}} if directory.is_dir() else {}
    )
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}


async def refusal(attempt: Awaitable[None]) -> InferenceFailedError:
    with pytest.raises(InferenceFailedError) as raised:
        await attempt
    return raised.value


async def test_nothing_is_made_before_something_is_kept(state: Path) -> None:
    async with open_store(state) as watched:
        await watched.store.refresh()
        assert watched.configs == {}
        assert not state.parent.exists()


async def test_endpoints_outlive_the_process(state: Path) -> None:
    configs = {name: endpoint(name, api_key=f"of {name}") for name in ("a", "b", "ü")}
    async with open_store(state) as watched:
        for config in configs.values():
            await watched.store.create(config)
        assert watched.configs == configs
    async with open_store(state) as again:
        assert again.configs == configs


async def test_files_are_for_their_owner_alone(state: Path) -> None:
    async with open_store(state) as watched:
        await watched.store.create(endpoint("a", api_key="sesame"))
    assert modes(state) == {
        ".": 0o700,
        "endpoints.json": 0o600,
        "endpoints.json.lock": 0o600,
        "registry.key": 0o600,
    }
    assert "sesame" not in (state / "endpoints.json").read_text()


async def test_no_key_is_made_without_secrets_or_beside_a_configured_one(state: Path) -> None:
    async with open_store(state) as watched:
        await watched.store.create(endpoint("a"))
    async with open_store(state, RING) as watched:
        await watched.store.create(endpoint("b", api_key="sesame"))
        assert watched.configs["b"].secrets == {"api_key": "sesame"}
    assert not (state / "registry.key").exists()


async def test_create_replace_delete(state: Path) -> None:
    async with open_store(state) as watched:
        store = watched.store
        await store.create(endpoint("a"))
        first = watched.version("a")
        twice = await refusal(store.create(endpoint("a", top_n=1)))
        assert (twice.status, twice.cause.type) == (400, "resource_already_exists_exception")
        await store.replace(endpoint("a", top_n=2), first)
        assert watched.configs == {"a": endpoint("a", top_n=2)}
        for late in (store.replace(endpoint("a"), first), store.delete("a", first)):
            assert (await refusal(late)).status == 409
        await store.delete("a", watched.version("a"))
        assert watched.configs == {}
        for gone in (store.replace(endpoint("a"), first), store.delete("a", first)):
            assert (await refusal(gone)).status == 404


async def test_an_endpoint_made_anew_is_another(state: Path) -> None:
    async with open_store(state) as watched:
        await watched.store.create(endpoint("a"))
        first = watched.version("a")
        await watched.store.delete("a", first)
        await watched.store.create(endpoint("a"))
        assert (await refusal(watched.store.delete("a", first))).status == 409


async def test_what_another_process_does_is_noticed(state: Path) -> None:
    async with open_store(state, refresh_s=SOON_S) as one, open_store(state) as other:
        await other.store.create(endpoint("a", api_key="sesame"))
        await one.until(lambda all_: "a" in all_)
        assert one.configs == other.configs
        await other.store.replace(endpoint("a", top_n=3), other.version("a"))
        await one.until(lambda all_: all_["a"].config.task_settings == {"top_n": 3})
        await other.store.delete("a", other.version("a"))
        await one.until(lambda all_: not all_)


async def test_refreshing_needs_no_waiting(state: Path) -> None:
    async with open_store(state) as one, open_store(state) as other:
        await other.store.create(endpoint("a"))
        assert one.configs == {}
        await asyncio.gather(*(one.store.refresh() for _ in range(5)))
        assert set(one.configs) == {"a"}


PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from proxy.inference.registry.file_store import FileStore
    from tests.support.stores import Watched, endpoint

    async def main():
        async with Watched(FileStore(Path(sys.argv[1]), None, 3600.0)) as watched:
            print("ready", flush=True)
            sys.stdin.readline()
            for number in range(10):
                await watched.store.create(endpoint(f"{sys.argv[2]}-{number}", api_key="sesame"))

    asyncio.run(main())
    """
)


def test_processes_at_once_lose_nothing_and_agree_on_a_key(state: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(state)]
    processes = [
        subprocess.Popen([*command, name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0

    async def read() -> dict[str, Any]:
        async with open_store(state) as watched:
            return {name: stored.failure for name, stored in watched.all.items()}

    assert asyncio.run(read()) == {f"{name}-{number}": None for name in "abc" for number in range(10)}


class TestKeys:
    async def test_another_key(self, state: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The endpoint is there, says what is wrong, and can be changed or deleted."""
        async with open_store(state, RING) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
            await watched.store.create(endpoint("b", api_key="sesame"))
        async with open_store(state, KeyRing([b"o" * 32])) as watched:
            await watched.store.refresh()
            assert watched.configs == {"a": endpoint("a"), "b": endpoint("b")}
            failure = watched.all["a"].failure
            assert failure is not None
            assert "cannot be decrypted" in str(failure)
            assert [record.message for record in caplog.records if "[a]" in record.message] == [
                f"inference endpoint [a] of the registry cannot be used: {failure}"
            ]
            await watched.store.delete("b", watched.version("b"))
            await watched.store.replace(endpoint("a", api_key="other"), watched.version("a"))
            assert watched.all["a"].failure is None
            assert watched.configs == {"a": endpoint("a", api_key="other")}
        assert "sesame" not in caplog.text

    async def test_the_own_key_is_lost(self, state: Path) -> None:
        async with open_store(state) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
        (state / "registry.key").unlink()
        async with open_store(state) as watched:
            assert "this proxy has no registry.key" in str(watched.all["a"].failure)

    async def test_the_own_key_is_damaged(self, state: Path) -> None:
        async with open_store(state) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
            (state / "registry.key").write_text("s3cret")
            failure = await refusal(watched.store.create(endpoint("b", api_key="sesame")))
            assert (failure.status, failure.cause.reason) == (
                500,
                "Failed to store inference endpoint [b]: the registry cannot be written: "
                "registry.key: line 1 is no key: expected 32 random bytes in base64",
            )
            assert set(watched.configs) == {"a"}


class TestDamage:
    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"revision": "x"}', b'{"endpoints": {"a": 5}}']
    )
    async def test_a_damaged_file_is_told_and_never_overwritten(
        self, state: Path, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        make_private_directory(state)
        file = state / "endpoints.json"
        file.write_bytes(content)
        async with open_store(state, refresh_s=SOON_S) as watched:
            for attempt in (watched.store.refresh(), watched.store.create(endpoint("b"))):
                failure = await refusal(attempt)
                assert failure.status == 500
                assert ": endpoints.json is damaged (" in failure.cause.reason
                assert "restore it from a backup, or move it away to begin anew" in failure.cause.reason
            assert file.read_bytes() == content
            assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
            assert f"{file} is damaged (" in caplog.text
            file.unlink()
            await watched.store.create(endpoint("c"))
            assert set(watched.configs) == {"c"}

    async def test_endpoints_go_on_while_the_file_is_damaged(self, state: Path) -> None:
        async with open_store(state) as watched:
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
        async with open_store(state) as watched:
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
            "inference endpoint [a] of the registry is damaged and left out until it is put right: its "
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
    ("break_", "problem"),
    [
        (_no_directory, "File exists"),
        (_full_disk, "No space left on device"),
        (_no_rename, "Read-only file system"),
    ],
)
async def test_a_place_that_cannot_be_written(
    state: Path, monkeypatch: pytest.MonkeyPatch, break_: Break, problem: str
) -> None:
    break_(state, monkeypatch)
    async with open_store(state) as watched:
        failure = await refusal(watched.store.create(endpoint("a")))
        assert (failure.status, failure.cause.type) == (500, "status_exception")
        assert failure.cause.reason.startswith(
            "Failed to store inference endpoint [a]: the registry cannot be written: "
        )
        assert problem in failure.cause.reason
        assert watched.configs == {}
    assert modes(state).keys() <= {".", "endpoints.json.lock"}


async def test_a_failed_write_leaves_what_was_there(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(state) as watched:
        await watched.store.create(endpoint("a"))
        before = (state / "endpoints.json").read_bytes()
        _no_rename(state, monkeypatch)
        await refusal(watched.store.delete("a", watched.version("a")))
        assert (state / "endpoints.json").read_bytes() == before
        assert set(watched.configs) == {"a"}


async def test_a_lock_that_is_never_let_go(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_store, "_LOCK_TIMEOUT_S", 0.05)
    make_private_directory(state)
    lock = state / "endpoints.json.lock"
    async with open_store(state) as watched:
        with FileLock(lock):
            failure = await refusal(watched.store.create(endpoint("a")))
        assert failure.cause.reason.endswith("another process has held endpoints.json.lock for 0.05 s")
        assert f"another process has held {lock} for 0.05 s" in caplog.text
        await watched.store.create(endpoint("a"))
