"""`cohere`: Cohere's rerank API, versions 1 and 2 (``CohereService``)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from rerank_proxy.inference.remote.urls import rerank_url
from rerank_proxy.services import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    TOP_N,
    URL,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
)

API_VERSION: Final = "api_version"
_MAX_CHUNKS: Final = 10_000
_PATHS: Final = {"V1": "/v1/rerank", "V2": "/v2/rerank"}


class CohereService(RemoteService):
    """New endpoints use version 2, unless their URL is one of version 1. The version is recorded with the
    endpoint (``CohereCommonServiceSettings``).
    """

    name = "cohere"
    label = "Cohere"
    base_url = "https://api.cohere.com"
    hosts = ("api.cohere.ai",)
    requests_per_minute = 10_000
    default_max_documents = 1000
    service_settings: ClassVar[Sequence[Setting]] = (
        API_KEY,
        replace(MODEL_ID, required=False),
        replace(URL, required=False),
        Setting(name="similarity", dropped=True),
        Setting(name="dimensions", kind=SettingKind.POSITIVE_INT, dropped=True),
        Setting(name="max_input_tokens", kind=SettingKind.POSITIVE_INT, dropped=True),
    )
    task_settings: ClassVar[Sequence[Setting]] = (
        TOP_N,
        RETURN_DOCUMENTS,
        Setting(name="max_chunks_per_doc", kind=SettingKind.POSITIVE_INT, label="Max Chunks per Doc"),
    )

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        version = "V1" if config.service_settings.get("url", "").endswith(_PATHS["V1"]) else "V2"
        config = replace(config, internal={API_VERSION: version})
        if version == "V2" and MODEL_ID.name not in config.service_settings:
            faults.append("[service_settings] does not contain the required setting [model_id]")
        return super().check_settings(config, faults)

    def url(self, config: EndpointConfig) -> str:
        """Return the URL to call. The setting `url` may be the whole URL, or its beginning."""
        base = str(config.service_settings.get("url", self.base(config)))
        path = _PATHS[config.internal.get(API_VERSION, "V2")]
        return rerank_url(base, path)

    def max_documents(self, config: EndpointConfig) -> int | None:
        """Return the most texts in one call. Version 1 limits documents times chunks."""
        limit = super().max_documents(config)
        chunks: int | None = config.task_settings.get("max_chunks_per_doc")
        if limit is None or chunks is None or config.internal.get(API_VERSION) != "V1":
            return limit
        return min(limit, max(1, _MAX_CHUNKS // chunks))

    def headers(self, config: EndpointConfig) -> Mapping[str, str]:
        return {**super().headers(config), "Request-Source": "unspecified:elasticsearch"}

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        """Return one body for both versions; the second ignores what it has no member for."""
        return {
            "model": config.service_settings.get("model_id"),
            "query": request.query,
            "documents": request.texts,
            "return_documents": request.return_documents,
            "top_n": request.top_n,
            "max_chunks_per_doc": request.task_settings.get("max_chunks_per_doc"),
        }
