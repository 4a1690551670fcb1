"""Programs of the test bed end in good order, whatever started them."""

import signal
import subprocess
import sys

import pytest

from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S

PROGRAM = """
from testbed.signals import end_on_signals, wait_for_interrupt
end_on_signals()
try:
    print("ready", flush=True)
    wait_for_interrupt()
except KeyboardInterrupt:
    pass  # before it waited
finally:
    print("tidied up")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("trap", ["", "trap '' INT TERM; "], ids=["as a job", "in the background"])
def test_a_signal_ends_it_with_every_finally(number: signal.Signals, trap: str) -> None:
    """Shells have jobs in the background ignore SIGINT."""
    command = ["sh", "-c", f'{trap}exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=TIMEOUT_S)[0] == "tidied up\n"
    assert process.returncode == 0
