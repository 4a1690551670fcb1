"""Run the commands `check` and `rerank`."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from multidict import CIMultiDict

from rerank_proxy.engine import Engine, EngineError, Scores
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.registry.opening import open_store, place, weaknesses
from rerank_proxy.observe.log import flattened
from rerank_proxy.search.ranks.scores import MIN_VALUE, normalize
from rerank_proxy.services.preconfigured import with_elastic_rerank
from rerank_proxy.settings import ModelSettings, Settings
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.splicing import members

_LOAD_TIMEOUT_S: Final = 3600.0
"""Long enough to download a model first."""

PROGRESS_S: Final = 5.0
"""Seconds between two lines about a model that is loading."""

_ENGINE_LOG: Final = logging.getLogger("rerank_proxy.engine")
_DOWNLOAD_LOGGERS: Final = ("rerank_proxy.engine.loading.repository", "rerank_proxy.engine.loading.source")
_REGISTRY_LOG: Final = logging.getLogger("rerank_proxy.inference.registry")


class CommandError(Exception):
    """A command has failed. The message is for the user."""


def export_model(settings: Settings, model: str, out: Path | None) -> Path:
    """Make the ONNX file of a model: a directory, a hub id, or the name of a model of the settings.

    Raises:
        CommandError: It cannot be made.
    """
    # Imported here: torch and transformers take seconds.
    from rerank_proxy.engine.loading.export import export

    source = settings.models[model].source if model in settings.models else model
    try:
        return export(source, out, offline=settings.engine.offline)
    except ModelLoadError as error:
        raise CommandError(flattened(str(error))) from error


async def run_checks(settings: Settings, say: Callable[[str], None]) -> bool:
    """Try everything that serving needs, and say a line about each. Return whether everything works."""
    endpoints = with_elastic_rerank(settings.endpoints, LocalModels(settings.models))
    say(f"settings   ok      {_counted(settings.models, 'model')}, {_counted(endpoints, 'endpoint')}")
    upstream_ok = await _check_upstream(settings, say)
    with _quiet(_REGISTRY_LOG):
        kept = await _check_registry(settings, say)
    failed = await _check_models(settings, say)
    for inference_id, endpoint in endpoints.items():
        outcome = "failed" if endpoint.model in failed else "ok    "
        by = f"model {endpoint.model}" if endpoint.model is not None else f"service {endpoint.service}"
        say(f"endpoint   {outcome}  {inference_id} is served by {by}")
    served_ok = bool(endpoints or kept is None or kept) or _report_no_endpoint(settings, say)
    return upstream_ok and kept is not None and not failed and served_ok


def _report_no_endpoint(settings: Settings, say: Callable[[str], None]) -> bool:
    """Say that there is no endpoint. Return whether there can be one."""
    if settings.registry.store == "none":
        say("endpoint   failed  there is none, and clients cannot create one: name one under [endpoints]")
        return False
    say("endpoint   warning there is none yet: name one under [endpoints], or PUT _inference/rerank/ID")
    return True


async def _check_upstream(settings: Settings, say: Callable[[str], None]) -> bool:
    client = ElasticsearchClient(settings.upstream, settings.search)
    try:
        reply = await client.request("GET", "/_cluster/health", b"", CIMultiDict())
    except ElasticsearchError as failure:
        say(f"upstream   failed  {failure}")
        return False
    finally:
        await client.close()
    product = {name.lower(): value for name, value in reply.headers}.get("x-elastic-product")
    if reply.status == 200 and product == "Elasticsearch":
        status = members(reply.body).get("status", b"").decode().strip('"')
        say(f"upstream   ok      {settings.upstream.url}, cluster is {status}")
        return True
    if reply.status in (401, 403):
        say(f"upstream   ok      {settings.upstream.url}, requires credentials, which clients send")
        return True
    say(f"upstream   failed  {settings.upstream.url} answered {reply.status}, but not as Elasticsearch does")
    return False


async def _check_registry(settings: Settings, say: Callable[[str], None]) -> int | None:
    """Try the registry. Return how many endpoints it holds; None if something is wrong."""
    for weakness in weaknesses(settings):
        say(f"registry   warning {weakness}")
    store = open_store(settings)
    try:
        await store.start(lambda: None)
        await store.refresh()
    except InferenceFailedError as failure:
        say(f"registry   failed  {failure} [{place(settings)}]")
        return None
    finally:
        await store.close()
    broken = [each.failure for each in store.all().values() if each.failure is not None]
    for each in broken:
        say(f"registry   failed  {each}")
    if broken:
        return None
    say(f"registry   ok      {settings.registry.store}, {_counted(store.all(), 'endpoint')}")
    return len(store.all())


def _counted(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


async def _check_models(settings: Settings, say: Callable[[str], None]) -> set[str]:
    """Load each model and score with it. Return the names of those that do not work."""
    engine = Engine(settings.models, settings.engine)
    failed = set()
    for name, model in settings.models.items():
        say(f"model      loading {name}: {model.source}")
    with engine_log_printed(say):
        await engine.start()
        try:
            for name, model in settings.models.items():
                try:
                    await _with_progress(_score(engine, name, "a query", ["a text"]), name, say)
                except EngineError as failure:
                    failed.add(name)
                    say(f"model      failed  {name}: {failure}")
                else:
                    say(f"model      ok      {name}: {model.source} ({engine.status()[name].detail})")
        finally:
            await engine.close()
    return failed


async def _with_progress(work: Coroutine[Any, Any, Scores], name: str, say: Callable[[str], None]) -> Scores:
    """Await `work`, and say from time to time that the model is still loading."""
    loop = asyncio.get_running_loop()
    began, task = loop.time(), loop.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=PROGRESS_S))[0]:
            say(f"model      loading {name}: for {loop.time() - began:.0f} s so far")
        return await task
    finally:
        task.cancel()


async def rerank_texts(
    settings: Settings, model: str, query: str, texts: Sequence[str], say: Callable[[str], None], *, raw: bool
) -> list[str]:
    """Score texts, and return lines of score and text, best first.

    Args:
        say: Called with lines about the progress of loading.

    Raises:
        CommandError: The model cannot be loaded or used.
    """
    chosen = settings.models.get(model, ModelSettings(source=model))
    engine = Engine({model: chosen}, settings.engine)
    with engine_log_printed(say):
        await engine.start()
        try:
            reranked = await _with_progress(_score(engine, model, query, texts), model, say)
        except EngineError as failure:
            raise CommandError(str(failure)) from None
        finally:
            await engine.close()
    scores = np.asarray(reranked.values, dtype=np.float32)
    shown = scores if raw else np.maximum(normalize(scores.tolist()), np.float32(MIN_VALUE))
    order = np.argsort(-scores, kind="stable")
    return [f"{print_float(float(shown[place])).decode()}\t{texts[place]}" for place in order]


class _EngineLogHandler(logging.Handler):
    """Prints the engine's log records about downloads, and its warnings. Failures are reported anyway."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO and record.name in _DOWNLOAD_LOGGERS:
            self._say(f"model      loading {record.getMessage()}")
        elif record.levelno == logging.WARNING:
            self._say(f"model      warning {record.getMessage()}")


@contextmanager
def engine_log_printed(say: Callable[[str], None]) -> Iterator[None]:
    """Print lines from the log of the engine."""
    handler, level, propagate = _EngineLogHandler(say), _ENGINE_LOG.level, _ENGINE_LOG.propagate
    _ENGINE_LOG.addHandler(handler)
    _ENGINE_LOG.setLevel(logging.INFO)
    _ENGINE_LOG.propagate = False
    try:
        yield
    finally:
        _ENGINE_LOG.propagate = propagate
        _ENGINE_LOG.setLevel(level)
        _ENGINE_LOG.removeHandler(handler)


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Silence a log: the command itself reports failures."""
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


async def _score(engine: Engine, model: str, query: str, texts: Sequence[str]) -> Scores:
    deadline = asyncio.get_running_loop().time() + _LOAD_TIMEOUT_S
    return await engine.scores(model, query, texts, deadline)
