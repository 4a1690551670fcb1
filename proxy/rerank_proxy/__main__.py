"""The entry point of `rerank-proxy` and `python -m rerank_proxy`."""

import sys
from typing import Final

from rerank_proxy.processes.startup import prepare

_INTERRUPTED: Final = 130
"""The exit status of what Ctrl-C ends, as shells give it."""


def main() -> None:
    """Run the command line. A process that serves is prepared before anything else is imported."""
    try:
        if sys.argv[1:2] == ["serve"]:
            prepare()
        from rerank_proxy.concurrency.collection import no_collection

        with no_collection():
            from rerank_proxy.cli import run

        run()
    except KeyboardInterrupt:  # while libraries are imported, mostly: a traceback tells users nothing
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
