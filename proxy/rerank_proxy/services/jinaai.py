"""`jinaai`: Jina AI's rerank API (``JinaAIService``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

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
)

_LISTWISE: Final = "jina-reranker-v3"


class JinaAIService(RemoteService):
    name = "jinaai"
    label = "Jina AI"
    base_url = "https://api.jina.ai"
    path = "/v1/rerank"
    requests_per_minute = 2000
    default_max_documents = 2048
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, MODEL_ID, replace(URL, required=False))
    task_settings: ClassVar[Sequence[Setting]] = (TOP_N, RETURN_DOCUMENTS)

    def pointwise(self, config: EndpointConfig) -> bool:
        """Return whether texts may be split: version 3 compares them with each other."""
        return not self.model(config).startswith(_LISTWISE)

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "model": config.service_settings["model_id"],
            "query": request.query,
            "documents": request.texts,
            "top_n": request.top_n,
            "return_documents": request.return_documents,
        }
