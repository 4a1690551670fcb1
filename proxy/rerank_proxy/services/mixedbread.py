"""`mixedbread`: Mixedbread's rerank API (``MixedbreadService``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

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
    Shape,
)


class MixedbreadService(RemoteService):
    name = "mixedbread"
    label = "Mixedbread"
    base_url = "https://api.mixedbread.com"
    path = "/v1/rerank"
    hosts = ("api.mixedbread.ai",)
    requests_per_minute = 3000
    shape = Shape(rows="data", score=("score",), text="input")
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, MODEL_ID, replace(URL, required=False))
    task_settings: ClassVar[Sequence[Setting]] = (TOP_N, RETURN_DOCUMENTS)

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "model": config.service_settings["model_id"],
            "query": request.query,
            "input": request.texts,
            "top_k": request.top_n,
            "return_input": request.return_documents,
        }
