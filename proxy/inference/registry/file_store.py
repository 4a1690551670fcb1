"""Endpoints in a file of the state directory, for one proxy and what else runs on that directory."""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from filelock import FileLock, Timeout

from proxy.file_names import without_directories
from proxy.inference.configuration import EndpointConfig
from proxy.inference.failures import InferenceFailedError, not_found, status_error
from proxy.inference.registry import files
from proxy.inference.registry.documents import to_document
from proxy.inference.registry.following import FollowingStore
from proxy.inference.registry.key_ring import KeyRing
from proxy.inference.registry.keys import OwnKeys
from proxy.inference.store import StoredEndpoint, already_exists, changed_meanwhile

logger = logging.getLogger(__name__)

FILE: Final = "endpoints.json"
_LOCK_TIMEOUT_S: Final = 10.0
_Stamp = tuple[int, int, int]


class _Entry(msgspec.Struct):
    """`revision` is that of the whole file when the endpoint was written: it never comes again."""

    revision: int
    endpoint: Any


class _Content(msgspec.Struct):
    revision: int = 0
    endpoints: dict[str, _Entry] = {}


class FileStore(FollowingStore):
    """An `EndpointStore` in `endpoints.json`.

    Args:
        directory: Made on the first write.
        keys: None: those of a key file in the directory, which is made when it is first needed.
    """

    def __init__(self, directory: Path, keys: KeyRing | None, refresh_s: float) -> None:
        super().__init__(refresh_s)
        self._path: Final = directory / FILE
        self._configured: Final = keys
        self._own: Final = OwnKeys(directory)
        self._stamp: _Stamp | None = None

    async def _read(self) -> Mapping[str, StoredEndpoint]:
        try:
            return await asyncio.to_thread(self._load)
        except (OSError, ValueError) as error:
            raise _failed("The registry of inference endpoints cannot be read", error) from None

    async def create(self, config: EndpointConfig) -> None:
        def change(content: _Content) -> None:
            if config.inference_id in content.endpoints:
                raise already_exists(config.inference_id)
            self._put(content, config)

        await self._write(config.inference_id, change)

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        def change(content: _Content) -> None:
            _check_version(content, config.inference_id, version)
            self._put(content, config)

        await self._write(config.inference_id, change)

    async def delete(self, inference_id: str, version: Any) -> None:
        def change(content: _Content) -> None:
            _check_version(content, inference_id, version)
            del content.endpoints[inference_id]

        await self._write(inference_id, change)

    async def _write(self, inference_id: str, change: Callable[[_Content], None]) -> None:
        async with self._turn:
            try:
                await asyncio.to_thread(self._change, change)
            except (OSError, ValueError, NotImplementedError) as error:
                what = f"Failed to store inference endpoint [{inference_id}]: the registry cannot be written"
                failure = _failed(what, error)
                logger.warning("%s", failure.in_full)
                raise failure from None
            await self._read_back()

    def _change(self, change: Callable[[_Content], None]) -> None:
        files.make_private_directory(self._path.parent)
        with FileLock(f"{self._path}.lock", timeout=_LOCK_TIMEOUT_S, mode=0o600):
            content = self._content()[0]
            content.revision += 1
            change(content)
            files.replace(self._path, msgspec.json.format(msgspec.json.encode(content)))

    def _put(self, content: _Content, config: EndpointConfig) -> None:
        keys = self._configured
        if keys is None and config.secrets:
            keys = KeyRing(self._own.read_or_make())
        content.endpoints[config.inference_id] = _Entry(content.revision, to_document(config, keys))

    def _load(self) -> Mapping[str, StoredEndpoint]:
        if self._stamp is not None and self._stamp == _stamp(self._path):
            return self._endpoints
        content, stamp = self._content()
        keys = self._configured
        if keys is None and (own := self._own.read()) is not None:
            keys = KeyRing(own)
        decoded = self._decoded(
            {name: (entry.endpoint, entry.revision) for name, entry in content.endpoints.items()}, keys
        )
        self._stamp = stamp
        return decoded

    def _content(self) -> tuple[_Content, _Stamp | None]:
        """What the file holds, and what tells this file from its successors.

        Raises:
            OSError: It cannot be read.
            ValueError: It holds something else.
        """
        try:
            with self._path.open("rb") as file:
                stamp = _stamp_of(os.fstat(file.fileno()))
                data = file.read()
        except FileNotFoundError:
            return _Content(), None
        try:
            return msgspec.json.decode(data, type=_Content), stamp
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self._path} is damaged ({error}); restore it from a backup, or move it away to begin anew"
            ) from None


def _check_version(content: _Content, inference_id: str, version: Any) -> None:
    entry = content.endpoints.get(inference_id)
    if entry is None:
        raise not_found(inference_id)
    if entry.revision != version:
        raise changed_meanwhile(inference_id)


def _stamp(path: Path) -> _Stamp | None:
    try:
        return _stamp_of(path.stat())
    except FileNotFoundError:
        return None


def _stamp_of(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _failed(what: str, error: Exception) -> InferenceFailedError:
    problem = _problem(error)
    failure = status_error(500, f"{what}: {without_directories(problem)}")
    failure.in_full = f"{what}: {problem}"
    return failure


def _problem(error: Exception) -> str:
    if isinstance(error, Timeout):
        return f"another process has held {error.lock_file} for {_LOCK_TIMEOUT_S:g} s"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
