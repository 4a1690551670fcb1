"""The application's process as a whole: it makes the parts from the settings, serves, and ends in order."""

import asyncio
import gc
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rerank_proxy.app.control import Asked, serve_control
from rerank_proxy.app.ending import Ending, end_when_stuck, end_within
from rerank_proxy.app.listener import Listener
from rerank_proxy.app.parts import Wiring, make_app
from rerank_proxy.engine import Engine
from rerank_proxy.observe.log import configure
from rerank_proxy.observe.own_process import OwnProcess
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.processes.startup import log_to
from rerank_proxy.settings import Settings
from rerank_proxy.tracing.opening import open_tracer
from rerank_proxy.upstream import callers

if TYPE_CHECKING:
    from rerank_proxy.tracing.tracer import Tracer

_JOURNAL: Final = "engine.json"
_FLUSH_S: Final = 3.0
"""Seconds for the spans that are not sent yet, when all answers are."""
_CLEANUP_S: Final = 10.0
"""Seconds for all that is closed after the last answer."""


def run(orders: bytes) -> None:
    """Serve until the supervisor says stop.

    Args:
        orders: JSON with `settings`, the descriptor of the `log`, and the paths `socket` (searches) and
            `control` (readiness, metrics).
    """
    decoded: dict[str, Any] = msgspec.json.decode(orders)
    log_to(decoded.get("log"))
    settings = Settings.model_validate(decoded["settings"])
    configure(settings.log.level, settings.log.format, process="app")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        status = runner.run(serve(settings, decoded["socket"], decoded["control"]))
    sys.exit(status)


async def serve(settings: Settings, socket: str, control_socket: str) -> int:
    """Serve until the supervisor says stop, or something never returns.

    Returns:
        The exit status.
    """
    ending = Ending()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.asked.set)
    end_when_stuck(settings.engine.max_batch_s)
    async with AsyncExitStack() as cleanup:
        wiring = Wiring(settings, cleanup)
        # The journal lies beside the sockets: only the next process of the same supervisor reads it.
        engine = await _engine(wiring, Path(control_socket).with_name(_JOURNAL), ending)
        app, status, clicks = await make_app(wiring, engine, _tracer(wiring))
        _watch_process(wiring)
        asked = Asked(engine, wiring.registry, wiring.reloading, wiring.recordings, status, clicks)
        control = await serve_control(asked, control_socket)
        cleanup.push_async_callback(control.stop)
        listener = Listener(app.handle, settings.lifecycle.shutdown_timeout_s)
        cleanup.push_async_callback(listener.close)
        wiring.reloading.add(listener.use)
        wiring.reloading.add(lambda new: configure(new.log.level, new.log.format))
        await listener.start(socket)
        gc.freeze()  # as the engine does when it has loaded a model
        await ending.asked.wait()
        end_within(settings.lifecycle.shutdown_timeout_s + _CLEANUP_S, ending.status)
    return ending.status


async def _engine(wiring: Wiring, journal: Path, ending: Ending) -> Engine:
    engine = Engine(
        wiring.settings.models,
        wiring.settings.engine,
        wiring.registry,
        journal=journal,
        on_hang=ending.hung,
        caller=callers.current,
    )
    await engine.start()
    wiring.cleanup.push_async_callback(engine.close)
    return engine


def _tracer(wiring: Wiring) -> "Tracer | None":
    tracer = open_tracer(wiring.settings.tracing, wiring.registry)
    if tracer is not None:
        wiring.cleanup.push_async_callback(tracer.close, _FLUSH_S)
        wiring.reloading.add(lambda new: tracer.use(new.tracing))
    return tracer


def _watch_process(wiring: Wiring) -> None:
    own = OwnProcess("app")
    wiring.registry.register(own)
    own.watch_loop()
    wiring.cleanup.callback(own.close)
