"""`openshift_ai`: models that Red Hat OpenShift AI serves, usually by vLLM (``OpenShiftAiService``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    TOP_N,
    URL,
    RemoteCall,
    RemoteService,
)
from rerank_proxy.inference.service_settings import Setting


class OpenShiftAIService(RemoteService):
    """`url` is that of the whole call."""

    name = "openshift_ai"
    label = "OpenShift AI"
    requests_per_minute = 3000
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, URL, replace(MODEL_ID, required=False))
    task_settings: ClassVar[Sequence[Setting]] = (RETURN_DOCUMENTS, TOP_N)

    def body(self, config: EndpointConfig, call: RemoteCall) -> Any:
        return {
            "model": config.service_settings.get("model_id"),
            "query": call.query,
            "documents": call.texts,
            "top_n": call.top_n,
            "return_documents": call.return_documents,
        }
