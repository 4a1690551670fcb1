"""Run the command `judge ask`: an endpoint scores what is pooled."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from rerank_proxy.cli.judging import failing, run
from rerank_proxy.cli.output import print_line, print_table
from rerank_proxy.cli.progress import Bars
from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.cli.searcher import searcher_of
from rerank_proxy.relevance.client.endpoints import look_up
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read_text
from rerank_proxy.relevance.judging.acts import now
from rerank_proxy.relevance.judging.endpoint_judge import Asked, Asking, prompt_of
from rerank_proxy.relevance.judging.grading import Grading, InvalidGradingError, Way, chat_thresholds
from rerank_proxy.relevance.judging.texts import texts_of
from rerank_proxy.relevance.judging.workspace import Machine, Workspace, machine_name

_MAX_PROMPT: Final = 1 << 20
"""Bytes of the file of a prompt."""


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """The options of the command, by the names of its parameters."""

    directory: Path
    endpoint: str
    thresholds: str | None
    quantiles: str | None
    chat: bool
    prompt: Path | None
    concurrency: int


def ask_command(options: AskOptions, proxy: ProxyOptions) -> None:
    """Have an endpoint score what is pooled, and keep how its scores become grades."""
    with failing():
        workspace = Workspace.opened(options.directory)
        pools = workspace.pool()
        grading = _grading(options, workspace.plan.highest)
        prompt = _prompt(options, workspace.plan.scale)
        name = machine_name(options.endpoint)
    asked: list[Asked] = []

    async def work(searcher: Searcher) -> None:
        info = await look_up(searcher, options.endpoint)
        machine = Machine(
            endpoint=options.endpoint,
            service=info.service,
            model=info.model,
            fields=workspace.plan.fields,
            prompt=prompt,
            grading=grading,
            asked_at=now(),
        )
        with Bars() as progress, workspace.machine_file(name) as file:
            workspace.keep_machine(name, machine)
            asking = Asking(
                searcher,
                options.endpoint,
                prompt,
                texts_of(searcher, workspace.plan.index, workspace.plan.fields),
                progress,
            )
            asked.append(await asking.run(pools, file))

    run(work, lambda: searcher_of(proxy, concurrency=options.concurrency), options.directory)
    with failing():
        _print_asked(workspace, name, asked[0])


def _grading(options: AskOptions, highest: int) -> Grading:
    way: Way = "thresholds" if options.quantiles is None else "quantiles"
    given = options.thresholds if options.quantiles is None else options.quantiles
    try:
        bounds = chat_thresholds(highest) if given is None else tuple(map(float, given.split(",")))
        grading = Grading(way=way, bounds=bounds)
    except InvalidGradingError as error:
        raise RelevanceError(f"--{way} {given}: {error}") from None
    except ValueError:
        raise RelevanceError(f"--{way} {given}: expected numbers with commas between them") from None
    if len(bounds) != highest:
        raise RelevanceError(f"--{way} {given}: expected {highest} numbers, one for each grade from 1 up")
    return grading


def _prompt(options: AskOptions, scale: Sequence[str]) -> str | None:
    if options.prompt is None:
        return prompt_of(None, scale) if options.chat else None
    return prompt_of(read_text(options.prompt, _MAX_PROMPT), scale)


def _print_asked(workspace: Workspace, name: str, asked: Asked) -> None:
    machine, grades = workspace.machines()[name]
    table = Table("grade", "documents")
    for grade in range(workspace.plan.highest + 1):
        table.add_row(str(grade), str(sum(each == grade for each in grades.values())))
    print_line(f"{machine.endpoint} has judged {asked.done} of {asked.documents} documents")
    print_table(table)
    if asked.missing:
        print_line(f"{asked.missing} are no longer in the index, or have no text in the fields")
    if asked.unclear:
        print_line(
            f"{asked.unclear} got no grade; the same command asks again. The last reason: {asked.reason}"
        )
    print_line(f"do not use these judgments to evaluate {machine.model or machine.endpoint}")
    if asked.unclear and not asked.done:
        sys.exit(1)
