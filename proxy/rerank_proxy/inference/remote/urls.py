"""Makes URLs of an endpoint's settings. A setting fills the part that it is meant for, and no other."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from yarl import URL

from rerank_proxy.inference.remote.headers import HeaderNotAllowedError, check_value, excerpt

_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?")
_DOTS: Final = (".", "..")


class UrlPartError(ValueError):
    """A value cannot be that part of a URL. The message holds nothing of the value."""


def segment(value: str) -> str:
    """Return a value as one segment of a path.

    Raises:
        UrlPartError: It would not be one: readers of URLs take `.` and `..` for steps, in any spelling.
    """
    if value in _DOTS or not value:
        raise UrlPartError("it cannot be part of a path")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise UrlPartError("it is not a text that a URL could hold") from None


def authority(value: str) -> str:
    """Return a value that is a host, with or without a port.

    Raises:
        UrlPartError: It is something else.
    """
    if not _AUTHORITY.fullmatch(value):
        raise UrlPartError("it is not the name of a host, with or without a port")
    return value


def below(base: str, path: str, **query: str) -> str:
    """Return the URL of a path below that of another URL, whose query string is kept and added to.

    Raises:
        ValueError: The base is not a URL.
    """
    url = URL(base)
    url = url.with_path(url.raw_path.rstrip("/") + path, encoded=True, keep_query=True)
    return str(url.update_query(query) if query else url)


def rerank_url(url: str, path: str) -> str:
    """Return a URL that ends in `/rerank` as it is, and else the URL of `path` below it."""
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
            return f"Invalid value [{excerpt(value)}]. [{name}] cannot be used: {problem}"
        return None

    return check


def in_header(name: str) -> Callable[[str], str | None]:
    """Return a check of a setting that is sent as a header."""

    def check(value: str) -> str | None:
        try:
            check_value(name, value)
        except HeaderNotAllowedError as problem:
            return f"Invalid value [{excerpt(value)}]. [{name}] cannot be used: {problem}"
        return None

    return check
