"""`voyageai`: Voyage AI's rerank API (``VoyageAIService``)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    RemoteCall,
    RemoteService,
    Shape,
)
from rerank_proxy.inference.service_settings import Kind, Setting

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
        Setting(name="top_k", kind=Kind.POSITIVE_INT, label="Top K"),
        RETURN_DOCUMENTS,
        Setting(name="truncation", kind=Kind.BOOLEAN, label="Truncation"),
    )

    def base(self, config: EndpointConfig) -> str:
        """Keys of MongoDB Atlas have a server of their own."""
        base = super().base(config)
        is_atlas = config.secrets["api_key"].startswith(_ATLAS_KEY)
        return _ATLAS_URL if is_atlas and base == self.base_url else base

    def body(self, config: EndpointConfig, call: RemoteCall) -> Any:
        return {
            "model": config.service_settings["model_id"],
            "query": call.query,
            "documents": call.texts,
            "return_documents": call.return_documents,
            "top_k": call.top_n,
            "truncation": call.task_settings.get("truncation"),
        }
