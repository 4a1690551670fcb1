"""`python -m benchmarks`: all of them, one after the other, or those named."""

import subprocess
import sys
from typing import Final

import click

BENCHMARKS: Final = ("engine", "search")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(BENCHMARKS))
def main(names: tuple[str, ...]) -> None:
    """Run the benchmarks, each in a process of its own so that none warms up another's caches."""
    for name in names or BENCHMARKS:
        click.secho(f"== {name}", bold=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        if status:
            sys.exit(status)


main()
