"""`contextualai`: Contextual AI's rerankers, which follow instructions (``ContextualAiService``)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote import API_KEY, MODEL_ID, TOP_N, RemoteCall, RemoteService, Shape
from rerank_proxy.inference.service_settings import Kind, Setting


class ContextualAIService(RemoteService):
    name = "contextualai"
    label = "Contextual AI"
    base_url = "https://api.contextual.ai"
    path = "/v1/rerank"
    requests_per_minute = 1000
    shape = Shape(text=None)
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, MODEL_ID)
    task_settings: ClassVar[Sequence[Setting]] = (
        TOP_N,
        Setting(name="top_k", kind=Kind.POSITIVE_INT, label="Top K"),
        Setting(
            name="instruction",
            label="Instruction",
            description="Instructions for the model, which it follows when it judges relevance.",
        ),
    )

    def top_n(self, config: EndpointConfig) -> int | None:
        """Elasticsearch's specification calls the setting `top_k`, its service `top_n`."""
        limit = super().top_n(config)
        return limit if limit is not None else config.task_settings.get("top_k")

    def body(self, config: EndpointConfig, call: RemoteCall) -> Any:
        return {
            "query": call.query,
            "documents": call.texts,
            "model": config.service_settings["model_id"],
            "top_n": call.top_n,
            "instruction": call.task_settings.get("instruction"),
        }
