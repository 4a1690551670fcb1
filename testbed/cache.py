"""Keep what takes long to obtain between runs, which may share it."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import TestbedError
from testbed.progress import Reporter

_LOCK_TIMEOUT_S = 1800.0


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `$TESTBED_CACHE`, or `.cache` in the repository."""
    if chosen := environ.get("TESTBED_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(__file__).resolve().parent.parent / ".cache"


def cached_directory(target: Path, fill: Callable[[Path], None], reporter: Reporter) -> Path:
    """Return `target`, which `fill` makes if it does not exist yet.

    `fill` is given an empty directory beside the target, which gets the target's name only when it is
    complete: however it is interrupted, a directory of that name is complete. Concurrent runs that need the
    same target wait for the first.

    Raises:
        TestbedError: The cache cannot be written, or another run holds it for too long.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f".{target.name}.lock"), reporter):
            if not target.is_dir():
                _fill(target, fill)
    except PermissionError as error:
        raise TestbedError(
            f"the cache cannot be written ({error.strerror}: {error.filename}): "
            "change its owner, or set TESTBED_CACHE to another directory"
        ) from error
    return target


def _fill(target: Path, fill: Callable[[Path], None]) -> None:
    prefix = f".{target.name}.partial-"
    for abandoned in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned)  # The lock is held, so the run that made it has ended.
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        partial.chmod(0o755)  # mkdtemp makes it private, but the server may run as another user.
        fill(partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(path: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a lock, which the system releases when its holder ends, in whatever way."""
    with path.open("ab") as stream:
        if not _try_lock(stream.fileno()):
            with reporter.step(f"Waiting for another run that fills {path.parent}") as step:
                deadline_s = time.monotonic() + _LOCK_TIMEOUT_S
                while not _try_lock(stream.fileno()):
                    if time.monotonic() > deadline_s:
                        raise TestbedError(f"{path} has been locked for too long: end the run that holds it")
                    step.tick()
                    time.sleep(0.2)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
