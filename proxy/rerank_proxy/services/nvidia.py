"""`nvidia`: NVIDIA's rerankers, hosted or as self-hosted NIM (``NvidiaService``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from rerank_proxy.services import (
    API_KEY,
    MODEL_ID,
    URL,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Setting,
    Shape,
)


class NvidiaService(RemoteService):
    """Scores are raw logits. The API has no `top_n`, so that the proxy cuts the results."""

    name = "nvidia"
    label = "Nvidia"
    base_url = "https://ai.api.nvidia.com"
    path = "/v1/retrieval/nvidia/reranking"
    hosts = ("integrate.api.nvidia.com",)
    requests_per_minute = 3000
    default_max_documents = 512
    ranks = False
    top_n_setting = None
    shape = Shape(rows="rankings", score=("logit",), text=None)
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, MODEL_ID, replace(URL, required=False))

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "model": config.service_settings["model_id"],
            "query": {"text": request.query},
            "passages": [{"text": text} for text in request.texts],
        }
