"""One endpoint of each service, with the wire that it must speak."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.vendors import wires
from tests.support.vendors.double import Wire

Settings = Mapping[str, Any]
SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def service_account(token_uri: str) -> str:
    """Return the key of a service account, as Google issues it."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "key-1",
            "private_key": private_key(),
            "client_email": "me@my-project.iam.gserviceaccount.com",
            "token_uri": token_uri,
        }
    )


@dataclass(frozen=True)
class Case:
    """An endpoint.

    Attributes:
        settings: Its `service_settings`, given the address of the server.
        by_base_url: Whether the server takes the place of the vendor's by a setting of the proxy.
        secret: What must never be seen.
        top_n: The task setting that limits results, if there is one.
        batch: The most texts in one call, unless there is no limit.
    """

    name: str
    service: str
    wire: Wire
    settings: Callable[[str], Settings]
    by_base_url: bool = True
    secret: str = wires.KEY
    top_n: str | None = "top_n"
    returns: str | None = "return_documents"
    batch: int | None = None
    task_settings: Settings = field(default_factory=dict)

    @property
    def has_tokens(self) -> bool:
        """Return whether a token is fetched first, over a connection that the call then uses again."""
        return self.wire.headers.get("Authorization", "").startswith("Bearer access-token")

    def __str__(self) -> str:
        return self.name


def _keyed(**settings: Any) -> Callable[[str], Settings]:
    return lambda url: {"api_key": wires.KEY, **settings}


def _at(path: str, name: str = "url", **settings: Any) -> Callable[[str], Settings]:
    return lambda url: {"api_key": wires.KEY, name: url + path, **settings}


CUSTOM: Final[Mapping[str, Any]] = {
    "secret_parameters": {"api_key": wires.KEY},
    "headers": {"X-Api-Key": "${api_key}", "X-Client": "proxy"},
    "query_parameters": [["tenant", "${tenant}"]],
    "request": (
        '{"q": ${query}, "docs": ${input}, "k": ${top_n}, "show": ${return_documents}, "mode": ${mode}}'
    ),
    "response": {
        "json_parser": {
            "relevance_score": "$.out.hits[*].relevance",
            "reranked_index": "$.out.hits[*].position",
            "document_text": "$.out.hits[*].doc",
        }
    },
}

CASES: Final = (
    Case("cohere", "cohere", wires.COHERE_V2, _keyed(model_id="rerank-v3.5"), batch=1000),
    Case(
        "cohere-v1",
        "cohere",
        wires.COHERE_V1,
        _at("/v1/rerank"),
        by_base_url=False,
        batch=1000,
        task_settings={"max_chunks_per_doc": 5},
    ),
    Case("jinaai", "jinaai", wires.JINA, _keyed(model_id="jina-reranker-v2-base-multilingual"), batch=2048),
    Case(
        "voyageai",
        "voyageai",
        wires.VOYAGE,
        _keyed(model_id="rerank-2.5"),
        top_n="top_k",
        batch=1000,
        task_settings={"truncation": True},
    ),
    Case(
        "googlevertexai",
        "googlevertexai",
        wires.GOOGLE,
        lambda url: {
            "service_account_json": service_account(f"{url}/token"),
            "project_id": "my-project",
            "model_id": "semantic-ranker-default-004",
        },
        secret="access-token-1",
        returns=None,
        batch=200,
    ),
    Case("hugging_face", "hugging_face", wires.TEI, _at("/rerank"), by_base_url=False, batch=32),
    Case(
        "azureaistudio",
        "azureaistudio",
        wires.AZURE,
        _at("", "target", provider="cohere", endpoint_type="token"),
        by_base_url=False,
        batch=1000,
    ),
    Case(
        "alibabacloud-ai-search",
        "alibabacloud-ai-search",
        wires.ALIBABA,
        lambda url: {
            "api_key": wires.KEY,
            "host": url.removeprefix("http://"),
            "http_schema": "http",
            "workspace": "default",
            "service_id": "ops-bge-reranker-larger",
        },
        by_base_url=False,
        top_n=None,
        returns=None,
    ),
    Case(
        "watsonxai",
        "watsonxai",
        wires.WATSONX,
        _at("", api_version="2024-05-02", model_id="cross-encoder/ms-marco-minilm-l-12-v2", project_id="p"),
        batch=1000,
        task_settings={"truncate_input_tokens": 100},
    ),
    Case(
        "nvidia",
        "nvidia",
        wires.NIM,
        _keyed(model_id="nv-rerank-qa-mistral-4b:1"),
        top_n=None,
        returns=None,
        batch=512,
    ),
    Case(
        "openshift_ai",
        "openshift_ai",
        wires.VLLM,
        _at("/v1/rerank", model_id="bge"),
        by_base_url=False,
    ),
    Case(
        "contextualai",
        "contextualai",
        wires.CONTEXTUAL,
        _keyed(model_id="ctxl-rerank-v2-instruct-multilingual-mini"),
        returns=None,
        task_settings={"instruction": "Prefer what is new."},
    ),
    Case("mixedbread", "mixedbread", wires.MIXEDBREAD, _keyed(model_id="mxbai-rerank-large-v2")),
    Case(
        "amazon_sagemaker",
        "amazon_sagemaker",
        wires.SAGEMAKER,
        lambda url: {
            "access_key": "AKIDEXAMPLE",
            "secret_key": SECRET_KEY,
            "region": "us-east-1",
            "api": "elastic",
            "endpoint_name": "my-endpoint",
            "target_model": "model.tar.gz",
        },
        secret=SECRET_KEY,
        task_settings={"anything": {"goes": 1}},
    ),
    Case(
        "custom",
        "custom",
        wires.CUSTOM,
        lambda url: {**CUSTOM, "url": url + "/score"},
        by_base_url=False,
        top_n=None,
        returns=None,
        task_settings={"parameters": {"tenant": "acme", "mode": "fast"}},
    ),
)
