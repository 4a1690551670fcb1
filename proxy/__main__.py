"""`rerank-proxy` and `python -m proxy`."""

import sys

from proxy.process import prepare


def main() -> None:
    """Run the command line, having made a process that serves fit for it before anything else is imported."""
    if sys.argv[1:2] == ["serve"]:
        prepare()
    from proxy.cli import run

    run()


if __name__ == "__main__":
    main()
