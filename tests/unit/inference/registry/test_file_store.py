"""Endpoints in a file: nothing is lost, nothing half written is read, and what is damaged stays as it is."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.registry.keys import new_key
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S
from tests.support.stores import ODD_IDS, endpoint, modes, open_file_store, refusal

SOON_S, LATE_S = 0.01, 3600.0
RING = KeyRing([b"k" * 32])


async def test_nothing_is_made_before_something_is_kept(state: Path) -> None:
    async with open_file_store(state) as watched:
        await watched.store.refresh()
        assert watched.configs == {}
        assert not state.parent.exists()


async def test_endpoints_outlive_the_process(state: Path) -> None:
    configs = {name: endpoint(name, api_key=f"of {name}") for name in ("a", "b", "ü")}
    async with open_file_store(state) as watched:
        for config in configs.values():
            await watched.store.create(config)
        assert watched.configs == configs
    async with open_file_store(state) as again:
        assert again.configs == configs


async def test_files_are_for_their_owner_alone(state: Path) -> None:
    async with open_file_store(state) as watched:
        await watched.store.create(endpoint("a", api_key="sesame"))
    assert modes(state) == {
        ".": 0o700,
        "endpoints.json": 0o600,
        "endpoints.json.lock": 0o600,
        "registry.key": 0o600,
    }
    assert "sesame" not in (state / "endpoints.json").read_text()


async def test_no_key_is_made_without_secrets_or_beside_a_configured_one(state: Path) -> None:
    async with open_file_store(state) as watched:
        await watched.store.create(endpoint("a"))
    async with open_file_store(state, RING) as watched:
        await watched.store.create(endpoint("b", api_key="sesame"))
        assert watched.configs["b"].secrets == {"api_key": "sesame"}
    assert not (state / "registry.key").exists()


async def test_create_replace_delete(state: Path) -> None:
    async with open_file_store(state) as watched:
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
    async with open_file_store(state) as watched:
        await watched.store.create(endpoint("a"))
        first = watched.version("a")
        await watched.store.delete("a", first)
        await watched.store.create(endpoint("a"))
        assert (await refusal(watched.store.delete("a", first))).status == 409


async def test_what_another_process_does_is_noticed(state: Path) -> None:
    async with open_file_store(state, refresh_s=SOON_S) as one, open_file_store(state) as other:
        await other.store.create(endpoint("a", api_key="sesame"))
        await one.until(lambda all_: "a" in all_)
        assert one.configs == other.configs
        await other.store.replace(endpoint("a", top_n=3), other.version("a"))
        await one.until(lambda all_: all_["a"].config.task_settings == {"top_n": 3})
        await other.store.delete("a", other.version("a"))
        await one.until(lambda all_: not all_)


async def test_refreshing_needs_no_waiting(state: Path) -> None:
    async with open_file_store(state) as one, open_file_store(state) as other:
        await other.store.create(endpoint("a"))
        assert one.configs == {}
        await asyncio.gather(*(one.store.refresh() for _ in range(5)))
        assert set(one.configs) == {"a"}


PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from rerank_proxy.inference.registry.file_store import FileStore
    from tests.support.stores import ODD_IDS, Watched, endpoint

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
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0

    async def read() -> dict[str, Any]:
        async with open_file_store(state) as watched:
            return {name: stored.failure for name, stored in watched.all.items()}

    assert asyncio.run(read()) == {f"{name}-{number}": None for name in "abc" for number in range(10)}


async def test_any_id(state: Path) -> None:
    configs = {name: endpoint(name, api_key=f"of {name}") for name in (*ODD_IDS, "x" * 10_000)}
    async with open_file_store(state) as watched, open_file_store(state) as other:
        for config in configs.values():
            await watched.store.create(config)
        await other.store.refresh()
        assert other.configs == configs
        for name in configs:
            await other.store.replace(endpoint(name, top_n=3), other.version(name))
            await other.store.delete(name, other.version(name))
        assert other.configs == {}


async def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    """Of the directory, of the endpoints and of the key."""
    volume, real, state = tmp_path / "volume", tmp_path / "real", tmp_path / "state"
    real.mkdir()
    volume.mkdir()
    state.symlink_to(real)
    for name in ("endpoints.json", "registry.key"):
        (volume / name).touch()
        (state / name).symlink_to(volume / name)
    (volume / "endpoints.json").write_bytes(b'{"revision": 0, "endpoints": {}}')
    (volume / "registry.key").write_text(new_key())
    key = (volume / "registry.key").read_bytes()
    async with open_file_store(state) as watched, open_file_store(volume) as other:
        await watched.store.create(endpoint("a", api_key="sesame"))
        await other.store.refresh()
        assert other.configs == watched.configs == {"a": endpoint("a", api_key="sesame")}
    assert all((state / name).is_symlink() for name in ("endpoints.json", "registry.key"))
    assert state.is_symlink()
    assert (volume / "registry.key").read_bytes() == key
    assert sorted(path.name for path in real.iterdir()) == ["endpoints.json", "registry.key"]


KILLED = textwrap.dedent(
    """
    import asyncio, os, signal, sys
    from pathlib import Path
    from tests.support.stores import endpoint, open_file_store

    writes = int(sys.argv[2])

    def sync(descriptor):
        global writes
        writes -= 1
        if writes == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def main():
        async with open_file_store(Path(sys.argv[1])) as watched:
            os.fsync = sync
            await watched.store.create(endpoint("a", api_key="sesame"))

    asyncio.run(main())
    """
)


@pytest.mark.parametrize(("write", "left"), [(1, "registry.key"), (3, "endpoints.json")])
async def test_what_a_killed_process_was_writing_is_removed_by_the_next(
    state: Path, write: int, left: str
) -> None:
    """Each file is synchronised, then its directory."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(state), str(write), cwd=ROOT
    )
    assert await process.wait() == -signal.SIGKILL
    assert [name for name in modes(state) if name.startswith(f".{left}")]
    async with open_file_store(state) as watched:
        assert watched.configs == {}
        await watched.store.create(endpoint("b", api_key="sesame"))
        assert not [name for name in modes(state) if name.startswith(".") and name != "."]
        assert set(watched.configs) == {"b"}


class TestLoss:
    """The file disappears though no endpoint was deleted."""

    async def test_its_endpoints_go_on_and_nothing_takes_its_place(
        self, state: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_file_store(state, refresh_s=SOON_S) as watched:
            await watched.store.create(endpoint("a"))
            file = state / "endpoints.json"
            kept = file.read_bytes()
            file.unlink()
            await watched.store.refresh()
            for attempt in (
                watched.store.create(endpoint("b")),
                watched.store.delete("a", watched.version("a")),
            ):
                failure = await refusal(attempt)
                assert (failure.status, failure.cause.reason) == (
                    500,
                    "What held the registry of inference endpoints is gone. Those that were read from it go "
                    "on: [a]. Restore it, or start the proxy again to begin anew",
                )
            assert not file.exists()
            assert set(watched.configs) == {"a"}
            assert not watched.store.readable
            (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert told.getMessage() == f"{failure} [{file}]"
            file.write_bytes(kept)
            await watched.store.delete("a", watched.version("a"))
            assert watched.configs == {}
            assert watched.store.readable

    async def test_that_another_process_deleted_some_is_told(
        self, state: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_file_store(state) as one, open_file_store(state) as other:
            for number in range(25):
                await one.store.create(endpoint(f"{number:02}\n"))
            await other.store.refresh()
            for number in range(24):
                await one.store.delete(f"{number:02}\n", one.version(f"{number:02}\n"))
            assert caplog.records == []  # it knows what it does
            await other.store.refresh()
            (told,) = caplog.records
            assert told.levelno == logging.WARNING
            first = ", ".join(f"[{number:02}\n]" for number in range(20))
            assert told.getMessage() == (
                f"gone from the registry: inference endpoints {first} and 4 more [{state}/endpoints.json]"
            )


class TestKeys:
    async def test_another_key(self, state: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The endpoint is there, says what is wrong, and can be changed or deleted."""
        async with open_file_store(state, RING) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
            await watched.store.create(endpoint("b", api_key="sesame"))
        async with open_file_store(state, KeyRing([b"o" * 32])) as watched:
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
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
        (state / "registry.key").unlink()
        await self.check_that_no_key_is_made_in_its_place(state)

    async def test_the_configured_key_is_lost(self, state: Path) -> None:
        async with open_file_store(state, RING) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
        await self.check_that_no_key_is_made_in_its_place(state)

    async def check_that_no_key_is_made_in_its_place(self, state: Path) -> None:
        kept = (state / "endpoints.json").read_bytes()
        used = json.loads(kept)["endpoints"]["a"]["endpoint"]["secrets"].split(".")[1]
        async with open_file_store(state) as watched:
            store = watched.store
            assert "this proxy has no registry.key" in str(watched.all["a"].failure)
            assert f"the key of id [{used}]" in str(watched.all["a"].failure)
            for attempt in (
                store.create(endpoint("b", api_key="sesame")),
                store.replace(endpoint("a", api_key="other"), watched.version("a")),
            ):
                failure = await refusal(attempt)
                assert (failure.status, failure.cause.reason.partition(": the registry ")[2]) == (
                    500,
                    "cannot be written: registry.key is missing, while endpoints.json holds secrets that "
                    f"were encrypted with the key of id [{used}]; put that registry.key back, or, if "
                    "it is lost, delete the endpoints that it was for",
                )
            assert (state / "endpoints.json").read_bytes() == kept
            assert not (state / "registry.key").exists()
            await store.create(endpoint("c"))  # which needs no key
            await store.delete("a", watched.version("a"))
            await store.create(endpoint("b", api_key="sesame"))
            assert watched.all["b"].failure is None

    async def test_the_own_key_comes_back(self, state: Path) -> None:
        """Also while nothing else is written."""
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
        (state / "registry.key").rename(state / "elsewhere")
        async with open_file_store(state, refresh_s=SOON_S) as watched:
            assert watched.all["a"].failure is not None
            (state / "elsewhere").rename(state / "registry.key")
            await watched.until(lambda all_: all_["a"].failure is None)

    async def test_the_own_key_is_damaged(self, state: Path) -> None:
        async with open_file_store(state) as watched:
            await watched.store.create(endpoint("a", api_key="sesame"))
            (state / "registry.key").write_text("s3cret")
            failure = await refusal(watched.store.create(endpoint("b", api_key="sesame")))
            assert (failure.status, failure.cause.reason) == (
                500,
                "Failed to store inference endpoint [b]: the registry cannot be written: "
                "registry.key: line 1 is not a key: expected 32 random bytes in base64",
            )
            assert set(watched.configs) == {"a"}
