"""`voyageai`: Voyage AI's rerank API (``VoyageAIService``)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rerank_proxy.services import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
    Shape,
)

_ATLAS_URL: Final = "https://ai.mongodb.com"
_ATLAS_KEY: Final = "al-"


class VoyageAIService(RemoteService):
    name = "voyageai"
    label = "Voyage AI"
    base_url = "https://api.voyageai.com"
    path = "/v1/rerank"
    hosts = ("ai.mongodb.com",)
    requests_per_minute = 2000
    default_max_documents = 1000
    top_n_setting = "top_k"
    shape = Shape(rows="data")
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, MODEL_ID)
    task_settings: ClassVar[Sequence[Setting]] = (
        Setting(name="top_k", kind=SettingKind.POSITIVE_INT, label="Top K"),
        RETURN_DOCUMENTS,
        Setting(name="truncation", kind=SettingKind.BOOLEAN, label="Truncation"),
    )

    def base(self, config: EndpointConfig) -> str:
        """Return the vendor's server, which is another one for keys of MongoDB Atlas."""
        base = super().base(config)
        is_atlas = config.secrets["api_key"].startswith(_ATLAS_KEY)
        return _ATLAS_URL if is_atlas and base == self.base_url else base

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "model": config.service_settings["model_id"],
            "query": request.query,
            "documents": request.texts,
            "return_documents": request.return_documents,
            "top_k": request.top_n,
            "truncation": request.task_settings.get("truncation"),
        }
