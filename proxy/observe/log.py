"""The log: lines on standard error. No bodies, no queries, no credentials."""

import logging
import sys


def configure(level: str) -> None:
    """Set up logging for a process of the proxy."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for chatty in ("httpx", "urllib3", "filelock", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Warns of each request that fails; who sent it tells of what matters.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
