"""`python -m tests.fuzz`: runs all targets, or those that are named, each in a process of its own."""

import argparse
import subprocess
import sys

from tests.fuzz.engine import FAILURES
from tests.fuzz.targets import CORPUS, TARGETS


def main() -> int:
    """Run the targets one after another, and return how many have failed."""
    options = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz what reads foreign bytes."
    )
    options.add_argument("--minutes", type=float, default=2.0, help="for each target")
    options.add_argument("--target", action="append", choices=[*TARGETS], help="one of them; may be repeated")
    chosen = options.parse_args()
    failed = [name for name in chosen.target or TARGETS if not _run(name, round(chosen.minutes * 60))]
    for name in failed:
        sys.stderr.write(
            f"{name} failed; its input is the newest {FAILURES}/{name}-…: mend the reader, and keep it in "
            f" {CORPUS.relative_to(CORPUS.parents[2])}/{name}\n"
        )
    return len(failed)


def _run(name: str, seconds: int) -> bool:
    sys.stderr.write(f"{name}: {seconds} s\n")
    return (
        subprocess.run(
            [sys.executable, "-m", "tests.fuzz.engine", name, str(seconds)], check=False
        ).returncode
        == 0
    )


if __name__ == "__main__":
    sys.exit(main())
