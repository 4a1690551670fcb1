"""Why a server cannot be connected to: what the loops and libraries say, in the words of this proxy."""

import errno
import socket
from urllib.error import URLError

import pytest

from rerank_proxy.http.connection_faults import connection_fault


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('::1', 9)"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "anything"), "no route to host"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 9), [Errno 111] Connect call "
                "failed ('127.0.0.1', 9)"
            ),
            "connection refused",
        ),
        (
            OSError("Multiple exceptions: [Errno 101] x, [Errno 111] y"),
            "network is unreachable, connection refused",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "its host name cannot be resolved: name or service not known",
        ),
        (
            UnicodeEncodeError("idna", "x", 0, 1, "label too long"),
            "its host name cannot be resolved: it is not a valid one",
        ),
        (TimeoutError(), "no connection within 3 s"),
        (FileNotFoundError(errno.ENOENT, "x"), "no such socket"),
        (ConnectionAbortedError(), "the TLS handshake failed: it closed the connection"),
        (URLError(ConnectionRefusedError(errno.ECONNREFUSED, "x")), "connection refused"),
        (URLError("unknown url type: xyz"), "<urlopen error unknown url type: xyz>"),
        (OSError(), "OSError"),
    ],
)
def test_words(error: Exception, words: str) -> None:
    assert connection_fault(error, "3 s").words == words
