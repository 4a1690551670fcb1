"""The command `python -m benchmarks`."""

import subprocess
import sys
from typing import Final

import click

BENCHMARKS: Final = ("engine", "fairness", "gpu", "host", "peers", "search", "sizes", "start", "edge")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(BENCHMARKS))
def main(names: tuple[str, ...]) -> None:
    """Run all benchmarks or those named, each in a separate process so that none warms another's caches."""
    for name in names or BENCHMARKS:
        click.secho(f"== {name}", bold=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        if status:
            sys.exit(status)


main()
