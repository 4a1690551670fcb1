"""URLs made of an endpoint's settings: a setting fills the place that it is meant for, and no other."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from yarl import URL

from rerank_proxy.inference.remote.headers import HeaderNotAllowedError, check_value, printable

_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?")
_DOTS: Final = (".", "..")


class UrlPartError(ValueError):
    """The message holds nothing of the value."""


def segment(value: str) -> str:
    """Return a value as one segment of a path.

    Raises:
        UrlPartError: It would be none: readers of URLs take `.` and `..` for steps, in any spelling.
    """
    if value in _DOTS or not value:
        raise UrlPartError("it cannot be part of a path")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise UrlPartError("it is not a text that a URL could hold") from None


def authority(value: str) -> str:
    """Return a value that stands for a host, and a port if need be.

    Raises:
        UrlPartError: There is something else in it.
    """
    if not _AUTHORITY.fullmatch(value):
        raise UrlPartError("it is not the name of a host, with or without a port")
    return value


def below(base: str, path: str, **query: str) -> str:
    """Return the URL of a path below that of another URL, whose query string stays and is added to.

    Raises:
        ValueError: The base is not a URL.
    """
    url = URL(base)
    url = url.with_path(url.raw_path.rstrip("/") + path, encoded=True, keep_query=True)
    return str(url.update_query(query) if query else url)


def rerank_url(url: str, path: str) -> str:
    """Return a URL that is that of the whole call, or else what is `path` below it."""
    whole = URL(url).raw_path.rstrip("/").endswith("/rerank")
    return below(url, "" if whole else path)


def checked(name: str, read: Callable[[str], str]) -> Callable[[str], str | None]:
    """Return a check of a setting, in words that follow `[service_settings] `.

    Args:
        read: `segment` or `authority`.
    """

    def check(value: str) -> str | None:
        try:
            read(value)
        except UrlPartError as problem:
            return f"Invalid value [{printable(value)}]. [{name}] does not do: {problem}"
        return None

    return check


def in_header(name: str) -> Callable[[str], str | None]:
    """Return a check of a setting that is sent as a header."""

    def check(value: str) -> str | None:
        try:
            check_value(name, value)
        except HeaderNotAllowedError as problem:
            return f"Invalid value [{printable(value)}]. [{name}] does not do: {problem}"
        return None

    return check
