"""`amazon_sagemaker`: models behind an endpoint of Amazon SageMaker, called in Elasticsearch's form
(``SageMakerService``, ``ElasticRerankPayload``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, ClassVar, Final

from rerank_proxy.inference.remote.urls import checked, in_header, segment
from rerank_proxy.services import (
    RETURN_DOCUMENTS,
    TOP_N,
    Deadline,
    EndpointConfig,
    HttpCall,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
    Shape,
    json_call,
)

_SERVICE: Final = "sagemaker"
_HEADERS: Final = {
    "target_model": "X-Amzn-SageMaker-Target-Model",
    "target_container_hostname": "X-Amzn-SageMaker-Target-Container-Hostname",
    "inference_component_name": "X-Amzn-SageMaker-Inference-Component",
}


def _check_region(value: str) -> str | None:
    if re.fullmatch(r"[a-z0-9-]+", value):
        return None
    return f"Invalid value [{value}]. [region] must be the code of a region, such as us-east-1"


def _secret(name: str, label: str) -> Setting:
    return Setting(
        name=name,
        label=label,
        description=f"The AWS {label.lower()} that signs calls of the endpoint.",
        required=True,
        secret=True,
        updatable=True,
    )


def _header(name: str, label: str, description: str) -> Setting:
    return Setting(name=name, label=label, description=description, check=in_header(name))


class AmazonSageMakerService(RemoteService):
    """Calls are signed (AWS Signature Version 4) by botocore, which the extra `sagemaker` installs."""

    name = "amazon_sagemaker"
    label = "Amazon SageMaker"
    hosts = ("*.amazonaws.com", "*.amazonaws.com.cn")
    any_task_settings = True
    shape = Shape(rows="rerank", text="text")
    service_settings: ClassVar[Sequence[Setting]] = (
        _secret("access_key", "Access Key"),
        _secret("secret_key", "Secret Key"),
        Setting(
            name="endpoint_name",
            label="Endpoint Name",
            description="The name of the SageMaker endpoint.",
            required=True,
            check=checked("endpoint_name", segment),
        ),
        Setting(
            name="region",
            label="Region",
            description="The AWS region that the endpoint is in.",
            required=True,
            check=_check_region,
        ),
        Setting(
            name="api",
            label="API",
            description="The form in which the model is asked and answers.",
            required=True,
            choices=("elastic",),
        ),
        _header("target_model", "Target Model", "The model of an endpoint with several models."),
        _header("target_container_hostname", "Target Container Hostname", "The container to call."),
        _header("inference_component_name", "Inference Component Name", "The inference component to call."),
        Setting(
            name="batch_size",
            kind=SettingKind.POSITIVE_INT,
            label="Batch Size",
            description="The most texts in one call.",
        ),
    )

    task_settings: ClassVar[Sequence[Setting]] = (TOP_N, RETURN_DOCUMENTS)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        if find_spec("botocore") is None:
            faults.append("[amazon_sagemaker] needs botocore: pip install 'rerank-proxy[sagemaker]'")
        return super().check_settings(config, faults)

    def base(self, config: EndpointConfig) -> str:
        region = config.service_settings["region"]
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return super().base(config) or f"https://runtime.sagemaker.{region}.{domain}"

    def url(self, config: EndpointConfig) -> str:
        return f"{self.base(config)}/endpoints/{segment(self.model(config))}/invocations"

    def urls(self, config: EndpointConfig) -> Mapping[str, str]:
        return {"region": self.url(config)}

    def model(self, config: EndpointConfig) -> str:
        return str(config.service_settings["endpoint_name"])

    def max_documents(self, config: EndpointConfig) -> int | None:
        limit: int | None = config.service_settings.get("batch_size")
        return super().max_documents(config) if limit is None else limit

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        return {
            "input": request.texts,
            "query": request.query,
            "return_documents": request.return_documents,
            "top_n": request.top_n,
            "task_settings": request.task_settings or None,
        }

    async def call(self, config: EndpointConfig, request: RerankRequest, deadline: Deadline) -> HttpCall:
        headers = {
            header: config.service_settings[name]
            for name, header in _HEADERS.items()
            if name in config.service_settings
        }
        unsigned = json_call(self.url(config), self.body(config, request), headers)
        return _signed(unsigned, config)


def _signed(call: HttpCall, config: EndpointConfig) -> HttpCall:
    # Imported where it is needed: importing takes a while, and few installations have it.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("POST", call.url, dict(call.headers), call.body)
    credentials = Credentials(config.secrets["access_key"], config.secrets["secret_key"])
    SigV4Auth(credentials, _SERVICE, config.service_settings["region"]).add_auth(request)
    return replace(call, headers=dict(request.headers.items()))
