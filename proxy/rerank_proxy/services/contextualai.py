"""`contextualai`: Contextual AI's rerankers, which follow instructions (``ContextualAiService``)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from rerank_proxy.services import (
    API_KEY,
    MODEL_ID,
    TOP_N,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
    Shape,
)


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
        Setting(name="top_k", kind=SettingKind.POSITIVE_INT, label="Top K"),
        Setting(
            name="instruction",
            label="Instruction",
            description="Instructions for the model, which it follows when it judges relevance.",
        ),
    )

    def top_n(self, config: EndpointConfig) -> int | None:
        """Return the limit: `top_n` in Elasticsearch's service, `top_k` in its specification."""
        limit = super().top_n(config)
        return limit if limit is not None else config.task_settings.get("top_k")

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "query": request.query,
            "documents": request.texts,
            "model": config.service_settings["model_id"],
            "top_n": request.top_n,
            "instruction": request.task_settings.get("instruction"),
        }
