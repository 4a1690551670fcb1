"""`python -m demo`; by `make demo`, which makes its environment first."""

import sys

import click
from rich.console import Console

from demo.films import EXPECTED_FIRST, PLAIN, RERANKED, index_films, remove_films, search, warm_up
from demo.screen import show_comparison, show_how_to_try, show_setup
from demo.serving import check_ports, serving
from testbed import Reporter, TestbedError, choose
from testbed.signals import end_on_signals


@click.command()
@click.option("--once", is_flag=True, help="End after the comparison; status 1 if it is not as expected.")
@click.option("--port", default=9201, show_default=True, help="Where the proxy serves clients.")
@click.option("--admin-port", default=9202, show_default=True, help="Where it serves probes and metrics.")
@click.option("--es-version", metavar="VERSION", help="Which Elasticsearch; default: the newest at hand.")
def main(once: bool, port: int, admin_port: int, es_version: str | None) -> None:
    """Search films that match “crime” for a “flesh-eating bad guy”: plain, and reranked by the proxy.

    Elasticsearch is the first that is there: the one at ES_URL; the official image, if a Docker engine
    answers; the minimal distribution, if there are Maven and a JDK; Elastic's download. ES_SOURCE=docker,
    maven or download picks one. What the demo started is stopped when it ends.
    """
    end_on_signals()
    try:
        as_expected = _run(once, port, admin_port, es_version)
    except TestbedError as error:
        sys.exit(error.report())
    except KeyboardInterrupt:
        sys.exit(130)
    if once and not as_expected:
        sys.exit(f"{EXPECTED_FIRST} is not first.")


def _run(once: bool, port: int, admin_port: int, es_version: str | None) -> bool:
    """Return whether the reranked search found what the question means."""
    console, reporter = Console(), Reporter()
    check_ports(port, admin_port)
    with (
        choose(es_version).start(reporter) as elasticsearch,
        serving(elasticsearch, port, admin_port, reporter) as proxy,
    ):
        try:
            with reporter.step("Indexing the films"):
                index_films(proxy.server)
            show_setup(console, elasticsearch, proxy)
            warm_up(proxy.server)
            plain, reranked = search(proxy.server, PLAIN), search(proxy.server, RERANKED)
            show_comparison(console, plain, reranked)
            if not once:
                show_how_to_try(console, elasticsearch, proxy)
                proxy.wait()
        finally:
            remove_films(elasticsearch.server)
    return bool(reranked.films) and reranked.films[0].title == EXPECTED_FIRST


main()
