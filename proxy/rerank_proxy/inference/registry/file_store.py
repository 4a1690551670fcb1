"""Endpoints in a file of the state directory, for one proxy and what else runs on that directory."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from rerank_proxy.files import atomic, regular
from rerank_proxy.files.state import make_private_directory, unwritable_text
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import not_found, status_error
from rerank_proxy.inference.registry import content as contents
from rerank_proxy.inference.registry.content import Content, DamagedFileError, Entry
from rerank_proxy.inference.registry.documents import key_of, to_document
from rerank_proxy.inference.registry.following import FollowingStore
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.registry.keys import KEY_FILE, OwnKeys
from rerank_proxy.inference.store import StoredEndpoint, already_exists, changed_meanwhile

logger = logging.getLogger(__name__)

FILE: Final = "endpoints.json"
_MAX_FILE_BYTES: Final = 64 * 2**20
_LOCK_TIMEOUT_S: Final = 10.0
_Stamps = tuple[regular.Stamp | None, regular.Stamp | None]
"""Those of the endpoints' file and of the key's, which may be put back later."""
_NONE: Final = (None, None)


class FileStore(FollowingStore):
    """An `EndpointStore` in `endpoints.json`.

    Args:
        directory: Made on the first write.
        keys: None for those of a key file in the directory, which is made when it is first needed.
    """

    def __init__(self, directory: Path, keys: KeyRing | None, refresh_s: float) -> None:
        super().__init__(refresh_s, where=str(directory / FILE))
        self._path: Final = directory / FILE
        self._configured: Final = keys
        self._own: Final = OwnKeys(directory)
        self._stamps: _Stamps = _NONE
        self._latest: Mapping[str, StoredEndpoint] | None = None
        self._damage: str | None = None

    async def _read(self) -> Mapping[str, StoredEndpoint] | None:
        try:
            return await asyncio.to_thread(self._load)
        except (OSError, ValueError) as error:
            raise status_error(
                500, f"The registry of inference endpoints cannot be read: {_problem(error)}"
            ) from None

    async def create(self, config: EndpointConfig) -> None:
        def change(content: Content) -> None:
            if config.inference_id in content.endpoints:
                raise already_exists(config.inference_id)
            self._put(content, config)

        await self._write(config.inference_id, change)

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        def change(content: Content) -> None:
            _check_version(content, config.inference_id, version)
            self._put(content, config)

        await self._write(config.inference_id, change)

    async def delete(self, inference_id: str, version: Any) -> None:
        def change(content: Content) -> None:
            _check_version(content, inference_id, version)
            del content.endpoints[inference_id]

        await self._write(inference_id, change)

    async def _write(self, inference_id: str, change: Callable[[Content], None]) -> None:
        async with self._turn:
            try:
                await asyncio.to_thread(self._change, change)
            except (OSError, ValueError, NotImplementedError) as error:
                if isinstance(error, OSError) and not isinstance(error, Timeout):
                    logger.error(
                        "an inference endpoint could not be stored: %s", unwritable_text(error, self._path)
                    )
                raise status_error(
                    500,
                    f"Failed to store inference endpoint [{inference_id}]: the registry cannot be written: "
                    f"{_problem(error)}",
                ) from None
            await self._read_back(inference_id)

    def _change(self, change: Callable[[Content], None]) -> None:
        make_private_directory(self._path.parent)
        # Beside the file that is written: several directories may have symbolic links to one.
        with FileLock(f"{atomic.target(self._path)}.lock", timeout=_LOCK_TIMEOUT_S, mode=0o600):
            for file in (self._path, self._own.path):
                atomic.remove_half_written(file)
            found = self._content()
            self._refuse_loss(exists=found is not None)
            content = Content(0, {}) if found is None else found
            content.revision += 1
            change(content)
            data = contents.render(content)
            if len(data) > _MAX_FILE_BYTES:
                raise ValueError(f"{FILE} would be larger than {_MAX_FILE_BYTES} bytes")
            atomic.replace(self._path, data)

    def _put(self, content: Content, config: EndpointConfig) -> None:
        keys = self._configured
        if keys is None and config.secrets:
            keys = KeyRing(self._own.read() or self._new_key(content))
        content.endpoints[config.inference_id] = Entry(content.revision, to_document(config, keys))

    def _new_key(self, content: Content) -> list[bytes]:
        """Make a key, for the first secrets only: a later one would hide that the first is lost."""
        used = {key_of(bytes(entry.endpoint)) for entry in content.endpoints.values()} - {None}
        if used:
            ids = ", ".join(sorted(map(str, used)))
            raise ValueError(
                f"{KEY_FILE} is missing, while {FILE} holds secrets that were encrypted with the key of id "
                f"[{ids}]; put that {KEY_FILE} back, or, if it is lost, delete the endpoints that it was for"
            )
        return self._own.make()

    def _load(self) -> Mapping[str, StoredEndpoint] | None:
        stamps = (regular.stamp(self._path), regular.stamp(self._own.path))
        if stamps[0] is None or stamps != self._stamps:
            self._stamps, self._latest, self._damage = _NONE, None, None
            try:
                found = self._content()
            except DamagedFileError as error:
                self._damage = str(error)
            else:
                self._latest = None if found is None else self._decoded(_documents(found), self._keys())
            self._stamps = stamps
        if self._damage is not None:
            raise DamagedFileError(self._damage)
        return self._latest

    def _keys(self) -> KeyRing | None:
        if self._configured is not None:
            return self._configured
        own = self._own.read()
        return None if own is None else KeyRing(own)

    def _content(self) -> Content | None:
        """Return the content of the file; None when there is no file.

        Raises:
            OSError, UnfitFileError: It cannot be read.
            DamagedFileError: It does not hold a registry.
        """
        data = regular.read_if_exists(self._path, _MAX_FILE_BYTES)
        try:
            return None if data is None else contents.parse(data)
        except DamagedFileError as error:
            raise DamagedFileError(
                f"{FILE} is damaged ({error}); restore it from a backup, or move it away and start the proxy "
                "again to begin anew"
            ) from None


def _documents(content: Content) -> dict[str, tuple[bytes, int]]:
    return {name: (bytes(entry.endpoint), entry.revision) for name, entry in content.endpoints.items()}


def _check_version(content: Content, inference_id: str, version: Any) -> None:
    entry = content.endpoints.get(inference_id)
    if entry is None:
        raise not_found(inference_id)
    if entry.revision != version:
        raise changed_meanwhile(inference_id)


def _problem(error: Exception) -> str:
    """Return what went wrong, without directories: clients see it."""
    if isinstance(error, Timeout):
        return f"another process has held {Path(error.lock_file).name} for {_LOCK_TIMEOUT_S:g} s"
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}" if error.filename else error.strerror
    return str(error)
