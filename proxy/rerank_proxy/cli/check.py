"""Run the command `check`."""

import logging
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from multidict import CIMultiDict

from rerank_proxy.cli.models import engine_log_printed, score, with_progress
from rerank_proxy.cli.report import Line, Say
from rerank_proxy.engine import Engine, EngineError
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.files.privacy import weaknesses as weaknesses_of_file
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.registry.opening import open_store, place, weaknesses
from rerank_proxy.services.preconfigured import with_elastic_rerank
from rerank_proxy.settings import Settings
from rerank_proxy.tls.listening import listener_tls
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.names import resolved
from rerank_proxy.upstream.targets import TcpTarget, node_targets
from rerank_proxy.upstream.tls import upstream_tls
from rerank_proxy.xcontent.splicing import members

_OPEN: Final = 0o027
"""What the rights of a secret's file should not give. Its group may read it, as in Kubernetes (`fsGroup`)."""
_REGISTRY_LOG: Final = logging.getLogger("rerank_proxy.inference.registry")


async def run_checks(settings: Settings, say: Say, secret_files: Iterable[Path] = ()) -> bool:
    """Try everything that serving needs, and say a line about each. Return whether everything works.

    Args:
        secret_files: The files from which secrets of the settings have been read.
    """
    endpoints = with_elastic_rerank(settings.endpoints, LocalModels(settings.models))
    say(Line("settings", "ok", f"{_counted(settings.models, 'model')}, {_counted(endpoints, 'endpoint')}"))
    for path in sorted(set(secret_files)):
        for weakness in weaknesses_of_file(path, _OPEN):
            say(Line("settings", "warning", weakness))
    _report_certificates(settings, say)
    upstream_ok = await _check_upstream(settings, say)
    with _quiet(_REGISTRY_LOG):
        kept = await _check_registry(settings, say)
    failed = await _check_models(settings, say)
    for inference_id, endpoint in endpoints.items():
        outcome = "failed" if endpoint.model in failed else "ok"
        by = f"model {endpoint.model}" if endpoint.model is not None else f"service {endpoint.service}"
        say(Line("endpoint", outcome, f"{inference_id} is served by {by}"))
    served_ok = bool(endpoints or kept is None or kept) or _report_no_endpoint(settings, say)
    return upstream_ok and kept is not None and not failed and served_ok


def _report_certificates(settings: Settings, say: Say) -> None:
    """Say which certificates the proxy would show, and what is wrong with their times."""
    shown = (
        (listener_tls(settings.tls, "tls"), f"https on {settings.listen}"),
        (listener_tls(settings.admin.tls, "admin.tls"), f"https on {settings.admin.listen}"),
        (upstream_tls(settings.upstream), "shown to upstream"),
    )
    for context, where in shown:
        certificate = None if context is None else context.certificate
        if certificate is None:
            continue
        warning = certificate.warning(datetime.now(UTC))
        if warning is not None:
            say(Line("tls", "warning", warning))
        else:
            until = f"valid until {certificate.ends:%Y-%m-%d}"
            say(Line("tls", "ok", f"{where}: {certificate.file.path}, {until}, {certificate.fingerprint}"))


def _report_no_endpoint(settings: Settings, say: Say) -> bool:
    """Say that there is no endpoint. Return whether there can be one."""
    if settings.registry.store == "none":
        none = "there is none, and clients cannot create one: name one under [endpoints]"
        say(Line("endpoint", "failed", none))
        return False
    none_yet = "there is none yet: name one under [endpoints], or PUT _inference/rerank/ID"
    say(Line("endpoint", "warning", none_yet))
    return True


async def _check_upstream(settings: Settings, say: Say) -> bool:
    """Try each node, since any of them may get a request. Return whether all work."""
    nodes = await resolved(node_targets(settings.upstream), {})
    clusters: set[str] = set()
    works = [await _check_node(settings, node, clusters, say) for node in nodes]
    if len(clusters) > 1:
        say(
            Line("upstream", "failed", f"the nodes belong to several clusters: {', '.join(sorted(clusters))}")
        )
        return False
    return all(works)


async def _check_node(settings: Settings, node: TcpTarget, clusters: set[str], say: Say) -> bool:
    """Try a node, and add the name of its cluster to `clusters`. Return whether it works."""
    client = ElasticsearchClient(settings.upstream, settings.search, node=node)
    try:
        reply = await client.request("GET", "/_cluster/health", b"", CIMultiDict())
    except ElasticsearchError as failure:
        say(Line("upstream", "failed", str(failure)))
        return False
    finally:
        await client.close()
    product = {name.lower(): value for name, value in reply.headers}.get("x-elastic-product")
    if reply.status == 200 and product == "Elasticsearch":
        health = members(reply.body)
        status = health.get("status", b"").decode().strip('"')
        if "cluster_name" in health:
            clusters.add(health["cluster_name"].decode().strip('"'))
        say(Line("upstream", "ok", f"{node.name}, cluster is {status}"))
        return True
    if reply.status in (401, 403):
        say(Line("upstream", "ok", f"{node.name}, requires credentials, which clients send"))
        return True
    say(Line("upstream", "failed", f"{node.name} answered {reply.status}, but not as Elasticsearch does"))
    return False


async def _check_registry(settings: Settings, say: Say) -> int | None:
    """Try the registry. Return how many endpoints it holds; None if something is wrong."""
    for weakness in weaknesses(settings):
        say(Line("registry", "warning", weakness))
    store = open_store(settings)
    try:
        await store.start(lambda: None)
        await store.refresh()
    except InferenceFailedError as failure:
        say(Line("registry", "failed", f"{failure} [{place(settings)}]"))
        return None
    finally:
        await store.close()
    broken = [each.failure for each in store.all().values() if each.failure is not None]
    for each in broken:
        say(Line("registry", "failed", str(each)))
    if broken:
        return None
    say(Line("registry", "ok", f"{settings.registry.store}, {_counted(store.all(), 'endpoint')}"))
    return len(store.all())


def _counted(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


async def _check_models(settings: Settings, say: Say) -> set[str]:
    """Load each model and score with it. Return the names of those that do not work."""
    engine = Engine(settings.models, settings.engine)
    failed = set()
    for name, model in settings.models.items():
        say(Line("model", "loading", f"{name}: {model.source}"))
    with engine_log_printed(say):
        await engine.start()
        try:
            for name, model in settings.models.items():
                try:
                    await with_progress(score(engine, name, "a query", ["a text"]), name, say)
                except EngineError as failure:
                    failed.add(name)
                    say(Line("model", "failed", f"{name}: {failure}"))
                else:
                    say(Line("model", "ok", f"{name}: {model.source} ({engine.status()[name].detail})"))
        finally:
            await engine.close()
    return failed


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Silence a log: the command itself reports failures."""
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)
