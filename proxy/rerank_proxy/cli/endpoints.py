"""The commands `rerank-proxy endpoints …`."""

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import click

from rerank_proxy.cli.options import CommandError, config_options, die, load_settings, pairs_of
from rerank_proxy.observe.log import printable
from rerank_proxy.processes.loop import new_event_loop


@click.group()
def endpoints() -> None:
    """List, put, delete and test the inference endpoints of a running proxy.

    The commands are clients of the proxy at --url, or at the address where it listens according to --config.
    Elasticsearch decides by the credentials whether they are allowed.
    """


def _proxy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for the address of the proxy and for credentials."""
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
    return config_options(command)


def _run(
    work: Callable[..., Awaitable[Any]],
    *args: Any,
    config: Path | None,
    secrets_dir: Path | None,
    url: str | None,
    user: str | None,
    api_key: str | None,
    **kwargs: Any,
) -> None:
    """Run `work` with the proxy and further arguments, and print the lines and tables that it returns."""
    from rich.console import Console

    from rerank_proxy.cli.proxy_client import Proxy, url_of

    address = (
        url.rstrip("/")
        if url is not None
        else url_of(load_settings(config=config, secrets_dir=secrets_dir).listen)
    )
    proxy = Proxy(address, _authorization(user, api_key))

    async def awaited() -> Any:
        return await work(proxy, *args, **kwargs)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            shown = runner.run(awaited())
        except CommandError as failure:
            die(str(failure), 1)
    console = Console()
    for each in shown if isinstance(shown, tuple) else (shown,):
        if isinstance(each, str):
            console.print(printable(each), markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(each, markup=False, highlight=False)


def _authorization(user: str | None, api_key: str | None) -> str | None:
    if api_key is not None:
        return f"ApiKey {api_key}"
    return None if user is None else f"Basic {b64encode(user.encode()).decode()}"


@endpoints.command("list")
@_proxy_options
def list_(**proxy: Any) -> None:
    """Show all endpoints that rerank."""
    from rerank_proxy.cli.proxy_client import list_endpoints

    _run(list_endpoints, **proxy)


@endpoints.command()
@click.argument("inference_id")
@click.option("--service", help="The service: elasticsearch, cohere, jinaai …")
@click.option("--setting", multiple=True, metavar="NAME=VALUE", help="One of service_settings. Repeatable.")
@click.option(
    "--secret",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="One of service_settings, taken from an environment variable, which other users of this machine "
    "cannot see. Repeatable.",
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
    """Create the endpoint INFERENCE_ID. The proxy tries it before it keeps it.

    \b
      rerank-proxy endpoints put my-cohere --service cohere \\
          --setting model_id=rerank-v3.5 --secret api_key=COHERE_API_KEY
    """
    from rerank_proxy.cli.proxy_client import put_endpoint, settings_of

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

    _run(put_endpoint, inference_id, request, **proxy)


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
@click.option("--force", is_flag=True, help="Delete it even if something refers to it.")
@click.option("--dry-run", is_flag=True, help="Only say what refers to it.")
@_proxy_options
def delete(inference_id: str, force: bool, dry_run: bool, **proxy: Any) -> None:
    """Delete the endpoint INFERENCE_ID."""
    from rerank_proxy.cli.proxy_client import delete_endpoint

    _run(delete_endpoint, inference_id, force=force, dry_run=dry_run, **proxy)


@endpoints.command()
@click.argument("inference_id")
@click.option(
    "--query", help="The query that the texts are scored for. [default: a sample with sample texts]"
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@_proxy_options
def test(inference_id: str, query: str | None, texts: tuple[str, ...], **proxy: Any) -> None:
    """Call the endpoint INFERENCE_ID, and print the scores and the time it took."""
    from rerank_proxy.cli.proxy_client import SAMPLE_QUERY, SAMPLE_TEXTS, try_endpoint

    _run(try_endpoint, inference_id, query or SAMPLE_QUERY, texts or SAMPLE_TEXTS, **proxy)
