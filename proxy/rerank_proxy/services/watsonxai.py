"""`watsonxai`: rerankers of IBM watsonx.ai (``IbmWatsonxService``)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from rerank_proxy.inference.remote.urls import below
from rerank_proxy.services import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    TOP_N,
    URL,
    Deadline,
    EndpointConfig,
    HttpCall,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
    Shape,
    bearer,
    digest,
    form_call,
    json_call,
)

_GRANT: Final = "urn:ibm:params:oauth:grant-type:apikey"
_TOKEN_PATH: Final = "/identity/token"


class WatsonxAIService(RemoteService):
    """IBM Cloud's IAM, whose address `base_url` is, exchanges an API key for a token."""

    name = "watsonxai"
    label = "IBM watsonx"
    base_url = "https://iam.cloud.ibm.com"
    hosts = ("*.ml.cloud.ibm.com",)
    requests_per_minute = 120
    default_max_documents = 1000
    shape = Shape(score=("score",), text="input")
    service_settings: ClassVar[Sequence[Setting]] = (
        API_KEY,
        Setting(
            name="api_version",
            label="API Version",
            description="The IBM watsonx API version to use, a date as YYYY-MM-DD.",
            required=True,
        ),
        Setting(
            name="project_id",
            label="Project ID",
            description="The IBM watsonx project to use.",
            required=True,
        ),
        MODEL_ID,
        URL,
    )
    task_settings: ClassVar[Sequence[Setting]] = (
        RETURN_DOCUMENTS,
        TOP_N,
        Setting(name="truncate_input_tokens", kind=SettingKind.POSITIVE_INT, label="Truncate Input Tokens"),
    )

    def url(self, config: EndpointConfig) -> str:
        settings = config.service_settings
        return below(settings["url"], "/ml/v1/text/rerank", version=settings["api_version"])

    async def call(self, config: EndpointConfig, request: RerankRequest, deadline: Deadline) -> HttpCall:
        fields = {"grant_type": _GRANT, "apikey": config.secrets["api_key"]}
        url = self.base(config) + _TOKEN_PATH
        token = await self.fetch_token(config, lambda: form_call(url, fields))
        return json_call(self.url(config), self.body(config, request), bearer(token))

    def token_key(self, config: EndpointConfig) -> str:
        return digest(self.name, self.base(config), config.secrets["api_key"])

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        options = {"inputs": request.return_documents, "top_n": request.top_n}
        parameters = {
            "truncate_input_tokens": request.task_settings.get("truncate_input_tokens"),
            "return_options": _present(options),
        }
        return {
            "model_id": config.service_settings["model_id"],
            "query": request.query,
            "inputs": [{"text": text} for text in request.texts],
            "project_id": config.service_settings["project_id"],
            "parameters": _present(parameters),
        }


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
