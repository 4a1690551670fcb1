"""`alibabacloud-ai-search`: rerankers of Alibaba Cloud's AI Search (``AlibabaCloudSearchService``)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rerank_proxy.inference.remote.urls import authority, checked, segment
from rerank_proxy.services import API_KEY, EndpointConfig, RemoteService, RerankRequest, Setting, Shape


class AlibabaCloudAISearchService(RemoteService):
    name = "alibabacloud-ai-search"
    label = "AlibabaCloud AI Search"
    hosts = ("*.opensearch.aliyuncs.com",)
    requests_per_minute = 1000
    ranks = False
    top_n_setting = None
    shape = Shape(rows="result.scores", score=("score",), text=None)
    service_settings: ClassVar[Sequence[Setting]] = (
        API_KEY,
        Setting(
            name="service_id",
            label="Project ID",
            description="The name of the model service to use for the inference task.",
            required=True,
            check=checked("service_id", segment),
        ),
        Setting(
            name="host",
            label="Host",
            description="The name of the host address used for the inference task.",
            required=True,
            check=checked("host", authority),
        ),
        Setting(
            name="workspace",
            label="Workspace",
            description="The name of the workspace used for the inference task.",
            required=True,
            check=checked("workspace", segment),
        ),
        Setting(
            name="http_schema",
            label="HTTP Schema",
            description="Whether the host is called by https, the default, or http.",
            choices=("https", "http"),
        ),
    )

    def url(self, config: EndpointConfig) -> str:
        settings = config.service_settings
        workspace, service_id = (segment(settings[name]) for name in ("workspace", "service_id"))
        scheme = settings.get("http_schema", "https")
        path = f"/v3/openapi/workspaces/{workspace}/ranker/{service_id}"
        return f"{scheme}://{authority(settings['host'])}{path}"

    def urls(self, config: EndpointConfig) -> Mapping[str, str]:
        return {"host": self.url(config)}

    def model(self, config: EndpointConfig) -> str:
        return str(config.service_settings["service_id"])

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {"query": request.query, "docs": request.texts}
