"""What `check` and `rerank` of the command line do."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
from multidict import CIMultiDict

from proxy.app.upstream import UpstreamClient
from proxy.engine import Engine, EngineError, Reranked
from proxy.errors import ElasticsearchError
from proxy.inference.failures import InferenceFailedError
from proxy.inference.registry.opening import open_store, place, weaknesses
from proxy.search.ranks.scores import normalize
from proxy.search.rawjson import members
from proxy.settings import ModelSettings, Settings
from proxy.xcontent.java_numbers import print_float

_LOAD_TIMEOUT_S: Final = 3600.0
"""A model may have to be downloaded first."""

_ENGINE_LOG: Final = logging.getLogger("proxy.engine")
_REGISTRY_LOG: Final = logging.getLogger("proxy.inference.registry")


class CommandError(Exception):
    """A command failed; the message is for the person who ran it."""


async def run_checks(settings: Settings, say: Callable[[str], None]) -> bool:
    """Try everything that serving needs and say how it went, a line each. True when all is well."""
    say(f"settings   ok      {len(settings.models)} models, {len(settings.endpoints)} endpoints")
    upstream_ok = await _check_upstream(settings, say)
    with _quiet(_REGISTRY_LOG):
        registry_ok = await _check_registry(settings, say)
    with _quiet(_ENGINE_LOG):
        models_ok = await _check_models(settings, say)
    return upstream_ok and registry_ok and models_ok


async def _check_upstream(settings: Settings, say: Callable[[str], None]) -> bool:
    client = UpstreamClient(settings.upstream, settings.search)
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
        say(f"upstream   ok      {settings.upstream.url}, asks for credentials, which clients bring")
        return True
    say(f"upstream   failed  {settings.upstream.url} answered {reply.status} and not as Elasticsearch does")
    return False


async def _check_registry(settings: Settings, say: Callable[[str], None]) -> bool:
    for weakness in weaknesses(settings):
        say(f"registry   warning {weakness}")
    store = open_store(settings)
    try:
        await store.start(lambda: None)
        await store.refresh()
    except InferenceFailedError as failure:
        say(f"registry   failed  {failure} [{place(settings)}]")
        return False
    finally:
        await store.close()
    broken = [each.failure for each in store.all().values() if each.failure is not None]
    for each in broken:
        say(f"registry   failed  {each}")
    if not broken:
        say(f"registry   ok      {settings.registry.store}, {len(store.all())} endpoints")
    return not broken


async def _check_models(settings: Settings, say: Callable[[str], None]) -> bool:
    engine = Engine(settings.models, settings.engine)
    await engine.start()
    failed = set()
    try:
        for name, model in settings.models.items():
            try:
                await _score(engine, name, "a query", ["a text"])
            except EngineError as failure:
                failed.add(name)
                say(f"model      failed  {name}: {failure}")
            else:
                say(f"model      ok      {name}: {model.source} ({engine.status()[name].detail})")
    finally:
        await engine.close()
    for inference_id, endpoint in settings.endpoints.items():
        outcome = "failed" if endpoint.model in failed else "ok    "
        by = f"model {endpoint.model}" if endpoint.model is not None else f"service {endpoint.service}"
        say(f"endpoint   {outcome}  {inference_id} is served by {by}")
    return not failed


async def rerank_texts(
    settings: Settings, model: str, query: str, texts: Sequence[str], *, raw: bool
) -> list[str]:
    """Lines of score and text, best first.

    Raises:
        CommandError: The model could not be loaded or used.
    """
    chosen = settings.models.get(model, ModelSettings(source=model))
    engine = Engine({model: chosen}, settings.engine)
    await engine.start()
    try:
        with _quiet(_ENGINE_LOG):
            scores = np.asarray((await _score(engine, model, query, texts)).scores, dtype=np.float32)
    except EngineError as failure:
        raise CommandError(str(failure)) from None
    finally:
        await engine.close()
    shown = scores if raw else normalize(scores.tolist())
    order = np.argsort(-scores, kind="stable")
    return [f"{print_float(float(shown[place])).decode()}\t{texts[place]}" for place in order]


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """What a part would log about a failure is the command's own output already."""
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


async def _score(engine: Engine, model: str, query: str, texts: Sequence[str]) -> Reranked:
    deadline = asyncio.get_running_loop().time() + _LOAD_TIMEOUT_S
    return await engine.rerank(model, query, texts, deadline)
