"""Standard error that can be lost."""

import logging
import os
import threading
from contextlib import suppress
from io import StringIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.observe.stderr import LossyStderr
from tests.support.raw_http import TIMEOUT_S


def read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


@given(st.lists(st.text(), max_size=20))
def test_what_is_written_arrives_in_order(pieces: list[str]) -> None:
    reader, writer = os.pipe()
    stream = LossyStderr(writer)
    for piece in pieces:
        assert stream.write(piece) == len(piece)
    assert stream.drain(TIMEOUT_S)
    os.close(writer)
    assert read_all(reader) == "".join(pieces).encode("utf-8", "backslashreplace")


def test_while_nothing_reads_it_a_bounded_part_waits_and_the_rest_is_counted() -> None:
    reader, writer = os.pipe()
    stream = LossyStderr(writer, max_waiting=1000)
    line = "x" * 99 + "\n"
    capacity = 64 * 1024  # of a pipe, on Linux; what is less is fine too
    count = capacity // len(line) + 500
    for _ in range(count):
        stream.write(line)
    assert not stream.drain(0)
    received = bytearray()
    reading = threading.Thread(target=lambda: received.extend(read_all(reader)))
    reading.start()
    assert stream.drain(TIMEOUT_S)
    stream.write("later\n")
    assert stream.drain(TIMEOUT_S)
    os.close(writer)
    reading.join()
    lines = received.decode().splitlines()
    arrived = lines.count(line.rstrip())
    dropped = f"{count - arrived} lines of the log were dropped"
    lost = f"rerank-proxy: {dropped} because it could not be written in time"
    assert lines == [line.rstrip()] * arrived + [lost, "later"]
    assert stream.lost == count - arrived


def test_one_that_does_not_wait_is_waited_for() -> None:
    """Another process that has the stream may want it so."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    stream = LossyStderr(writer)
    stream.write("last")
    received = bytearray()
    reading = threading.Thread(target=lambda: received.extend(read_all(reader)))
    reading.start()
    assert stream.drain(TIMEOUT_S)
    os.close(writer)
    reading.join()
    assert received.endswith(b"xlast")


def test_one_that_fails_is_written_to_again(tmp_path: Path) -> None:
    """A full disk may have room later on."""
    file = tmp_path / "log"
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = LossyStderr(descriptor)
    stream.write("lost\n")
    assert stream.drain(TIMEOUT_S)
    assert stream.lost == 1
    with file.open("wb") as disk:
        os.dup2(disk.fileno(), descriptor)
    stream.write("kept\n")
    assert stream.drain(TIMEOUT_S)
    assert file.read_text() == "kept\n"
    os.close(descriptor)


def test_a_handler_of_logging_takes_it() -> None:
    reader, writer = os.pipe()
    stream = LossyStderr(writer)
    handler = logging.StreamHandler[LossyStderr | StringIO](stream)
    handler.handle(logging.LogRecord("name", logging.INFO, "path", 1, "a %s", ("line",), None))
    assert stream.drain(TIMEOUT_S)
    os.close(writer)
    assert read_all(reader) == b"a line\n"
