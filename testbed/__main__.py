"""The command `python -m testbed`: obtain an Elasticsearch and run it until Ctrl-C."""

import sys

import click

from testbed.errors import TestbedError
from testbed.progress import Reporter
from testbed.signals import end_on_signals, wait_for_interrupt
from testbed.source import choose


@click.command()
@click.option("--version", help="The version; default: the newest that runs here.")
@click.option(
    "--prepare", is_flag=True, help="Only fetch it, so that it can be started without network later."
)
def main(version: str | None, prepare: bool) -> None:
    """Obtain a real Elasticsearch and run it, empty and without security, until Ctrl-C.

    It comes from the first of these that is available: ES_URL (nothing is started then), a Docker engine,
    Maven with a JDK, Elastic's download. ES_SOURCE=docker, maven or download selects one of the last three.
    Downloads are kept in .cache, or in TESTBED_CACHE.
    """
    end_on_signals()
    reporter = Reporter()
    try:
        source = choose(version)
        source.prepare(reporter)
        if prepare:
            return
        with source.start(reporter) as elasticsearch:
            print(elasticsearch.url, flush=True)
            reporter.note(f"Elasticsearch {elasticsearch.version} ({elasticsearch.origin}). Ctrl-C ends it.")
            wait_for_interrupt()
    except TestbedError as error:
        sys.exit(error.report())
    except KeyboardInterrupt:
        sys.exit(130)


main()
