"""What backends are written with: with `rerank_proxy.services` the public surface for plug-ins, see there."""

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.plugins import Plugin, PluginModel
from rerank_proxy.settings import EngineSettings, ModelSettings

__all__ = ["EngineSettings", "ModelLoadError", "ModelSettings", "Plugin", "PluginModel"]
