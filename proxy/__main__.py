"""`rerank-proxy` and `python -m proxy`."""

import sys

from proxy.process import prepare


def main() -> None:
    """Run the command line, having made a process that serves fit for it before anything else is imported."""
    if sys.argv[1:2] == ["serve"]:
        prepare()
    from proxy.cli import main as command_line

    command_line(prog_name="rerank-proxy")


if __name__ == "__main__":
    main()
