"""What the commands of `judge` do: they bring the directory, the proxy and the terminal together."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import click
from rich.table import Table

from rerank_proxy.cli.options import CommandError, die
from rerank_proxy.cli.output import print_line, print_table
from rerank_proxy.cli.progress import Bars
from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.cli.searcher import searcher_of
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.relevance.endpoints import look_up
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read_text
from rerank_proxy.relevance.judging.acts import now
from rerank_proxy.relevance.judging.desk import Desk
from rerank_proxy.relevance.judging.endpoint_judge import Asked, Asking, prompt_of
from rerank_proxy.relevance.judging.grading import Grading, InvalidGradingError, chat_thresholds
from rerank_proxy.relevance.judging.pooling import make_pool
from rerank_proxy.relevance.judging.server import JudgingServer
from rerank_proxy.relevance.judging.texts import texts_of
from rerank_proxy.relevance.judging.workspace import (
    SCALE,
    Machine,
    Plan,
    Workspace,
    check_name,
    machine_name,
)
from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.reading import read_queries
from rerank_proxy.relevance.searching import Searcher
from rerank_proxy.relevance.systems import System, Wanted, systems_of

_MAX_PROMPT: Final = 1 << 20
_MAX_GRADES: Final = 10
_SCREENS: Final = 4
"""Searches at once for the windows of a person."""
_TIMEOUT_S: Final = 30.0
_PATIENCE_S: Final = 15.0
"""How long a person waits for a busy server."""


@contextmanager
def failing() -> Iterator[None]:
    """Exit with 1 and a line about what could not be done."""
    try:
        yield
    except (RelevanceError, CommandError) as failure:
        die(str(failure), 1)


def _run(work: Callable[[Searcher], Awaitable[None]], options: dict[str, Any], **searching: Any) -> None:
    """Do work with a client of the proxy that the options name."""
    try:
        proxy = ProxyOptions.taken(options)
        searcher = searcher_of(proxy, concurrency=options.get("concurrency", _SCREENS), **searching)
    except CommandError as failure:
        die(str(failure), 2)

    async def with_searcher() -> None:
        async with searcher:
            await work(searcher)

    with failing(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(with_searcher())
        except KeyboardInterrupt:
            die(f"stopped; the same command goes on in {options['directory']}", 130)


def pool_command(**options: Any) -> None:
    """Make the pool of a directory."""
    with failing():
        queries = read_queries(options["queries"])
        systems = systems_of(
            Wanted(
                options["systems"],
                options["endpoints"],
                options["field"],
                (options["window"],),
                options["first_stage"],
            )
        )
        for name in options["judges"]:
            check_name(name)
        plan = _plan(options, queries, systems)
        workspace = Workspace.made(options["directory"], plan)

    async def work(searcher: Searcher) -> None:
        with Bars() as progress:
            await make_pool(workspace, queries, systems, searcher, progress)

    url = options["url"]
    _run(work, options)
    with failing():
        _print_pool(workspace, url)


def _plan(options: Mapping[str, Any], queries: Mapping[str, Query], systems: Sequence[System]) -> Plan:
    return Plan(
        index=options["index"],
        fields=options["fields"],
        systems={system.name: dict(system.template.body) for system in systems},
        depth=options["depth"],
        seed=options["seed"],
        scale=_scale(options["meanings"]),
        judges=options["judges"],
        shared=options["shared"],
        queries=len(queries),
    )


def _scale(meanings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the scale, with what is said of some of its grades in place of the default."""
    known = {str(grade): words for grade, words in enumerate(SCALE)}
    scale = {**known, **meanings}
    if [*scale] != [str(grade) for grade in range(len(scale))] or len(scale) > _MAX_GRADES:
        raise RelevanceError(f"--grade: grades are numbers from 0 to {_MAX_GRADES - 1}, without a gap")
    return tuple(scale.values())


def _print_pool(workspace: Workspace, url: str | None) -> None:
    pools = workspace.pool().values()
    documents = sum(len(pool.documents) for pool in pools)
    print_line(f"{documents} documents to judge for {len(pools)} queries, in {workspace.path}")
    table = Table("system", "hits", "found by no other")
    for name in workspace.plan.systems:
        shares = [pool.systems[name] for pool in pools]
        table.add_row(
            printable(name), str(sum(each.hits for each in shares)), str(sum(each.alone for each in shares))
        )
    print_table(table)
    where = "" if url is None else f" --url {url}"
    for name in workspace.plan.judges or ("NAME",):
        print_line(f"next: rerank-proxy judge open {workspace.path} --as {name}{where}")


def open_command(**options: Any) -> None:
    """Serve the page of a person until the process is told to stop."""
    name: str = options["name"]
    with failing():
        workspace = Workspace.opened(options["directory"])
        check_name(name)

    async def work(searcher: Searcher) -> None:
        with workspace.person_file(name) as acts:
            desk = Desk(
                workspace, name, acts, texts_of(searcher, workspace.plan.index, workspace.plan.fields)
            )
            server = JudgingServer(desk, _announced())
            stop = _told_to_stop()
            try:
                await server.start(options["port"])
            except OSError as error:
                raise RelevanceError(
                    f"port {options['port']} cannot be listened on: {error.strerror}"
                ) from None
            try:
                await stop.wait()
            finally:
                await server.stop()

    _run(work, options, timeout_s=_TIMEOUT_S, patience_s=_PATIENCE_S)


def _announced() -> Callable[[str], None]:
    """Return what prints addresses: the first one, and those for further windows."""
    printed = 0

    def announce(address: str) -> None:
        nonlocal printed
        printed += 1
        click.echo(f"open {address}" if printed == 1 else f"for another window: {address}")
        if printed == 1:
            click.echo("it works once, in one browser of this machine; Ctrl-C ends it", err=True)

    return announce


def _told_to_stop() -> asyncio.Event:
    """Return an event that signals set from now on."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    return stop


def ask_command(**options: Any) -> None:
    """Have an endpoint score what is pooled, and keep how its scores become grades."""
    endpoint: str = options["endpoint"]
    with failing():
        workspace = Workspace.opened(options["directory"])
        pools = workspace.pool()
        grading = _grading(options, workspace.plan.highest)
        prompt = _prompt(options, workspace.plan.scale)
        name = machine_name(endpoint)
    asked: list[Asked] = []

    async def work(searcher: Searcher) -> None:
        info = await look_up(searcher, endpoint)
        machine = Machine(
            endpoint=endpoint,
            service=info.service,
            model=info.model,
            fields=workspace.plan.fields,
            prompt=prompt,
            grading=grading,
            asked_at=now(),
        )
        with Bars() as progress, workspace.machine_file(name) as file:
            _keep(workspace, name, machine, begun=bool(file.lines))
            asking = Asking(
                searcher,
                endpoint,
                prompt,
                texts_of(searcher, workspace.plan.index, workspace.plan.fields),
                progress,
            )
            asked.append(await asking.run(pools, file))

    _run(work, options)
    with failing():
        _print_asked(workspace, name, asked[0])


def _keep(workspace: Workspace, name: str, machine: Machine, *, begun: bool) -> None:
    """Keep how an endpoint judges. Other bounds apply to scores that are there; another model or prompt does
    not go with them.
    """
    former = workspace.machine(name)
    if former is not None and begun:
        for what in ("endpoint", "service", "model", "prompt", "fields"):
            if getattr(former, what) != getattr(machine, what):
                raise RelevanceError(
                    f"{name} has judged here with another {what} before: remove "
                    f"{workspace.path / 'endpoints' / name}.json and .jsonl to begin anew"
                )
    workspace.keep_machine(name, machine)


def _grading(options: Mapping[str, Any], highest: int) -> Grading:
    way = "quantiles" if options["quantiles"] is not None else "thresholds"
    given = options[way]
    try:
        bounds = chat_thresholds(highest) if given is None else tuple(map(float, given.split(",")))
        grading = Grading(way=cast("Any", way), bounds=bounds)
    except InvalidGradingError as error:
        raise RelevanceError(f"--{way} {given}: {error}") from None
    except ValueError:
        raise RelevanceError(f"--{way} {given}: expected numbers with commas between them") from None
    if len(bounds) != highest:
        raise RelevanceError(f"--{way} {given}: expected {highest} numbers, one for each grade from 1 up")
    return grading


def _prompt(options: Mapping[str, Any], scale: Sequence[str]) -> str | None:
    path: Path | None = options["prompt"]
    if path is None:
        return prompt_of(None, scale) if options["chat"] else None
    return prompt_of(read_text(path, _MAX_PROMPT), scale)


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
