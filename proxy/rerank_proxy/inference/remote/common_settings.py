"""Settings that many remote services have."""

from typing import Final

from rerank_proxy.inference.service_settings import Setting, SettingKind

API_KEY: Final = Setting(
    name="api_key",
    label="API Key",
    description="API Key for the provider you're connecting to.",
    required=True,
    secret=True,
    updatable=True,
)
MODEL_ID: Final = Setting(
    name="model_id",
    label="Model ID",
    description="The name of the model to use for the inference task.",
    required=True,
)
URL: Final = Setting(
    name="url",
    kind=SettingKind.URL,
    label="URL",
    description="The URL endpoint to use for the requests.",
    required=True,
)
TOP_N: Final = Setting(
    name="top_n",
    kind=SettingKind.POSITIVE_INT,
    label="Top N",
    description="The number of most relevant documents to return, defaults to the number of the documents.",
)
RETURN_DOCUMENTS: Final = Setting(
    name="return_documents",
    kind=SettingKind.BOOLEAN,
    label="Return Documents",
    description="Specify whether to return doc text within the results.",
)
