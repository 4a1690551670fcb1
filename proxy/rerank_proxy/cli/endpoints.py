"""The commands `rerank-proxy endpoints …`."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from rerank_proxy.cli.credentials import refuse_secrets
from rerank_proxy.cli.help import Group
from rerank_proxy.cli.options import CONFIG_OPTIONS, CommandError, die, pairs_of
from rerank_proxy.cli.proxy_options import ProxyOptions, proxy_options
from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.processes.loop import new_event_loop

T = TypeVar("T")


@click.group(cls=Group)
def endpoints() -> None:
    """List, get, put, delete and test the inference endpoints of a running proxy.

    They are clients of the proxy at --url, or at the address where it listens according to --config.
    Elasticsearch decides by the credentials whether they are allowed, and these are never taken from the
    command line.

    They exit with 0; with 1 if the proxy refuses, cannot be reached or has no such endpoint; with 2 if the
    command is wrong.
    """


def _proxy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for the proxy, and for the form of the output."""
    return proxy_options(
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)
    )


class _Call:
    """A call of the proxy, by the options of `_proxy_options`."""

    def __init__(self, *, as_json: bool, **proxy: Any) -> None:
        self.as_json = as_json
        self._options = ProxyOptions(**proxy)

    def run(self, work: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Run `work` with the proxy and further arguments; exit with 1 if it fails."""
        from rerank_proxy.cli.proxy_client import Proxy

        try:
            proxy = Proxy(self._options.access())
        except CommandError as failure:
            die(str(failure), 2)

        async def awaited() -> T:
            return await work(proxy, *args, **kwargs)

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            try:
                return runner.run(awaited())
            except CommandError as failure:
                die(str(failure), 1)


@endpoints.command("list", params=[*CONFIG_OPTIONS])
@_proxy_options
def list_(**proxy: Any) -> None:
    """Show all endpoints that rerank."""
    from rerank_proxy.cli.output import print_json, print_table
    from rerank_proxy.cli.proxy_client import list_endpoints, table_of

    call = _Call(**proxy)
    shown, found = call.run(list_endpoints)
    if call.as_json:
        print_json(shown)
    else:
        print_table(table_of(found))


@endpoints.command(params=[*CONFIG_OPTIONS])
@click.argument("inference_id")
@_proxy_options
def get(inference_id: str, **proxy: Any) -> None:
    """Show the endpoint INFERENCE_ID with all its settings, as JSON."""
    from rerank_proxy.cli.output import print_json
    from rerank_proxy.cli.proxy_client import get_endpoint

    print_json(_Call(**proxy).run(get_endpoint, inference_id))


@endpoints.command(params=[*CONFIG_OPTIONS])
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
@click.option(
    "--secret-file",
    multiple=True,
    metavar="NAME=PATH",
    help="One of service_settings, taken from a file. Repeatable.",
)
@click.option("--task-setting", multiple=True, metavar="NAME=VALUE", help="One of task_settings. Repeatable.")
@click.option("--body", type=click.File("rb"), help="A file with the body of a PUT _inference; - for stdin.")
@_proxy_options
def put(
    inference_id: str,
    service: str | None,
    setting: tuple[str, ...],
    secret: tuple[str, ...],
    secret_file: tuple[str, ...],
    task_setting: tuple[str, ...],
    body: BinaryIO | None,
    **proxy: Any,
) -> None:
    """Create the endpoint INFERENCE_ID, and print it as the proxy keeps it. The proxy tries it first.

    \b
      rerank-proxy endpoints put my-cohere --service cohere \\
          --setting model_id=rerank-v3.5 --secret api_key=COHERE_API_KEY
    """
    from rerank_proxy.cli.output import print_json, print_line
    from rerank_proxy.cli.proxy_client import put_endpoint, settings_of

    try:
        request = _json_of(body) if body is not None else {}
        given = settings_of(setting)
        refuse_secrets("--setting", given)
        values = {**given, **_secrets(secret), **_secrets_of_files(secret_file)}
        if service is not None:
            request["service"] = service
        if values:
            request["service_settings"] = {**request.get("service_settings", {}), **values}
        if task_setting:
            request["task_settings"] = {**request.get("task_settings", {}), **settings_of(task_setting)}
    except CommandError as failure:
        die(str(failure), 2)
    call = _Call(**proxy)
    made = call.run(put_endpoint, inference_id, request)
    if call.as_json:
        print_json(made)
    else:
        print_line(json.dumps(made, ensure_ascii=False))


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


def _secrets_of_files(pairs: tuple[str, ...]) -> dict[str, str]:
    secrets = {}
    for name, path in pairs_of("--secret-file", pairs).items():
        try:
            secrets[name] = read_secret(Path(path))
        except UnfitFileError as error:
            die(f"--secret-file {name}={path}: {error.problem}", 2)
    return secrets


@endpoints.command(params=[*CONFIG_OPTIONS])
@click.argument("inference_id")
@click.option("--force", is_flag=True, help="Delete it even if something refers to it.")
@click.option("--dry-run", is_flag=True, help="Only say what refers to it.")
@_proxy_options
def delete(inference_id: str, force: bool, dry_run: bool, **proxy: Any) -> None:
    """Delete the endpoint INFERENCE_ID."""
    from rerank_proxy.cli.output import print_json, print_line
    from rerank_proxy.cli.proxy_client import delete_endpoint

    call = _Call(**proxy)
    answer, refers = call.run(delete_endpoint, inference_id, force=force, dry_run=dry_run)
    if call.as_json:
        print_json(answer)
    elif dry_run:
        print_line(refers or f"nothing refers to {inference_id}: it can be deleted")
    else:
        print_line(f"deleted {inference_id}")


@endpoints.command(params=[*CONFIG_OPTIONS])
@click.argument("inference_id")
@click.option(
    "--query", help="The query that the texts are scored for. [default: a sample with sample texts]"
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@_proxy_options
def test(inference_id: str, query: str | None, texts: tuple[str, ...], **proxy: Any) -> None:
    """Call the endpoint INFERENCE_ID, and print the scores and the time it took."""
    from rich.table import Table

    from rerank_proxy.cli.output import print_json, print_line, print_table
    from rerank_proxy.cli.proxy_client import SAMPLE_QUERY, SAMPLE_TEXTS, try_endpoint

    call, query, texts = _Call(**proxy), query or SAMPLE_QUERY, texts or SAMPLE_TEXTS
    tried = call.run(try_endpoint, inference_id, query, texts)
    if call.as_json:
        rows = [
            {"index": place, "relevance_score": score, "text": texts[place]} for place, score in tried.scores
        ]
        print_json({"query": query, "rerank": rows, "took_ms": round(tried.took_ms, 1)})
        return
    print_line(f"query: {query}")
    table = Table("relevance_score", "text")
    for place, score in tried.scores:
        table.add_row(str(score), printable(texts[place]))
    print_table(table)
    print_line(f"{len(texts)} texts in {tried.took_ms:.1f} ms")
