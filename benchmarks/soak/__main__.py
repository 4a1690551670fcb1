"""The command `python -m benchmarks.soak`."""

import asyncio
import logging
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import transformers

from benchmarks.hardware import describe, load_average
from benchmarks.soak.models import make_world
from benchmarks.soak.run import Soak, until

_PRIMITIVES: Final = "64"
"""What oneDNN remembers, by the shapes of what it multiplied. Of the 1,024 that it keeps otherwise, some 25
KiB each, new shapes still come up after a quarter of an hour, and would look like a leak."""


async def soak(directory: Path, seed: int, minutes: float, callers: int, calls: int) -> Sequence[str]:
    """Run for so many minutes. Return what does not hold."""
    print("scoring each text alone …", flush=True)
    world = await make_world(directory, texts=60)
    run = Soak(world, seed, callers, calls, lambda line: print(line, flush=True))
    return await run.run(until(minutes))


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long it runs.")
@click.option("--seed", type=int, help="What was drawn before; a random one if it is not given.")
@click.option("--callers", default=40, show_default=True, help="Calls at the same time.")
@click.option(
    "--calls", default=10, show_default=True, help="Calls of each caller until nothing may be left."
)
@click.option("--log", is_flag=True, help="Show the engine's log.")
def main(minutes: float, seed: int | None, callers: int, calls: int, log: bool) -> None:
    """Make random calls, and disturb them, until something does not hold."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _PRIMITIVES)  # read when torch first needs it
    seed = random.randrange(10**9) if seed is None else seed
    if not log:
        logging.getLogger("rerank_proxy").setLevel(logging.CRITICAL + 1)
    logs: Any = transformers.utils.logging
    logs.disable_progress_bar()
    print(describe())
    print(f"{load_average()}; seed {seed}, {minutes:g} minutes, {callers} callers")
    with tempfile.TemporaryDirectory() as directory:
        findings = asyncio.run(soak(Path(directory), seed, minutes, callers, calls))
    for finding in findings:
        print(f"does not hold: {finding}", file=sys.stderr)
    if findings:
        sys.exit(f"seed {seed}: {len(findings)} things do not hold; repeat with SEED={seed}")
    print(f"seed {seed}: all holds")


main()
