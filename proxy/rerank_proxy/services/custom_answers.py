"""Follows paths of the service `custom` through an answer (``MapPathExtractor``)."""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from rerank_proxy.inference.remote.shapes import Scalar, decoded, struct
from rerank_proxy.services import MalformedAnswerError

_STEP: Final = re.compile(r"\.([^.\[]+)|(\[\*\])")
_NOT_IN_A_NAME: Final = re.compile(r'["\\\x00-\x1f]')
_MAX_STEPS: Final = 32


def path_problem(path: Any) -> str | None:
    """Return what is wrong with a path, if anything."""
    if not isinstance(path, str):
        return "it is not a text"
    if not path.strip().startswith("$"):
        return f"Path [{path}] must start with a dollar sign ($)"
    rest = _STEP.sub("", path.strip()[1:])
    if rest or _NOT_IN_A_NAME.search(path):
        return f"Invalid path received [{rest or path}], unable to extract a field name."
    steps = _steps(path)
    if len(steps) > _MAX_STEPS:
        return f"it has more than [{_MAX_STEPS}] steps"
    return None


def numbers(answer: bytes | bytearray, path: str) -> list[Scalar]:
    """Return the list that a path leads to: `$.a.b` to a list, `$.a[*].b` to the members of all items.

    Raises:
        MalformedAnswerError: It leads nowhere, or not to such a list.
    """
    return _column(answer, path, texts=False)


def texts(answer: bytes | bytearray, path: str) -> list[msgspec.Raw]:
    """Return the list of documents that a path leads to, still encoded."""
    return _column(answer, path, texts=True)


def _column(answer: bytes | bytearray, path: str, *, texts: bool) -> list[Any]:
    if path_problem(path) is not None:  # in an endpoint that an earlier version created
        raise MalformedAnswerError("a path of [json_parser] cannot be followed")
    try:
        return _walk(decoded(_decoder(path, texts=texts), answer), _steps(path))
    except MalformedAnswerError as error:
        raise MalformedAnswerError(f"[{path}]: {error}") from None


@lru_cache
def _decoder(path: str, *, texts: bool) -> "msgspec.json.Decoder[Any]":
    steps = _steps(path)
    type_: Any = msgspec.Raw if texts else Scalar
    if not any(items for _, items in steps):
        type_ = list[type_]
    for field, items in reversed(steps):
        type_ = list[type_] if items else struct({"inner": (field, type_)})
    return msgspec.json.Decoder(type_)


def _walk(value: Any, steps: list[tuple[str, str]]) -> list[Any]:
    """Return what the steps lead to. Lists within lists remain, and the reader refuses them."""
    if not steps:
        return value  # type: ignore[no-any-return]
    (_, items), rest = steps[0], steps[1:]
    return [_walk(each, rest) for each in value] if items else _walk(value.inner, rest)


def _steps(path: str) -> list[tuple[str, str]]:
    return _STEP.findall(path.strip())
