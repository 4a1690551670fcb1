"""`python -m proxy` is `rerank-proxy`."""

from proxy.cli import main

main(prog_name="rerank-proxy")
