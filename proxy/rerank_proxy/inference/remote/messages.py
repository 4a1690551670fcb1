"""Prepares what a service says about a refusal to be shown."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

import msgspec

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.observe.log_lines import flattened

_MAX_MESSAGE: Final = 1000
_MAX_DEPTH: Final = 8
_MAX_PARTS: Final = 5
_HIDDEN: Final = "***"
_MIN_SECRET: Final = 8
_LONG_SECRET: Final = 16
_WORDS: Final = re.compile(r"[A-Za-z _.-]+")


def service_message(body: bytes | bytearray) -> str | None:
    """Return the message in the body of a refusal, in any of the usual forms; None where it has none."""
    try:
        return _words(msgspec.json.decode(body), _MAX_DEPTH)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _words(value: Any, depth: int) -> str | None:
    """Return what `message`, `detail`, `error` … hold: a text, an object with one of them, or a list of such
    objects. Parts that repeat the request, such as `input`, are left out.
    """
    if isinstance(value, str):
        return flattened(value) or None
    if depth == 0:
        return None
    if isinstance(value, list):
        parts = (_words(each, depth - 1) for each in value[:_MAX_PARTS])
        return "; ".join(filter(None, parts)) or None
    if isinstance(value, Mapping):
        description = value.get("error_description")
        found = (
            _words(value.get(key), depth - 1)
            for key in ("message", "Message", "msg", "detail", "error", "errors", "title")
        )
        words = next(filter(None, found), None)
        return f"{words}: {flattened(description)}" if words and isinstance(description, str) else words
    return None


class Redaction:
    """Takes secrets out of what a service says, which may repeat the one that it was sent.

    All other texts are made without secrets. A value is hidden where it stands by itself. One that is short,
    or merely a word, is not hidden: self-hosted servers are given placeholders (`none`, `token`, `unused`),
    and hiding those would spoil the message and give them away.

    Args:
        config: Whose secrets.
        more: Further ones.
    """

    def __init__(self, config: EndpointConfig, more: Iterable[str] = ()) -> None:
        secrets = {each for each in (*_strings(config.secrets), *more) if _is_worth_hiding(each)}
        forms = {form for each in secrets for form in (each, quote(each, safe=""), quote_plus(each, safe=""))}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_by_itself, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """Return the text without secrets, and not too long to be shown."""
        if self._pattern is not None:
            text = self._pattern.sub(_HIDDEN, text)
        return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "…"


def _is_worth_hiding(text: str) -> bool:
    return len(text) >= _LONG_SECRET or (len(text) >= _MIN_SECRET and _WORDS.fullmatch(text) is None)


def _by_itself(text: str) -> str:
    """Return a pattern of a text: anywhere if it is long, else where it is not part of a longer word."""
    pattern = re.escape(text)
    return pattern if len(text) >= _LONG_SECRET else rf"(?<!\w){pattern}(?!\w)"


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
