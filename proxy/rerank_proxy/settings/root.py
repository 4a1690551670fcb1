"""The root of the settings table."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rerank_proxy.settings.sections.endpoints import (
    EndpointSettings,
    InferenceSettings,
    RegistrySettings,
    RemoteSettings,
)
from rerank_proxy.settings.sections.log import LogSettings
from rerank_proxy.settings.sections.models import EngineSettings, ModelSettings, TrainedModelsSettings
from rerank_proxy.settings.sections.online import OnlineSettings
from rerank_proxy.settings.sections.relay import (
    AdminSettings,
    EdgeSettings,
    LifecycleSettings,
)
from rerank_proxy.settings.sections.searches import AsyncSearchSettings, SearchSettings
from rerank_proxy.settings.sections.tls import ListenerTlsSettings
from rerank_proxy.settings.sections.tracing import TracingSettings
from rerank_proxy.settings.sections.upstream import UpstreamSettings
from rerank_proxy.settings.values import REVEAL, SHORT_FORMS, Address, ListenAddress, Reloaded, expand


def _absent_models() -> dict[str, ModelSettings]:
    return {}


def _absent_endpoints() -> dict[str, EndpointSettings]:
    return {}


class Settings(BaseModel):
    """All settings of a proxy. `rerank_proxy.settings.load` makes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    listen: ListenAddress = Field(Address("127.0.0.1", 9201), description="Where clients connect.")
    admin: Annotated[AdminSettings, expand(SHORT_FORMS["admin"])] = Field(
        AdminSettings(), description="Probes and metrics, on a separate port."
    )
    tls: ListenerTlsSettings = Field(
        ListenerTlsSettings(), description="TLS of the clients' listener; its files may change at any time."
    )
    upstream: Annotated[UpstreamSettings, expand(SHORT_FORMS["upstream"])] = Field(
        UpstreamSettings(), description="The Elasticsearch behind the proxy."
    )
    models: dict[str, Annotated[ModelSettings, expand("source")]] = Field(
        default_factory=_absent_models, description="Models on this machine, by names of your choice."
    )
    endpoints: Reloaded[dict[str, Annotated[EndpointSettings, expand("model")]]] = Field(
        default_factory=_absent_endpoints,
        description="Preconfigured inference endpoints, which no request can change, by `inference_id`. A "
        "search that names none uses `.rerank-v1-elasticsearch`.",
    )
    inference: InferenceSettings = Field(
        InferenceSettings(), description="The `_inference` API, for the task type `rerank`."
    )
    registry: RegistrySettings = Field(
        RegistrySettings(), description="Endpoints that clients create with `PUT _inference`."
    )
    search: SearchSettings = Field(SearchSettings(), description="Reranked searches.")
    remote: RemoteSettings = Field(
        RemoteSettings(), description="Endpoints of remote services: Cohere, Jina AI, a server of your own …"
    )
    async_search: AsyncSearchSettings = Field(
        AsyncSearchSettings(),
        description="`_async_search` with a reranker, whose answers the proxy keeps itself.",
    )
    online: OnlineSettings = Field(
        OnlineSettings(),
        description="What users click, and comparisons with them. See [online](online.md).",
    )
    trained_models: TrainedModelsSettings = Field(
        TrainedModelsSettings(), description="Models that clients upload."
    )
    engine: EngineSettings = Field(EngineSettings(), description="Inference on this machine.")
    edge: EdgeSettings = Field(EdgeSettings(), description="The process that relays bytes.")
    tracing: TracingSettings = Field(
        TracingSettings(), description="Spans of reranked searches, for a collector of OpenTelemetry."
    )
    lifecycle: LifecycleSettings = Field(LifecycleSettings(), description="Stopping.")
    state_dir: Path | None = Field(
        None,
        description="The directory for everything that outlives the process, made when it is first needed. "
        "Absent: `rerank-proxy` in `$XDG_STATE_HOME`, or in `~/.local/state`.",
    )
    log: LogSettings = Field(
        LogSettings(), description="What the proxy says about itself. See [logging](logging.md)."
    )

    def dump_with_secrets(self) -> str:
        """Return JSON for another process of the proxy. An ordinary dump hides the secrets."""
        return self.model_dump_json(context={REVEAL: True})
