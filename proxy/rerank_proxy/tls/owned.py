"""A context and the files that it is made of, which may change at any time.

A pair of files is seldom replaced in one step, and Kubernetes replaces the directory behind a symbolic link.
So the files are looked at every few seconds, through all links, and what is made of them takes effect only as
a whole: until they fit together, the context that was made before stays in force. A new context changes no
connection that exists.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rerank_proxy.concurrency.daemon_threads import run_in_daemon_thread
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.files.regular import Stamp, stamp
from rerank_proxy.observe.events import event
from rerank_proxy.settings import InvalidSettingsError

if TYPE_CHECKING:
    from rerank_proxy.tls.pem import CertificateFacts, NamedFile

logger = logging.getLogger(__name__)

POLL_S: Final = 5.0
"""Seconds between two checks of the files: a status of each."""
_ATTEMPTS: Final = 3
"""How often files that change while they are read are read again at once."""

Contents = Mapping[str, bytes]
"""What is in the files, by setting."""


@dataclass(frozen=True, slots=True)
class Made:
    """What is made of the files.

    Attributes:
        certificate: The one that is shown to the other side, if there is one.
    """

    context: ssl.SSLContext
    certificate: "CertificateFacts | None" = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in the files.

    Attributes:
        stamps: By which a change is noticed.
        fault: Why nothing can be made of the files.
    """

    stamps: Sequence[Stamp | None]
    contents: Contents
    made: Made | None = None
    fault: str | None = None


def must_read(last: Look, stamps: Sequence[Stamp | None]) -> bool:
    """Decide whether the files are to be read: they have changed, or were not in order."""
    return last.fault is not None or stamps != last.stamps


def changed(before: Contents, now: Contents) -> list[str]:
    """Return the settings whose files have other contents."""
    return [setting for setting, content in now.items() if before.get(setting) != content]


class OwnedContext:
    """The context in force.

    Args:
        files: What the context is made of.
        make: Makes it. Raises InvalidSettingsError if the files are unfit.
        quiet: Another owner tells the operator what happens to the same files.

    Raises:
        InvalidSettingsError: Nothing can be made of the files.
    """

    def __init__(
        self, files: Sequence["NamedFile"], make: Callable[[Contents], Made], *, quiet: bool = False
    ) -> None:
        self._files: Final = tuple(files)
        self._make: Final = make
        self._quiet: Final = quiet
        self._last = self._read()
        if self._last.made is None:
            raise InvalidSettingsError(self._last.fault or "the files changed all the time")
        self._made = self._last.made
        self._looking: asyncio.Task[bool] | None = None
        self._tasks: Final = BackgroundTasks()
        self._warned: str | None = None
        self._is_doubted = False

    @property
    def current(self) -> ssl.SSLContext:
        """The context for new connections."""
        return self._made.context

    @property
    def certificate(self) -> "CertificateFacts | None":
        """The certificate that is shown to the other side."""
        return self._made.certificate

    def ends(self) -> float | None:
        """Return the UNIX time until which the certificate that is shown is valid; None if there is none."""
        return None if self.certificate is None else self.certificate.ends.timestamp()

    def follow(self) -> None:
        """Look at the files every few seconds, until `close`."""
        self._warn_of_time()
        if self._files:
            self._tasks.start(self._follow())

    async def close(self) -> None:
        await self._tasks.cancel()

    async def refresh(self) -> bool:
        """Look at the files now. Return whether a new context is in force. Callers share one look."""
        return await asyncio.shield(self.look())

    def look(self) -> "asyncio.Task[bool]":
        """Begin to look at the files, without waiting for what `refresh` returns."""
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.start(self._refresh())
        return self._looking

    def doubt(self) -> None:
        """Take note that the other side has refused the certificate: its successor may be there already."""
        self._is_doubted = True

    async def settled(self) -> ssl.SSLContext:
        """Return the context for a new connection. Looks at the files before if there is doubt."""
        if self._is_doubted:
            await self.refresh()
            self._is_doubted = False
        return self.current

    async def differs_from(self, used: ssl.SSLContext) -> bool:
        """Return whether another context is in force than one that has just failed. It looks if not:
        of many connections that fail together, one alone finds that the files are new.
        """
        if self.current is used:
            await self.refresh()
        return self.current is not used

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.refresh()
            self._warn_of_time()

    async def _refresh(self) -> bool:
        look = await run_in_daemon_thread(self._look, "tls-files")
        return look is not None and self._take(look)

    def _look(self) -> Look | None:
        """Return what has become of the files; None if nothing has changed."""
        try:
            stamps = [stamp(file.path) for file in self._files]
        except OSError:
            return self._read()  # which says what is wrong
        return self._read() if must_read(self._last, stamps) else None

    def _read(self) -> Look:
        """Read the files and make of them what can be made."""
        stamps: list[Stamp | None] = []
        try:
            for _ in range(_ATTEMPTS):
                stamps = [_stamp_of(file) for file in self._files]
                contents = {file.setting: file.read() for file in self._files}
                made = self._make(contents)
                if {file.setting: file.read() for file in self._files} == contents:
                    return Look(stamps, contents, made)
        except InvalidSettingsError as error:
            return Look(stamps, {}, fault="; ".join(error.faults))
        names = ", ".join(f"[{file.setting}]" for file in self._files)
        return Look(stamps, {}, fault=f"the files of {names} change while they are read")

    def _take(self, look: Look) -> bool:
        """Put what was made in force. Return whether that is something new."""
        before, self._last = self._last, look
        if look.made is None:
            self._last = replace(look, contents=before.contents)  # those in force
            if look.fault != before.fault:
                self._tell(
                    logging.ERROR,
                    f"{look.fault}; what was read before stays in force",
                    event("certificate-refused", "configuration", failed=True),
                )
            return False
        settings = changed(before.contents, look.contents)
        if not settings:
            if before.fault is not None:
                self._tell(logging.INFO, "the certificate files are in order again, and as before")
            return False
        self._made = look.made
        self._warned = None
        self._tell(
            logging.INFO,
            _taken_over(settings, look.made.certificate),
            event("certificate-taken-over", "configuration", settings=settings),
        )
        return True

    def _warn_of_time(self) -> None:
        warning = None if self.certificate is None else self.certificate.warning(datetime.now(UTC))
        if warning != self._warned and warning is not None:
            self._tell(logging.WARNING, warning)
        self._warned = warning

    def _tell(self, level: int, message: str, fields: Mapping[str, Any] | None = None) -> None:
        logger.log(logging.DEBUG if self._quiet else level, "%s", message, extra=fields)


def _stamp_of(file: "NamedFile") -> Stamp | None:
    try:
        return stamp(file.path)
    except OSError as error:
        raise file.fault(f"cannot be read: {error.strerror}") from None


def _taken_over(settings: Sequence[str], certificate: "CertificateFacts | None") -> str:
    names = ", ".join(f"[{setting}]" for setting in settings)
    if certificate is None or certificate.file.setting not in settings:
        return f"new content of {names} is in force for new connections"
    return (
        f"new content of {names} is in force for new connections: a certificate with the SHA-256 fingerprint "
        f"{certificate.fingerprint}, valid until {certificate.ends:%Y-%m-%d %H:%M} UTC"
    )
