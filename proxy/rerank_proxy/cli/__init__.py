"""The command line, whose options are made from the settings table."""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import click

from rerank_proxy import __version__
from rerank_proxy.cli.endpoints import endpoints
from rerank_proxy.cli.evaluate import evaluate
from rerank_proxy.cli.help import Group
from rerank_proxy.cli.judge import judge
from rerank_proxy.cli.options import (
    CONFIG_OPTIONS,
    CommandError,
    bad_settings_exit,
    check_named,
    die,
    load_settings,
    settings_reader,
)
from rerank_proxy.cli.settings_options import settings_options
from rerank_proxy.cli.train import train
from rerank_proxy.concurrency.collection import no_collection
from rerank_proxy.observe.log import configure
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.processes.loop import new_event_loop

_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_EXAMPLE: Final = """
\b
  rerank-proxy serve --upstream http://localhost:9200 \\
      --listen 127.0.0.1:9201 --model minilm=/models/ms-marco-MiniLM-L-6-v2 \\
      --endpoint .rerank-v1-elasticsearch=minilm
"""
_EXAMPLES: Final = f"""
Serve in front of your cluster, with a model from a directory or from the Hugging Face hub:
{_EXAMPLE}
Then point your clients at port 9201. The same with a file, which is checked first:

\b
  rerank-proxy check --config rerank-proxy.yaml
  rerank-proxy serve --config rerank-proxy.yaml
"""


@click.group(cls=Group, context_settings=_CONTEXT, epilog=_EXAMPLES)
@click.version_option(__version__, prog_name="rerank-proxy")
def main() -> None:
    """Serve Elasticsearch's semantic reranking, as a proxy in front of any Elasticsearch.

    Searches with a text_similarity_reranker retriever are reranked by a model on this machine; every other
    request passes through byte for byte.
    """


@main.command(epilog=_EXAMPLE, params=settings_options())
def serve(**options: Any) -> None:
    """Run the proxy.

    An option is a setting, which an environment variable or the file of --config can give as well: options
    override variables, and variables the file. Secrets have no option.

    "rerank-proxy settings --describe SECTION" tells what the settings of a section are for.
    """
    read = settings_reader(**options)
    with bad_settings_exit():
        settings = read().settings
    with no_collection():
        from rerank_proxy.processes.supervisor import serve as run

    with bad_settings_exit():
        # Without what they name, the application would be restarted again and again.
        check_named(settings)
        sys.exit(run(settings, lambda: read().settings))


@main.command("settings", params=settings_options())
@click.option("--describe", is_flag=True, help="Tell what each is for, and where it can be given.")
@click.option("--changed", is_flag=True, help="Only those that differ from their defaults.")
@click.option("--json", "form", flag_value="json", help="Print a JSON array.")
@click.option("--yaml", "form", flag_value="yaml", help="Print a file that gives the same settings.")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
def settings_(keys: tuple[str, ...], changed: bool, describe: bool, form: str | None, **options: Any) -> None:
    """Show the value of each setting, and which file, variable or option gave it.

    With KEY, such as upstream or upstream.url, only that setting or those of that section. Secrets are never
    shown, only whether they are set. These are the settings of a proxy that is started with the same options
    in the same environment; a running one is not asked.
    """
    with bad_settings_exit():
        loaded = settings_reader(**options)()
    from rerank_proxy.cli.output import print_json, print_table
    from rerank_proxy.cli.settings import chosen, description_of, records_of, table_of, yaml_of
    from rerank_proxy.settings.effective import effective

    shown = chosen(effective(loaded), keys, changed=changed)
    if keys and not shown and not changed:
        die(f"there is no setting {', '.join(keys)}", 2)
    if describe:
        click.echo("\n\n".join(map(description_of, shown)))
    elif form == "json":
        print_json(records_of(shown))
    elif form == "yaml":
        click.echo(yaml_of(shown), nl=False)
    else:
        print_table(table_of(shown))


@main.command(params=settings_options())
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def check(as_json: bool, **options: Any) -> None:
    """Load the settings, contact upstream, load the models, and print a line about each.

    Exits with 0 if everything works, 1 if something does not, 2 if the settings cannot be read.
    """
    with bad_settings_exit():
        loaded = settings_reader(**options)()
    from rerank_proxy.cli.check import run_checks
    from rerank_proxy.cli.report import Line, document

    lines: list[Line] = []

    def say(line: Line) -> None:
        lines.append(line)
        if not as_json:
            click.echo(printable(line))

    with bad_settings_exit(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        check_named(loaded.settings)
        works = runner.run(run_checks(loaded.settings, say, loaded.secret_files.values()))
    if as_json:
        from rerank_proxy.cli.output import print_json

        print_json(document(lines, works=works))
    sys.exit(0 if works else 1)


@main.command(params=[*CONFIG_OPTIONS])
@click.option("--query", required=True, help="The query that the texts are scored for.")
@click.option("--model", required=True, help="A directory, a hub id, or the name of a model in --config.")
@click.option("--raw", is_flag=True, help="Print the model's raw scores instead of normalised ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
def rerank(
    query: str, model: str, raw: bool, as_json: bool, texts: tuple[str, ...], **sources: Path | None
) -> None:
    """Score texts, and print a line for each, best first: the score and the text, separated by a tab.

    Without TEXT, or with -, each line of standard input that is not blank is a text. Scores are normalised as
    in a search: max(x, 0) + min(exp(x), 1).
    """
    if texts in ((), ("-",)):
        texts = tuple(_lines(sys.stdin.buffer))
    settings = load_settings(**sources)

    def progress(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(printable(line), err=True)

    with no_collection():
        from rerank_proxy.cli.rerank import rerank_texts

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            scored = runner.run(rerank_texts(settings, model, query, texts, progress, raw=raw))
        except CommandError as failure:
            die(str(failure), 1)
    if as_json:
        from rerank_proxy.cli.output import print_json

        rows = [(each.index, float(each.score), texts[each.index]) for each in scored]
        print_json([{"index": place, "score": score, "text": text} for place, score, text in rows])
        return
    for each in scored:
        click.echo(f"{each.score}\t{texts[each.index]}")


@main.command(params=[*CONFIG_OPTIONS])
@click.argument("model")
@click.argument("out", required=False, type=click.Path(path_type=Path))
def export(model: str, out: Path | None, **sources: Path | None) -> None:
    """Make the ONNX file of MODEL, a directory or a hub id, for models with the backend onnx.

    Without OUT, the file is put beside the model's weights, as onnx/model.onnx. With OUT, a new directory is
    made that has all that the backend needs, and no weights of torch. The file's scores are compared with
    torch's before it is there.
    """
    settings = load_settings(**sources)
    from rerank_proxy.cli.export import export_model

    try:
        click.echo(printable(f"wrote {export_model(settings, model, out)}"))
    except CommandError as failure:
        die(str(failure), 1)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--name",
    "names",
    multiple=True,
    help="A host name or an address that clients connect to. Repeatable. [default: localhost, 127.0.0.1, "
    "::1 and this machine's name]",
)
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long valid.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def certs(directory: Path, names: tuple[str, ...], days: int, overwrite: bool, as_json: bool) -> None:
    """Make a certificate authority and a certificate for development in DIRECTORY.

    Prints the settings to serve https with them, and the fingerprint that Elasticsearch's clients take.
    """
    from rerank_proxy.cli.certs import default_names, make_certs

    try:
        made = make_certs(directory, names or default_names(), days, overwrite=overwrite)
    except CommandError as failure:
        die(str(failure), 1)
    if as_json:
        from rerank_proxy.cli.output import print_json

        print_json(made.document())
        return
    for line in made.lines():
        click.echo(printable(line))


def _lines(stream: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(stream):
        text = line.decode("utf-8" if number else "utf-8-sig", "replace").rstrip("\r\n")
        if text.strip():
            yield text


main.add_command(endpoints)
main.add_command(evaluate)
main.add_command(judge)
main.add_command(train)


def run() -> None:
    """Run `rerank-proxy` as this process."""
    configure("warning")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale, no output ends in an error
    main(prog_name="rerank-proxy")
