"""Run the command `judge open`: the page of a person, until the process is told to stop."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from rerank_proxy.cli.judging import failing, run
from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.cli.searcher import searcher_of
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judging.desk import Desk
from rerank_proxy.relevance.judging.server import JudgingServer
from rerank_proxy.relevance.judging.texts import texts_of
from rerank_proxy.relevance.judging.workspace import Workspace, check_name

_SCREENS: Final = 4
"""Searches at once for the windows of a person."""
_TIMEOUT_S: Final = 30.0
_PATIENCE_S: Final = 15.0
"""How long a person waits for a busy server."""


def open_command(directory: Path, name: str, port: int, proxy: ProxyOptions) -> None:
    """Serve the page of a person until the process is told to stop.

    Args:
        port: 0 for any that is free.
    """
    with failing():
        workspace = Workspace.opened(directory)
        check_name(name)

    async def work(searcher: Searcher) -> None:
        with workspace.person_file(name) as acts:
            desk = Desk(
                workspace, name, acts, texts_of(searcher, workspace.plan.index, workspace.plan.fields)
            )
            server = JudgingServer(desk, _announced())
            stop = _told_to_stop()
            try:
                await server.start(port)
            except OSError as error:
                raise RelevanceError(f"port {port} cannot be listened on: {error.strerror}") from None
            try:
                await stop.wait()
            finally:
                await server.stop()

    def client() -> Searcher:
        return searcher_of(proxy, concurrency=_SCREENS, timeout_s=_TIMEOUT_S, patience_s=_PATIENCE_S)

    run(work, client, directory)


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
