"""Describe everything that is wrong with settings, a line for each fault, in terms of what the user has
written."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rerank_proxy.settings.guesses import hint, hint_for_key
from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.rows import is_secret
from rerank_proxy.settings.sensitive import may_hold_secret
from rerank_proxy.settings.values import SECRET, copied, shortened

_OF_A_NAME: Final = "[key]"
"""Ends the location of a problem with the name of an entry, rather than with the entry."""
_WORDS: Final[Mapping[str, str]] = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "byte_size": "expected a size, such as 100MiB",
    "byte_size_unit": "expected a size, such as 100MiB",
    "dict_type": "expected a mapping",
    "finite_number": "expected a number that is finite",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "int_type": "expected a whole number",
    "missing": "is required",
    "model_type": "expected a mapping of settings",
    "path_type": "expected a path",
    "string_too_long": "must have at most {max_length} characters",
    "string_unicode": "expected text in UTF-8",
    "string_too_short": "must not be empty",
    "string_type": "expected text",
    "tuple_type": "expected a list",
}
"""Messages by pydantic's types of problems."""

_MOST_LISTED: Final = 20
"""Names of models in a message."""
_OF_MAPPINGS: Final = ("dict_type", "model_type")
"""Types of problems that something else is in the place of a mapping: a text may be a secret out of it."""

Subject = Callable[[Sequence[str]], str]
"""Returns the subject of a message about a key: the key, and where it was given."""


def faults_of(
    values: Mapping[str, Any], subject: Subject, but: Set[tuple[str, ...]] = frozenset()
) -> Iterator[str]:
    """Yield a line for each fault.

    Faulty values are left out to find the faults of the rest, because some checks only run when everything
    below them is valid.

    Args:
        but: Keys whose faults are not told.
    """
    rest = copied(values)
    reported = set(but)
    while problems := _problems(rest):
        for problem in problems:
            key = tuple(map(str, problem["loc"]))
            if key not in reported:
                yield _message(problem, key, subject)
            reported.add(key)
        left_out = [_leave_out(rest, problem) for problem in problems]
        if not any(left_out):
            return
    yield from _unknown_models(values, subject)


def _problems(values: Mapping[str, Any]) -> list[ErrorDetails]:
    try:
        Settings(**values)
    except ValidationError as error:
        return error.errors()
    return []


def _leave_out(values: dict[Any, Any], problem: ErrorDetails) -> bool:
    """Remove the value that has the problem. Return whether there was one."""
    path = problem["loc"][:-1] if problem["type"] == "missing" else problem["loc"]
    for number, part in enumerate(path, 1):
        if part not in values:
            return False
        if number == len(path) or not isinstance(values[part], dict):
            del values[part]
            return True
        values = values[part]
    return False


def _message(problem: ErrorDetails, key: Sequence[str], subject: Subject) -> str:
    kind, value = problem["type"], problem["input"]
    if kind == "missing":
        return f"{subject(key)} {_WORDS[kind]}"
    if kind == "extra_forbidden":
        return f"{subject(key)}: unknown setting{hint_for_key(key)}"
    if key[-1] == _OF_A_NAME:
        return f"{subject(key[:-1])}: a name must be text; put it in quotes"
    text = _text(problem)
    may_be_secret = (
        kind == SECRET or is_secret(list(key)) or (kind in _OF_MAPPINGS and isinstance(value, str))
    )
    shown = text.startswith(("expected", "must")) and not may_be_secret
    return f"{subject(key)}: {text}{_instead(value) if shown else ''}{_alternative(problem)}"


def _text(problem: ErrorDetails) -> str:
    limits = problem.get("ctx", {})
    if problem["type"] == "literal_error":
        return f"expected {', '.join(_choices(problem)[:-1])} or {_choices(problem)[-1]}"
    words = _WORDS.get(problem["type"])
    return problem["msg"].removeprefix("Value error, ") if words is None else words.format_map(limits)


def _choices(problem: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", problem["ctx"]["expected"])


def _alternative(problem: ErrorDetails) -> str:
    known = _choices(problem) if problem["type"] == "literal_error" else ()
    return hint(str(problem["input"]), known)


def _instead(value: Any) -> str:
    """Say which value there is instead, if it fits into the line."""
    if value is None:
        return ", but it has no value"
    if not isinstance(value, str | int | float):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if may_hold_secret(text):
        return ""
    return f", not [{shortened(text)}]"


def _unknown_models(values: Mapping[str, Any], subject: Subject) -> Iterator[str]:
    models, endpoints = values.get("models", {}), values.get("endpoints", {})
    if not isinstance(models, Mapping) or not isinstance(endpoints, Mapping):
        return
    known = list(map(str, models))
    listed = ", ".join(sorted(known)[:_MOST_LISTED]) + (", …" if len(known) > _MOST_LISTED else "")
    for inference_id, endpoint in endpoints.items():
        model = endpoint.get("model") if isinstance(endpoint, Mapping) else endpoint
        if isinstance(model, str) and model and model not in known:
            others = f"; known: {listed}" if known else "; none is configured"
            key = ("endpoints", str(inference_id), "model")
            meant = hint(model, known) or others
            yield f"{subject(key)}: no model [{shortened(model)}] under [models]{meant}"
