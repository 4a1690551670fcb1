"""Runs one check on ever other bytes: `python -m tests.fuzz.engine TARGET SECONDS`.

It ends with 0 when the time is over, and with another status when an input fails, which is then in
`build/fuzz/failures`. What it has found to be of use is kept in `build/fuzz/TARGET`.
"""

import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

BUILD: Final = Path("build") / "fuzz"
FAILURES: Final = BUILD / "failures"
_MAX_BYTES: Final = 4096


def main(name: str, seconds: int) -> int:
    """Run a target, and return the exit status."""
    kept = BUILD / name
    kept.mkdir(parents=True, exist_ok=True)
    FAILURES.mkdir(exist_ok=True)
    try:
        import atheris
    except ImportError:
        return _run_at_random(name, seconds)
    with atheris.instrument_imports(include=["rerank_proxy"]):
        from tests.fuzz.targets import CORPUS, TARGETS
    target = TARGETS[name]
    words = BUILD / f"{name}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = [f"-max_total_time={seconds}", f"-max_len={_MAX_BYTES}", f"-dict={words}", "-timeout=30"]
    options += [
        f"-artifact_prefix={FAILURES}/{name}-",
        "-print_final_stats=1",
        "-rss_limit_mb=4096",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(kept), str(CORPUS / name)], target.check)
    atheris.Fuzz()  # ends the process
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _run_at_random(name: str, seconds: int) -> int:
    from tests.fuzz.targets import TARGETS, corpus_of

    target = TARGETS[name]
    seeds = [path.read_bytes() for path in corpus_of(name)]
    end = time.monotonic() + seconds
    chance = random.Random()
    runs = 0
    while time.monotonic() < end:
        data = changed(chance.choice(seeds), seeds, target.words, chance)
        runs += 1
        if not _holds(name, target.check, data):
            return 1
    sys.stderr.write(f"{name}: {runs} inputs, drawn at random, as Atheris is not installed\n")
    return 0


def _holds(name: str, check: Callable[[bytes], None], data: bytes) -> bool:
    try:
        check(data)
    except Exception:
        traceback.print_exc()
        (FAILURES / f"{name}-{sha256(data).hexdigest()[:16]}").write_bytes(data)
        return False
    return True


def changed(data: bytes, others: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> bytes:
    """Return bytes that differ from the given ones in a few places."""
    for _ in range(chance.randint(1, 6)):
        at, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        end = min(end, at + 64)
        other = chance.choice(others)
        start = chance.randint(0, len(other))
        new = chance.choice(
            (
                b"",
                bytes((chance.randrange(256),)),
                data[at:end] * 2,
                other[start : start + 64],
                chance.choice(words) if words else b"",
            )
        )
        keeps = chance.random() < 0.5
        data = data[:at] + new + data[at if keeps else end :]
    return data[:_MAX_BYTES]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
