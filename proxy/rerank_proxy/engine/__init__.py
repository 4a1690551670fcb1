"""Models on this machine: load, encode, schedule, run, cache. Knows nothing of Elasticsearch or HTTP.

Importing it is cheap: torch and transformers are imported when a model is loaded.
"""

from rerank_proxy.engine.demand import Demand
from rerank_proxy.engine.engine import Engine, Reranked
from rerank_proxy.engine.errors import (
    DeadlineExceededError,
    EngineClosedError,
    EngineError,
    InferenceError,
    InputTooLargeError,
    ModelFailedError,
    QueueFullError,
    UnknownModelError,
)
from rerank_proxy.engine.model import ModelStatus

__all__ = [
    "DeadlineExceededError",
    "Demand",
    "Engine",
    "EngineClosedError",
    "EngineError",
    "InferenceError",
    "InputTooLargeError",
    "ModelFailedError",
    "ModelStatus",
    "QueueFullError",
    "Reranked",
    "UnknownModelError",
]
