"""The service `acme`: a vendor's API."""

from typing import Any

from rerank_proxy.services import (
    API_KEY,
    MODEL_ID,
    TOP_N,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Shape,
)


class AcmeService(RemoteService):
    name = "acme"
    label = "Acme"
    base_url = "https://api.acme.example"
    path = "/rank"
    requests_per_minute = 600
    default_max_documents = 3
    service_settings = (API_KEY, MODEL_ID)
    task_settings = (TOP_N,)
    shape = Shape("ranking", index="at", score=("value",))

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "model": config.service_settings["model_id"],
            "question": request.query,
            "candidates": request.texts,
            "limit": request.top_n,
        }
