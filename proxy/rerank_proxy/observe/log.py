"""The log: lines on standard error, without bodies, queries or credentials.

A record is one line, whatever it contains: ids, headers, file names and answers of other servers come from
outside, and a line feed in one of them could forge a record. For people, the traceback of a record follows it
in indented lines; no record begins with a space. As JSON it is a part of the record (`log_json`).
"""

import logging
import reprlib
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, Final, Literal

from rerank_proxy.observe import request_id
from rerank_proxy.observe.events import LOG
from rerank_proxy.observe.log_lines import exception_text, message_of, one_line, traceback_lines
from rerank_proxy.observe.log_times import local_time
from rerank_proxy.observe.stderr import LossyStderr

_INDENT: Final = "    "
_PREFIX: Final = "rerank-proxy: "

logger = logging.getLogger(__name__)


class Form:
    """How this process writes its log.

    Attributes:
        is_json: Each line is a JSON object.
        process: The name of this process.
    """

    def __init__(self) -> None:
        self.is_json = False
        self.process = "command"


form: Final = Form()
"""That of this process: one log, one form."""


def say(message: str) -> None:
    """Print a message to the operator, whatever the level of the log."""
    write_lines(f"{_said(message)}\n")
    sys.stderr.flush()


def write_lines(text: str) -> None:
    """Write lines that are complete and in the form of the log."""
    sys.stderr.write(text)


def _said(message: str, level: str = "info") -> str:
    if not form.is_json:
        return f"{_PREFIX}{one_line(message)}"
    from rerank_proxy.observe.log_json import line

    return line(form.process, level, one_line(message), LOG, {})


def configure(level: str, format_: Literal["text", "json"] = "text", *, process: str | None = None) -> None:
    """Set up logging for a process of the proxy: records, warnings and uncaught exceptions take its form.

    Args:
        process: The name of this process; None leaves it as it is.
    """
    form.is_json = format_ == "json"
    form.process = process or form.process
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(_Handler(_formatter()))
    root.setLevel(level.upper())
    for chatty in ("httpx", "urllib3", "filelock", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.formatwarning = _format_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable
    if isinstance(sys.stderr, LossyStderr):
        sys.stderr.dropped = _dropped
    adopt_libraries()


def _formatter() -> logging.Formatter:
    if not form.is_json:
        return Formatter()
    # Imported here, as what is not used is not to be in the memory of each process.
    from rerank_proxy.observe.log_json import EcsFormatter

    return EcsFormatter(form.process)


def _dropped(lines: int) -> str:
    message = f"{lines} lines of the log were dropped because it could not be written in time"
    return f"{_said(message, 'warning')}\n"


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
        record.message = message_of(record)
        record.asctime = local_time(record.created)
        first = one_line(self.formatMessage(record))
        if ids := request_id.of_record(record):
            first += f" [request {', '.join(ids)}]"
        return "\n".join([first, *(_INDENT + line for line in traceback_lines(record))])

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the name is logging's)
        return exception_text(ei)


class _Handler(logging.StreamHandler[Any]):
    """Writes to whatever is standard error at the time."""

    def __init__(self, formatter: logging.Formatter) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(formatter)

    @property
    def stream(self) -> Any:
        return sys.stderr


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
