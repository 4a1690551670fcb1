"""What SIGHUP asks for: settings that are read again, and models that are loaded again."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.events import event
from rerank_proxy.settings import InvalidSettingsError, Settings, reload

logger = logging.getLogger(__name__)


async def reloaded(
    running: Settings, read: Callable[[], Settings], control: ControlClient
) -> Settings | None:
    """Read the settings again and have the application use them. The log says what becomes of them.

    Returns:
        The settings that hold from now on; None if nothing changes, because something is wrong.
    """
    try:
        outcome = reload(running, await asyncio.to_thread(read))
    except InvalidSettingsError as failure:
        _log_faults(failure.faults)
        return None
    faults = await control.reload(outcome.settings.dump_with_secrets().encode())
    if faults is None:
        logger.warning(
            "SIGHUP: nothing is changed, because the reranking process does not answer: it is starting or "
            "stopping; send the signal again later"
        )
        return None
    if faults:
        _log_faults(faults)
        return None
    logger.info("SIGHUP: the models are loaded again, and serve until their successors are ready")
    if outcome.changed:
        logger.info(
            "SIGHUP: in force from now on: %s",
            _listed(outcome.changed),
            extra=event("settings-reloaded", "configuration", settings=outcome.changed),
        )
    if outcome.left:
        logger.warning("SIGHUP: changed only when the proxy is started again: %s", _listed(outcome.left))
    return outcome.settings


def _log_faults(faults: Iterable[str]) -> None:
    for fault in faults:
        fields = event("settings-refused", "configuration", failed=True)
        logger.error("SIGHUP: nothing is changed: %s", fault, extra=fields)


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(f"[{key}]" for key in keys)
