"""The configuration of an inference endpoint (``ModelConfigurations``, ``ModelSecrets``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

RERANK: Final = "rerank"

TASK_TYPES: Final = (
    "text_embedding",
    "sparse_embedding",
    RERANK,
    "completion",
    "chat_completion",
    "embedding",
)
"""The names of ``TaskType``, without `any`, which no endpoint has."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """The configuration of one endpoint of task type `rerank`.

    Attributes:
        service_settings: The settings that are shown, with the service's defaults filled in.
        secrets: The settings that only the service itself is sent.
        internal: What the service records for itself, such as the version of an API. Not shown.
    """

    inference_id: str
    service: str
    service_settings: Mapping[str, Any]
    task_settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    internal: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what clients are shown, in Elasticsearch's order of keys."""
        shown: dict[str, Any] = {
            "inference_id": self.inference_id,
            "task_type": RERANK,
            "service": self.service,
            "service_settings": dict(self.service_settings),
        }
        if self.task_settings:
            shown["task_settings"] = dict(self.task_settings)
        return shown
