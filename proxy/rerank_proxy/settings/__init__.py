"""The settings: one table, from which everything about them is derived.

Every setting is a field of a class in `sections`, or of the root of the table. The YAML file, the environment
(``RERANK_PROXY_…``), the command line and ``docs/settings.md`` are derived from them. Precedence: command
line, environment, file, default.
"""

from rerank_proxy.settings.environment import CONFIG_VARIABLE
from rerank_proxy.settings.loading import load
from rerank_proxy.settings.reloading import Reload, reload
from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.rows import SettingRow, table
from rerank_proxy.settings.sections.endpoints import EndpointSettings, RegistrySettings, RemoteSettings
from rerank_proxy.settings.sections.models import EngineSettings, ModelSettings, TrainedModelsSettings
from rerank_proxy.settings.sections.relay import EdgeSettings, LifecycleSettings
from rerank_proxy.settings.sections.searches import AsyncSearchSettings, SearchSettings
from rerank_proxy.settings.sections.tls import ListenerTlsSettings
from rerank_proxy.settings.sections.tracing import TracingSettings
from rerank_proxy.settings.sections.upstream import UpstreamSettings
from rerank_proxy.settings.values import Address, InvalidSettingsError, together

__all__ = [
    "CONFIG_VARIABLE",
    "Address",
    "AsyncSearchSettings",
    "EdgeSettings",
    "EndpointSettings",
    "EngineSettings",
    "InvalidSettingsError",
    "LifecycleSettings",
    "ListenerTlsSettings",
    "ModelSettings",
    "RegistrySettings",
    "Reload",
    "RemoteSettings",
    "SearchSettings",
    "SettingRow",
    "Settings",
    "TracingSettings",
    "TrainedModelsSettings",
    "UpstreamSettings",
    "load",
    "reload",
    "table",
    "together",
]
