"""The entry point of `rerank-proxy` and `python -m rerank_proxy`."""

import sys

from rerank_proxy.processes.startup import prepare


def main() -> None:
    """Run the command line. A process that serves is prepared before anything else is imported."""
    if sys.argv[1:2] == ["serve"]:
        prepare()
    from rerank_proxy.concurrency.collection import no_collection

    with no_collection():
        from rerank_proxy.cli import run

    run()


if __name__ == "__main__":
    main()
