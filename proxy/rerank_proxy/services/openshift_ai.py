"""`openshift_ai`: models that Red Hat OpenShift AI serves, usually by vLLM (``OpenShiftAiService``)."""

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
)


class OpenShiftAIService(RemoteService):
    """The setting `url` is the whole URL."""

    name = "openshift_ai"
    label = "OpenShift AI"
    requests_per_minute = 3000
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, URL, replace(MODEL_ID, required=False))
    task_settings: ClassVar[Sequence[Setting]] = (RETURN_DOCUMENTS, TOP_N)

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "model": config.service_settings.get("model_id"),
            "query": request.query,
            "documents": request.texts,
            "top_n": request.top_n,
            "return_documents": request.return_documents,
        }
