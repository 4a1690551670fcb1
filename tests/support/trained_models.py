"""Uploads of trained models that contain no model, and an engine that only records its calls."""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rerank_proxy.engine import ModelStatus, Scores
from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from rerank_proxy.settings import TrainedModelsSettings
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.model_config import TrainedModelConfig
from rerank_proxy.trained_models.requests.config import parse_config
from rerank_proxy.trained_models.requests.parts import DefinitionPart
from rerank_proxy.trained_models.service import TrainedModels

TOKENS: Final = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "apple"]
VOCABULARY: Final = Vocabulary(TOKENS)

CONFIG: Final[Mapping[str, Any]] = {
    "description": "a model of a test",
    "model_type": "pytorch",
    "inference_config": {
        "text_similarity": {
            "tokenization": {"bert": {"max_sequence_length": 48, "truncate": "second", "do_lower_case": True}}
        }
    },
    "input": {"field_names": ["text_field"]},
    "metadata": {"per_deployment_memory_bytes": 11, "per_allocation_memory_bytes": 7},
}
"""The body that Eland sends."""

NOW: Final = 1_700_000_000_123


def config_of(model_id: str, **changes: Any) -> TrainedModelConfig:
    return parse_config(model_id, json.dumps({**CONFIG, **changes}).encode(), NOW)


def parts_of(program: bytes, lengths: Sequence[int]) -> list[DefinitionPart]:
    """Divide a program into parts of the given lengths."""
    parts, start = [], 0
    for number, length in enumerate(lengths):
        parts.append(DefinitionPart(number, program[start : start + length], len(program), len(lengths)))
        start += length
    return parts


def part_body(content: bytes, total_length: int, total_parts: int) -> dict[str, Any]:
    """Return the body of a part."""
    return {
        "definition": base64.b64encode(content).decode(),
        "total_definition_length": total_length,
        "total_parts": total_parts,
    }


READY: Final = ModelStatus("ready", "", preload=False)


class NotingEngine:
    """Takes the place of the engine: models are ready immediately, and a score is the length of the text.

    Attributes:
        models: The directories of the models that were added.
        reservations: By holder: model, threads, and whether it is kept loaded.
        failure: Raised by `wait_ready` and `rerank`.
        states: The states of models that are not ready.
        on_ready: Called when a model has been loaded.
        blocked: Why models that are added must not be loaded.
    """

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.models: dict[str, Path] = {}
        self.reservations: dict[str, tuple[str, int | None, bool]] = {}
        self.failure: Exception | None = None
        self.states: dict[str, ModelStatus] = {}
        self.on_ready: dict[str, Callable[[], None]] = {}
        self.blocked: dict[str, str] = {}

    def status(self) -> Mapping[str, ModelStatus]:
        return {name: self.states.get(name, READY) for name in (*self.names, *self.models)}

    def add(
        self, name: str, directory: Path, *, failed: str | None, on_ready: Callable[[], None]
    ) -> str | None:
        assert name not in self.models
        self.models[name] = directory
        self.on_ready[name] = on_ready
        reason = self.blocked.get(name, failed)
        if reason is not None:
            self.states[name] = ModelStatus("failed", reason, preload=False)
        return reason

    def allow(self, name: str) -> None:
        if self.states.get(name, READY).state == "failed":
            del self.states[name]

    def remove(self, name: str) -> None:
        del self.models[name]

    def reserve(self, model: str, holder: str, threads: int | None, *, keep_loaded: bool) -> None:
        assert model in self.models
        self.reservations[holder] = (model, threads, keep_loaded)

    def release(self, model: str, holder: str) -> None:
        self.reservations.pop(holder, None)

    async def wait_ready(self, model: str, deadline: float) -> None:
        if self.failure is not None:
            raise self.failure
        self.on_ready[model]()

    async def scores(self, model: str, query: str, texts: Sequence[str], deadline: float) -> Scores:
        if self.failure is not None:
            raise self.failure
        cut = [text.endswith("…") for text in texts]
        return Scores([float(len(text)) for text in texts], cut=cut)


def models_in(
    directory: Path, engine: NotingEngine, clock: Callable[[], float] = time.monotonic, **settings: Any
) -> TrainedModels:
    """Return uploaded models that are not started yet."""
    return TrainedModels(
        ModelDirectory(directory), engine, TrainedModelsSettings(upload=True, **settings), clock
    )


async def upload(models: TrainedModels, model_id: str, program: bytes = b"program") -> None:
    """Upload a complete model, in one part."""
    await models.catalogue.create(config_of(model_id))
    (part,) = parts_of(program, [len(program)])
    await models.catalogue.put_part(model_id, part)
    await models.catalogue.put_vocabulary(model_id, VOCABULARY)
