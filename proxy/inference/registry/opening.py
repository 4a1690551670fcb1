"""The store that the settings ask for."""

import os
from collections.abc import Mapping

from proxy.inference.registry.file_store import FileStore
from proxy.inference.registry.files import state_directory
from proxy.inference.registry.index_store import IndexStore, connect
from proxy.inference.registry.key_ring import KeyRing
from proxy.inference.registry.keys import configured_keys
from proxy.inference.store import EndpointStore, ReadOnlyStore
from proxy.settings import Settings


def open_store(settings: Settings, environ: Mapping[str, str] = os.environ) -> EndpointStore:
    """The store for endpoints that clients create; nothing is read or made before it is started.

    Raises:
        InvalidSettingsError: A file that the settings name cannot be used.
    """
    registry = settings.registry
    if registry.store == "none":
        return ReadOnlyStore()
    configured = configured_keys(registry)
    keys = None if configured is None else KeyRing(configured)
    if registry.store == "index":
        client = connect(settings.upstream, registry)
        return IndexStore(client, registry.index, keys, registry.refresh_s)
    return FileStore(state_directory(settings, environ), keys, registry.refresh_s)
