"""`rerank-proxy endpoints …`."""

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from rerank_proxy.cli.support import config_option, die, load_settings, pairs_of
from rerank_proxy.observe.log import printable
from rerank_proxy.processes.loop import new_event_loop

if TYPE_CHECKING:
    from rerank_proxy.cli.endpoint_commands import Proxy


@click.group()
def endpoints() -> None:
    """Inference endpoints of a running proxy: list, put, delete and test them.

    The proxy is asked as any client asks it, under the address of --url, or where the settings of --config
    say that it listens. Credentials go along to Elasticsearch, which says whether they allow it.
    """


def _proxy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which proxy is asked, and by whom."""
    command = click.option(
        "--api-key", envvar="ES_API_KEY", show_envvar=True, help="An API key of Elasticsearch."
    )(command)
    command = click.option(
        "--user",
        envvar="ES_USER",
        show_envvar=True,
        metavar="NAME:PASSWORD",
        help="A user of Elasticsearch.",
    )(command)
    command = click.option(
        "--url", help="The proxy's address. [default: http:// and `listen` of the settings]"
    )(command)
    return config_option(command)


def _ask(
    work: Callable[["Proxy"], Awaitable[Sequence[object]]],
    config: Path | None,
    url: str | None,
    user: str | None,
    api_key: str | None,
) -> None:
    """Print what `work` with the proxy gives: lines and tables."""
    from rich.console import Console

    from rerank_proxy.cli.commands import CommandError
    from rerank_proxy.cli.endpoint_commands import Proxy, address_to_ask

    address = url.rstrip("/") if url is not None else address_to_ask(load_settings(config, (), ()).listen)
    authorization = None
    if api_key is not None:
        authorization = f"ApiKey {api_key}"
    elif user is not None:
        authorization = f"Basic {b64encode(user.encode()).decode()}"
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            shown = runner.run(_awaited(work(Proxy(address, authorization))))
        except CommandError as failure:
            die(str(failure), 1)
    console = Console()
    for each in shown:
        if isinstance(each, str):
            console.print(printable(each), markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(each, markup=False, highlight=False)


async def _awaited(awaitable: Awaitable[Sequence[object]]) -> Sequence[object]:
    return await awaitable


@endpoints.command("list")
@_proxy_options
def list_(**proxy: Any) -> None:
    """Show all endpoints that rerank."""
    from rerank_proxy.cli.endpoint_commands import list_endpoints

    async def work(asked: "Proxy") -> Sequence[object]:
        return [await list_endpoints(asked)]

    _ask(work, **proxy)


@endpoints.command()
@click.argument("inference_id")
@click.option("--service", help="What serves it: elasticsearch, cohere, jinaai …")
@click.option("--setting", multiple=True, metavar="NAME=VALUE", help="One of service_settings. Repeatable.")
@click.option(
    "--secret",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="One of service_settings, taken from an environment variable, where other users of this machine do "
    "not see it. Repeatable.",
)
@click.option("--task-setting", multiple=True, metavar="NAME=VALUE", help="One of task_settings. Repeatable.")
@click.option("--body", type=click.File("rb"), help="A file with the body of a PUT _inference; - for stdin.")
@_proxy_options
def put(
    inference_id: str,
    service: str | None,
    setting: tuple[str, ...],
    secret: tuple[str, ...],
    task_setting: tuple[str, ...],
    body: BinaryIO | None,
    **proxy: Any,
) -> None:
    """Make an endpoint INFERENCE_ID. The proxy tries it before it keeps it.

    \b
      rerank-proxy endpoints put my-cohere --service cohere \\
          --setting model_id=rerank-v3.5 --secret api_key=COHERE_API_KEY
    """
    from rerank_proxy.cli.commands import CommandError
    from rerank_proxy.cli.endpoint_commands import put_endpoint, settings_of

    try:
        request = _json_of(body) if body is not None else {}
        values = {**settings_of(setting), **_secrets(secret)}
        if service is not None:
            request["service"] = service
        if values:
            request["service_settings"] = {**request.get("service_settings", {}), **values}
        if task_setting:
            request["task_settings"] = {**request.get("task_settings", {}), **settings_of(task_setting)}
    except CommandError as failure:
        die(str(failure), 2)

    async def work(asked: "Proxy") -> Sequence[object]:
        return [await put_endpoint(asked, inference_id, request)]

    _ask(work, **proxy)


def _json_of(file: BinaryIO) -> dict[str, Any]:
    try:
        value = json.load(file)
    except ValueError as failure:
        die(f"{file.name}: is not valid JSON: {failure}", 2)
    if not isinstance(value, dict):
        die(f"{file.name}: expected an object, as in the body of a PUT _inference", 2)
    return value


def _secrets(pairs: tuple[str, ...]) -> dict[str, str]:
    secrets = {}
    for name, variable in pairs_of("--secret", pairs).items():
        if variable not in os.environ:
            die(f"--secret {name}={variable}: there is no environment variable {variable}", 2)
        secrets[name] = os.environ[variable]
    return secrets


@endpoints.command()
@click.argument("inference_id")
@click.option("--force", is_flag=True, help="Also when something refers to it.")
@click.option("--dry-run", is_flag=True, help="Only say what refers to it.")
@_proxy_options
def delete(inference_id: str, force: bool, dry_run: bool, **proxy: Any) -> None:
    """Delete the endpoint INFERENCE_ID."""
    from rerank_proxy.cli.endpoint_commands import delete_endpoint

    async def work(asked: "Proxy") -> Sequence[object]:
        return [await delete_endpoint(asked, inference_id, force=force, dry_run=dry_run)]

    _ask(work, **proxy)


@endpoints.command()
@click.argument("inference_id")
@click.option("--query", help="What the texts are ranked by. [default: a sample, with sample texts]")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@_proxy_options
def test(inference_id: str, query: str | None, texts: tuple[str, ...], **proxy: Any) -> None:
    """Make one real call of the endpoint INFERENCE_ID; print scores and how long it took."""
    from rerank_proxy.cli.endpoint_commands import SAMPLE_QUERY, SAMPLE_TEXTS, try_endpoint

    async def work(asked: "Proxy") -> Sequence[object]:
        return await try_endpoint(asked, inference_id, query or SAMPLE_QUERY, texts or SAMPLE_TEXTS)

    _ask(work, **proxy)
