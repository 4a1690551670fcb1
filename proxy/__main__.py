"""`python -m proxy` is `rerank-proxy`."""

from proxy.cli import run

run()
