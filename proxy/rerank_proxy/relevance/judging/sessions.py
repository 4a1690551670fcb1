"""Who may use the page of a person at work: the window that was opened with the address in the terminal.

The server listens on 127.0.0.1, where every user and every web page of this machine can knock. The address
that the terminal shows carries a key behind its `#`, which browsers send to no server. The page hands it over
once and gets a session for it, which it keeps for its window alone and sends in a header. No cookie: browsers
send those of 127.0.0.1 to every port, so to servers of other users as well. A key that was used is worth
nothing; one who reads it later, from a history of addresses for example, is refused.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_SESSIONS: Final = 16
"""Windows at the same time; the one that was opened first has to go."""
_BYTES: Final = 32


class Sessions:
    """Keys and sessions.

    Args:
        announce: Called with each new key, which opens one window.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._key = ""
        self.renew()

    def renew(self) -> None:
        """Make a key, in place of the former one."""
        self._key = secrets.token_urlsafe(_BYTES)
        self._announce(self._key)

    def open(self, key: str) -> str | None:
        """Return a session for a key, and renew that; None if the key is not the one that counts."""
        if not _equal(key, self._key):
            return None
        session = secrets.token_urlsafe(_BYTES)
        self._sessions[session] = None
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        self.renew()
        return session

    def knows(self, session: str) -> bool:
        """Tell whether a session is open."""
        return sum(_equal(session, each) for each in self._sessions) > 0


def _equal(one: str, other: str) -> bool:
    """Compare in a time that does not tell where two texts begin to differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
