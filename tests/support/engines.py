"""An engine for the length of a block."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings, ModelSettings
from rerank_proxy.upstream import callers

OnDisk = Path | Mapping[str, Any]
"""A model's directory, or its settings."""


@asynccontextmanager
async def running(
    models: Mapping[str, OnDisk], registry: CollectorRegistry | None = None, **settings: Any
) -> AsyncIterator[Engine]:
    """Run an engine; the keyword arguments are its settings. Callers are those of requests."""
    engine = Engine(
        {name: _settings(model) for name, model in models.items()},
        EngineSettings(**settings),
        registry,
        caller=callers.current,
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def _settings(model: OnDisk) -> ModelSettings:
    """Return the settings as the process that reranks gets them: from the one that has read them."""
    given = {"source": str(model)} if isinstance(model, Path) else {**model, "source": str(model["source"])}
    read = ModelSettings.model_validate(given)
    return ModelSettings.model_validate_json(read.model_dump_json())
