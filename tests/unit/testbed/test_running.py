"""Wait for a server, and read its version."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from testbed.errors import TestbedError
from testbed.http import Server, basic
from testbed.process import GuardedProcess
from testbed.progress import Reporter, Step
from testbed.running import is_healthy, wait_until


@pytest.fixture
def step() -> Iterator[Step]:
    with Reporter(Console(quiet=True)).step("Waiting") as step:
        yield step


def test_waits_for_an_answer(tmp_path: Path, step: Step) -> None:
    answers = iter([None, None, "here"])
    with GuardedProcess(["sleep", "60"], log=tmp_path / "log") as process:
        assert wait_until(lambda: next(answers), process, "it", 30, step, str) == "here"


def test_a_process_that_ends_is_one_line_with_the_remedy(tmp_path: Path, step: Step) -> None:
    command = ["sh", "-c", "echo one; echo two; exit 3"]
    with (
        GuardedProcess(command, log=tmp_path / "log") as process,
        pytest.raises(TestbedError) as caught,
    ):
        wait_until(lambda: None, process, "it", 30, step, lambda log: f"look at {log.split()[-1]}")
    assert str(caught.value) == "it ended with status 3: look at two"
    assert caught.value.report() == "it ended with status 3: look at two\none\ntwo"


def test_a_process_that_does_not_get_ready_is_one_line(tmp_path: Path, step: Step) -> None:
    with (
        GuardedProcess(["sleep", "60"], log=tmp_path / "log") as process,
        pytest.raises(TestbedError, match=r"^it is not ready after 0\.2 s: be patient$"),
    ):
        wait_until(lambda: None, process, "it", 0.2, step, lambda log: "be patient")


def test_what_does_not_answer_is_not_healthy() -> None:
    assert not is_healthy(Server("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://h:9200", Server("http://h:9200")),
        ("https://h/", Server("https://h")),
        ("http://[::1]:9200", Server("http://[::1]:9200")),
        ("http://user:a%3Ab@h", Server("http://h", basic("user", "a:b"))),
    ],
)
def test_an_address_is_kept_apart_from_credentials(url: str, server: Server) -> None:
    assert Server.parse(url) == server


def test_basic_credentials() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617, section 2
