"""`azureaistudio`: Cohere's rerankers on Azure (``AzureAiStudioService``)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rerank_proxy.inference.remote.urls import rerank_url
from rerank_proxy.services import (
    API_KEY,
    RETURN_DOCUMENTS,
    TOP_N,
    EndpointConfig,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
)


class AzureAIStudioService(RemoteService):
    name = "azureaistudio"
    label = "Azure AI Studio"
    hosts = (
        "*.models.ai.azure.com",
        "*.inference.ai.azure.com",
        "*.inference.ml.azure.com",
        "*.services.ai.azure.com",
    )
    requests_per_minute = 240
    default_max_documents = 1000
    service_settings: ClassVar[Sequence[Setting]] = (
        API_KEY,
        Setting(
            name="target",
            kind=SettingKind.URL,
            label="Target",
            description="The target URL of your Azure AI Studio model deployment.",
            required=True,
        ),
        Setting(
            name="endpoint_type",
            label="Endpoint Type",
            description="Specifies the type of endpoint that is used in your model deployment.",
            required=True,
            choices=("token", "realtime"),
        ),
        Setting(
            name="provider",
            label="Provider",
            description="The model provider for your deployment.",
            required=True,
            choices=("cohere",),
        ),
    )
    task_settings: ClassVar[Sequence[Setting]] = (RETURN_DOCUMENTS, TOP_N)

    def url(self, config: EndpointConfig) -> str:
        """Return the URL to call: `target` itself where it is the whole URL, as newer deployments show it."""
        return rerank_url(config.service_settings["target"], "/v1/rerank")

    def urls(self, config: EndpointConfig) -> Mapping[str, str]:
        return {"target": self.url(config)}

    def headers(self, config: EndpointConfig) -> Mapping[str, str]:
        """Send the bare key where calls are paid by token (``AzureAiStudioRequest#setAuthHeader``)."""
        if config.service_settings["endpoint_type"] == "realtime":
            return super().headers(config)
        return {"Authorization": config.secrets["api_key"]}

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "documents": request.texts,
            "query": request.query,
            "return_documents": request.return_documents,
            "top_n": request.top_n,
        }
