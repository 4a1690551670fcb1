"""`watsonxai`: rerankers of IBM watsonx.ai (``IbmWatsonxService``)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    TOP_N,
    URL,
    HttpCall,
    RemoteCall,
    RemoteService,
    Shape,
    bearer,
    digest,
    fetch_token,
    form_call,
    json_call,
)
from rerank_proxy.inference.remote.urls import below
from rerank_proxy.inference.service_settings import Kind, Setting

_GRANT: Final = "urn:ibm:params:oauth:grant-type:apikey"
_TOKEN_PATH: Final = "/identity/token"


class WatsonxAIService(RemoteService):
    """An API key is exchanged for a token by IBM Cloud's IAM, which is what `base_url` is of."""

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
        Setting(name="truncate_input_tokens", kind=Kind.POSITIVE_INT, label="Truncate Input Tokens"),
    )

    def url(self, config: EndpointConfig) -> str:
        settings = config.service_settings
        return below(settings["url"], "/ml/v1/text/rerank", version=settings["api_version"])

    async def call(self, config: EndpointConfig, call: RemoteCall, deadline: Deadline) -> HttpCall:
        fields = {"grant_type": _GRANT, "apikey": config.secrets["api_key"]}
        url = self.base(config) + _TOKEN_PATH
        token = await fetch_token(self, config, self._key(config), lambda: form_call(url, fields))
        return json_call(self.url(config), self.body(config, call), bearer(token))

    def forget_tokens(self, config: EndpointConfig) -> None:
        self.context.remote.tokens.forget(self._key(config))

    def body(self, config: EndpointConfig, call: RemoteCall) -> Any:
        options = {"inputs": call.return_documents, "top_n": call.top_n}
        parameters = {
            "truncate_input_tokens": call.task_settings.get("truncate_input_tokens"),
            "return_options": _present(options),
        }
        return {
            "model_id": config.service_settings["model_id"],
            "query": call.query,
            "inputs": [{"text": text} for text in call.texts],
            "project_id": config.service_settings["project_id"],
            "parameters": _present(parameters),
        }

    def _key(self, config: EndpointConfig) -> str:
        return digest(self.name, self.base(config), config.secrets["api_key"])


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
