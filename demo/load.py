"""`python -m demo.load ELASTICSEARCH PROXY`: index the example films, and show a search for them.

`docker compose run --rm demo` runs it in a container.
"""

import sys

import click

from demo.films import INDEX, curl_command, index_films
from testbed import Server, TestbedError


@click.command()
@click.argument("elasticsearch")
@click.argument("proxy")
def main(elasticsearch: str, proxy: str) -> None:
    """Index the films in ELASTICSEARCH, and show a search to send to PROXY; both are URLs."""
    try:
        count = index_films(Server.parse(elasticsearch))
        command = curl_command(Server.parse(proxy))
    except TestbedError as error:
        sys.exit(error.report())
    click.echo(f"{count} films are in the index {INDEX}. Search them by meaning:\n\n{command}")


if __name__ == "__main__":
    main()
