"""Run a command that never outlives its parent. Standard library only: `python -I -S guard.py …`.

The parent holds the other end of this program's standard input. However the parent ends (return, exception,
SIGKILL, the kernel's OOM killer), the system closes that end, and this program stops the command: SIGTERM to
its process group, and SIGKILL to the rest of the group after the grace time. A pipe does this on Linux and
macOS alike; Linux's PR_SET_PDEATHSIG would reach only the direct child, not the server that the launcher of
Elasticsearch starts, and it already fires when the *thread* that started the child ends.

This program prints one line, `started PID` or `failed REASON`, and exits with the status of the command. The
command writes to this program's standard error. The scratch directory is removed at the end.
"""

import argparse
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace-s", type=float, default=10.0)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--scratch", help="a directory to remove once the command has ended")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    wake_reader, wake_writer = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN: the command would inherit that.
        signal.signal(number, lambda *_: os.write(wake_writer, b"s"))
    try:
        child = subprocess.Popen(
            options.command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            process_group=0,
            user=options.uid,
            group=options.gid,
            extra_groups=None if options.uid is None else [],
        )
    except OSError as error:
        _tell(f"failed {error.strerror}: {error.filename}")
        return 127
    _tell(f"started {child.pid}")
    threading.Thread(target=lambda: (child.wait(), os.write(wake_writer, b"e")), daemon=True).start()
    select.select([sys.stdin.fileno(), wake_reader], [], [])
    _stop_group(child.pid, options.grace_s)
    status = child.wait()
    if options.scratch:
        shutil.rmtree(options.scratch, ignore_errors=True)
    return status if status >= 0 else 128 - status


def _tell(line: str) -> None:
    # A parent that has ended does not read it, which standard input shows too.
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def _stop_group(group: int, grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    _signal_group(group, signal.SIGTERM)
    while _signal_group(group, 0):
        if time.monotonic() > deadline:
            _signal_group(group, signal.SIGKILL)
            return
        time.sleep(0.02)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group. Return False if the group has no processes left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group that has only zombies left.
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
