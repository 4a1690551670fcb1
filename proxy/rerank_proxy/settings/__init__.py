"""The one table of settings.

Every setting is a field in `sections`. The YAML file, the environment (``RERANK_PROXY_…``), the command line
and ``docs/settings.md`` are all derived from it. Precedence: command line, environment, file, default.
"""

from rerank_proxy.settings.environment import CONFIG_VARIABLE
from rerank_proxy.settings.loading import load
from rerank_proxy.settings.rows import Setting, table
from rerank_proxy.settings.sections import (
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
from rerank_proxy.settings.values import Address, InvalidSettingsError, together

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
