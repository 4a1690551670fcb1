"""The settings: one table, from which everything about them is derived.

Every setting is a field of a class in `sections`, or of the root of the table. The YAML file, the environment
(``RERANK_PROXY_…``), the command line and ``docs/settings.md`` are derived from them, and a setting for the
file of each secret. Precedence: command line, environment, directory of secrets, file, default.
"""

from rerank_proxy.settings.loading import Loaded, Origin, load, load_with_origins
from rerank_proxy.settings.named_values import CONFIG_VARIABLE, SECRETS_DIR_VARIABLE
from rerank_proxy.settings.reloading import Reload, reload
from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.rows import SettingRow, table
from rerank_proxy.settings.sections.endpoints import (
    EndpointSettings,
    InferenceSettings,
    RegistrySettings,
    RemoteSettings,
)
from rerank_proxy.settings.sections.log import LogSettings
from rerank_proxy.settings.sections.models import EngineSettings, ModelSettings, TrainedModelsSettings
from rerank_proxy.settings.sections.online import OnlineSettings
from rerank_proxy.settings.sections.relay import AdminSettings, EdgeSettings, LifecycleSettings
from rerank_proxy.settings.sections.searches import AsyncSearchSettings, SearchSettings
from rerank_proxy.settings.sections.tls import ListenerTlsSettings
from rerank_proxy.settings.sections.tracing import TracingSettings
from rerank_proxy.settings.sections.upstream import UpstreamSettings
from rerank_proxy.settings.values import Address, InvalidSettingsError, together

__all__ = [
    "CONFIG_VARIABLE",
    "SECRETS_DIR_VARIABLE",
    "Address",
    "AdminSettings",
    "AsyncSearchSettings",
    "EdgeSettings",
    "EndpointSettings",
    "EngineSettings",
    "InferenceSettings",
    "InvalidSettingsError",
    "LifecycleSettings",
    "ListenerTlsSettings",
    "Loaded",
    "LogSettings",
    "ModelSettings",
    "OnlineSettings",
    "Origin",
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
    "load_with_origins",
    "reload",
    "table",
    "together",
]
