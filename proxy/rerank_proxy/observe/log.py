"""The log: lines on standard error, without bodies, queries or credentials.

A record is one line, whatever it contains: ids, headers, file names and answers of other servers come from
outside, and a line feed in one of them could forge a record. The traceback of a record follows it in indented
lines; no record begins with a space.
"""

import logging
import reprlib
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any, Final

MAX_LINE: Final = 4096
"""The most characters of a line."""
MAX_TRACEBACK: Final = 100
"""The most lines of a traceback: the outermost and innermost frames are kept."""
_INDENT: Final = "    "

logger = logging.getLogger(__name__)


def printable(text: str) -> str:
    """Return the text in one line that is safe to print on a terminal.

    Unprintable characters are escaped as in Python: control characters, line separators, characters that
        change
    the direction of writing, and halves of surrogate pairs.
    """
    return text if text.isprintable() else "".join(map(_readable, text))


def flattened(text: str) -> str:
    """Return the text in one line, with a single blank for each run of white space and unprintable
    characters.
    """
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def one_line(text: str) -> str:
    """Return the text as `printable` does, but not longer than `MAX_LINE`."""
    shown = printable(text[:MAX_LINE])[:MAX_LINE]
    return shown if len(text) <= MAX_LINE else f"{shown} … ({len(text)} characters)"


def _readable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def say(message: str) -> None:
    """Print a message to the operator, whatever the level of the log."""
    sys.stderr.write(f"rerank-proxy: {one_line(message)}\n")
    sys.stderr.flush()


def configure(level: str) -> None:
    """Set up logging for a process of the proxy: records, warnings and uncaught exceptions use
    `Formatter`.
    """
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(_Handler())
    root.setLevel(level.upper())
    for chatty in ("httpx", "urllib3", "filelock", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.formatwarning = _format_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable
    adopt_libraries()


def adopt_libraries() -> None:
    """Make libraries that install handlers for standard error use the proxy's; call this after importing
    them.
    """
    streams = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    for library in [
        each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)
    ]:
        for handler in tuple(library.handlers):
            if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                library.removeHandler(handler)
                library.propagate = True


class Formatter(logging.Formatter):
    """Formats a record as one line, and its traceback as indented lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.message = _message(record)
        record.asctime = self.formatTime(record)
        lines = [one_line(self.formatMessage(record))]
        if record.exc_info:
            lines += _continued(self.formatException(record.exc_info))
        if record.stack_info:
            lines += _continued(record.stack_info)
        return "\n".join(lines)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the name is logging's)
        try:
            return "".join(traceback.format_exception(*ei))
        except Exception as error:  # raised by the exception's own methods
            return f"{ei[0].__name__}, whose traceback cannot be shown: {type(error).__name__}"


class _Handler(logging.StreamHandler[Any]):
    """Writes to whatever is standard error at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(Formatter())

    @property
    def stream(self) -> Any:
        return sys.stderr


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # raised by an argument that does not fit, or by its own methods
        return f"{reprlib.repr(record.msg)} % {reprlib.repr(record.args)}"


def _continued(text: str) -> list[str]:
    lines = text.rstrip("\n").split("\n")
    left_out = len(lines) - MAX_TRACEBACK
    if left_out > 0:
        half = MAX_TRACEBACK // 2
        lines[half : half + left_out] = [f"… ({left_out} lines)"]
    return [_INDENT + one_line(line) for line in lines]


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{category.__name__}: {message} ({filename}:{lineno})"


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("internal error: the process ends", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = args.thread.name if args.thread is not None else "?"
    logger.error(
        "internal error in thread %s",
        name,
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
    )


def _log_unraisable(args: Any) -> None:
    error = args.exc_value
    logger.error(
        "%s: %s",
        args.err_msg or "internal error: an exception could not be raised",
        reprlib.repr(args.object),
        exc_info=None if error is None else (args.exc_type, error, args.exc_traceback),
    )
