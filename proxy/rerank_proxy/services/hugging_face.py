"""`hugging_face`: text-embeddings-inference, hosted or self-hosted (``HuggingFaceService``)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from rerank_proxy.services import (
    API_KEY,
    RETURN_DOCUMENTS,
    TOP_N,
    URL,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Setting,
    Shape,
)


class HuggingFaceService(RemoteService):
    """The setting `url` is the whole URL, which ends in `/rerank`."""

    name = "hugging_face"
    label = "Hugging Face"
    hosts = ("*.endpoints.huggingface.cloud", "router.huggingface.co", "api-inference.huggingface.co")
    requests_per_minute = 3000
    default_max_documents = 32
    ranks = False
    shape = Shape(rows="", score=("score", "relevance_score"), text="text")
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, URL)
    task_settings: ClassVar[Sequence[Setting]] = (TOP_N, RETURN_DOCUMENTS)

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "query": request.query,
            "texts": request.texts,
            "return_text": request.return_documents,
            "top_n": request.top_n,
        }

    def advice(self, status: int, message: str) -> str | None:
        advice = super().advice(status, message)
        return advice and f"{advice}, or start it with a larger [--max-client-batch-size]"
