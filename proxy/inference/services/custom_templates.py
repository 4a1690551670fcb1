"""Templates and paths of the service `custom` (``ValidatingSubstitutor``, ``MapPathExtractor``)."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.inference.remote import MalformedAnswerError

_PLACEHOLDER: Final = re.compile(r"\$\{(.*?)\}")
_STEP: Final = re.compile(r"\.([^.\[]+)|(\[\*\])")


class TemplateError(Exception):
    """A placeholder stands for nothing."""

    def __init__(self, name: str, field: str) -> None:
        super().__init__(
            f"Found placeholder [${{{name}}}] in field [{field}] after replacement call, please check that "
            "all templates have a corresponding field definition."
        )


def placeholders(template: str) -> list[str]:
    return _PLACEHOLDER.findall(template)


def fill_json(template: str, values: Mapping[str, Any], field: str) -> str:
    """The template with JSON in place of its placeholders. What is put in is not searched for further ones: a
    query may hold `${api_key}` and means just that.

    Raises:
        TemplateError: A placeholder has no value.
    """
    return _filled(template, lambda name: msgspec.json.encode(values[name]).decode(), values, field)


def fill_text(template: str, values: Mapping[str, str], field: str) -> str:
    """As `fill_json`, with the values as they are."""
    return _filled(template, lambda name: values[name], values, field)


def extract(answer: Any, path: str) -> Any:
    """What a path leads to: `$.a.b` to a member, `$.a[*].b` to a list of those of all items. Lists within
    lists stay such.

    Raises:
        MalformedAnswerError: It leads nowhere.
    """
    return _walk(answer, _STEP.findall(path.strip()), path)


def path_problem(path: Any) -> str | None:
    """What is wrong with a path, if anything."""
    if not isinstance(path, str):
        return "it is not a text"
    if not path.strip().startswith("$"):
        return f"Path [{path}] must start with a dollar sign ($)"
    rest = _STEP.sub("", path.strip()[1:])
    return f"Invalid path received [{rest}], unable to extract a field name." if rest else None


def _filled(template: str, value: Any, known: Mapping[str, Any], field: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise TemplateError(match[1], field)
        return str(value(match[1]))

    return _PLACEHOLDER.sub(one, template)


def _walk(value: Any, steps: list[tuple[str, str]], path: str) -> Any:
    if not steps:
        return value
    (field, items), rest = steps[0], steps[1:]
    if items:
        if not isinstance(value, list):
            raise MalformedAnswerError(f"[{path}]: there is no list at [*]")
        return [_walk(each, rest, path) for each in value]
    if not isinstance(value, dict) or value.get(field) is None:
        raise MalformedAnswerError(f"[{path}]: there is no field [{field}]")
    return _walk(value[field], rest, path)
