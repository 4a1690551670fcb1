"""Models on this machine: load, encode, schedule, run, cache. Knows nothing of Elasticsearch or HTTP.

Importing it is cheap: torch and transformers are imported when a model is loaded.
"""

from .engine import Engine, Reranked
from .errors import (
    DeadlineExceededError,
    EngineClosedError,
    EngineError,
    InferenceError,
    ModelFailedError,
    QueueFullError,
    UnknownModelError,
)
from .model import ModelStatus

__all__ = [
    "DeadlineExceededError",
    "Engine",
    "EngineClosedError",
    "EngineError",
    "InferenceError",
    "ModelFailedError",
    "ModelStatus",
    "QueueFullError",
    "Reranked",
    "UnknownModelError",
]
