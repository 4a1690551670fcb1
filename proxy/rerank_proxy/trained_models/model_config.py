"""The configurations of uploaded models (``TrainedModelConfig``), as they are kept and shown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TEXT_SIMILARITY: Final = "text_similarity"
PYTORCH: Final = "pytorch"
NATIVE_STORE: Final = ".ml-inference-native-000002"
"""The index in which Elasticsearch would keep such a model; shown for clients that read it."""
VERSION: Final = "12.0.0"
"""``MlConfigVersion.CURRENT``, unchanged since Elasticsearch 8.10."""

_GENERATED: Final = (
    "created_by",
    "version",
    "create_time",
    "model_size_bytes",
    "estimated_operations",
    "license_level",
)


@dataclass(frozen=True, slots=True)
class TrainedModelConfig:
    """The configuration of a model for `text_similarity`.

    Attributes:
        create_time: Milliseconds since the epoch.
        field_names: The fields that hold the text of a document; only the first is read.
        tokenization: The options of the tokenization, including defaults, by its name.
        size: The size of the uploaded program in bytes; 0 until a part of it has come.
    """

    model_id: str
    create_time: int
    field_names: tuple[str, ...]
    tokenization: Mapping[str, Mapping[str, Any]]
    results_field: str | None = None
    span_score_combination_function: str = "max"
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    prefix_strings: Mapping[str, str] | None = None
    platform_architecture: str | None = None
    estimated_operations: int = 0
    size: int = 0

    @property
    def inference_config(self) -> dict[str, Any]:
        """The `inference_config` with its defaults, as Elasticsearch shows it."""
        shown: dict[str, Any] = {
            "vocabulary": {"index": NATIVE_STORE},
            "tokenization": {kind: dict(options) for kind, options in self.tokenization.items()},
        }
        if self.results_field is not None:
            shown["results_field"] = self.results_field
        shown["span_score_combination_function"] = self.span_score_combination_function
        return {TEXT_SIMILARITY: shown}

    def memory_bytes(self, name: str) -> int:
        """Return one of the sizes that Eland puts into the metadata; 0 if it is absent or not a number."""
        value = (self.metadata or {}).get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return 0
        return int(value) if math.isfinite(value) else 0

    def document(self, *, exclude_generated: bool = False) -> dict[str, Any]:
        """Return the configuration as clients see it, in Elasticsearch's order of keys."""
        shown: dict[str, Any] = {
            "model_id": self.model_id,
            "model_type": PYTORCH,
            "created_by": "api_user",
            "version": VERSION,
            "create_time": self.create_time,
            "model_size_bytes": self.size,
            "estimated_operations": self.estimated_operations,
            "license_level": "platinum",
        }
        if exclude_generated:
            shown = {name: value for name, value in shown.items() if name not in _GENERATED}
        if self.description is not None:
            shown["description"] = self.description
        shown["tags"] = list(self.tags)
        if self.metadata is not None:
            shown["metadata"] = dict(self.metadata)
        shown["input"] = {"field_names": list(self.field_names)}
        shown["inference_config"] = self.inference_config
        shown["location"] = {"index": {"name": NATIVE_STORE}}
        if self.platform_architecture is not None:
            shown["platform_architecture"] = self.platform_architecture
        if self.prefix_strings is not None:
            shown["prefix_strings"] = dict(self.prefix_strings)
        return shown
