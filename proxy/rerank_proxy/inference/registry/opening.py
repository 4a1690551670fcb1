"""Opens the store that the settings ask for."""

import logging
import os
from collections.abc import Mapping
from typing import Final

from rerank_proxy.files import privacy
from rerank_proxy.files.state import state_directory
from rerank_proxy.inference.registry.file_store import FILE, FileStore
from rerank_proxy.inference.registry.index_client import IndexClient
from rerank_proxy.inference.registry.index_store import IndexStore
from rerank_proxy.inference.registry.key_ring import KeyRing
from rerank_proxy.inference.registry.keys import KEY_FILE, configured_keys
from rerank_proxy.inference.store import EndpointStore, ReadOnlyStore
from rerank_proxy.settings import InvalidSettingsError, Settings

logger = logging.getLogger(__name__)

_NOT_WRITABLE: Final = 0o022
_PRIVATE: Final = 0o077


def weaknesses(settings: Settings, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return what others could do to the state of this proxy and to its keys, a sentence each."""
    found = []
    if settings.registry.key_file is not None:
        found += privacy.weaknesses(settings.registry.key_file, _PRIVATE)
    try:
        state = state_directory(settings, environ)
    except InvalidSettingsError:  # which is raised again where the directory is needed
        return found
    found += privacy.weaknesses(state, _NOT_WRITABLE)
    found += privacy.weaknesses_above(state)
    if settings.registry.store == "file":
        found += privacy.weaknesses(state / FILE, _NOT_WRITABLE)
        found += privacy.weaknesses(state / KEY_FILE, _PRIVATE)
    return found


def place(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the endpoints are stored, to be shown to the operator.

    Raises:
        InvalidSettingsError: There is no directory for them.
    """
    registry = settings.registry
    if registry.store == "file":
        return str(state_directory(settings, environ) / FILE)
    return f"index {registry.index}" if registry.store == "index" else "settings"


def open_store(settings: Settings, environ: Mapping[str, str] = os.environ) -> EndpointStore:
    """Return the store for endpoints that clients create. It reads and writes nothing before it is started.

    Log what others could do to its files.

    Raises:
        InvalidSettingsError: A file that the settings name cannot be used.
    """
    for weakness in weaknesses(settings, environ):
        logger.warning("%s", weakness)
    registry = settings.registry
    if registry.store == "none":
        return ReadOnlyStore()
    configured = configured_keys(registry)
    keys = None if configured is None else KeyRing(configured)
    if registry.store == "index":
        client = IndexClient(settings.upstream, registry)
        return IndexStore(client, registry.index, keys, registry.refresh_s)
    return FileStore(state_directory(settings, environ), keys, registry.refresh_s)
