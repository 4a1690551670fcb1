"""The one table of settings.

Every setting is a field in `sections`. The YAML file, the environment (``RERANK_PROXY_…``), the command line
and ``docs/settings.md`` are all derived from it. Precedence: command line, environment, file, default.
"""

from .environment import CONFIG_VARIABLE
from .loading import load
from .rows import Setting, table
from .sections import (
    AsyncSearchSettings,
    EdgeSettings,
    EndpointSettings,
    EngineSettings,
    ModelSettings,
    RegistrySettings,
    RemoteSettings,
    SearchSettings,
    Settings,
    TrainedModelsSettings,
    UpstreamSettings,
)
from .values import Address, InvalidSettingsError, together

__all__ = [
    "CONFIG_VARIABLE",
    "Address",
    "AsyncSearchSettings",
    "EdgeSettings",
    "EndpointSettings",
    "EngineSettings",
    "InvalidSettingsError",
    "ModelSettings",
    "RegistrySettings",
    "RemoteSettings",
    "SearchSettings",
    "Setting",
    "Settings",
    "TrainedModelsSettings",
    "UpstreamSettings",
    "load",
    "table",
    "together",
]
