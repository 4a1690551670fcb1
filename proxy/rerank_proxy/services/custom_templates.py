"""Fills templates of the service `custom` (``ValidatingSubstitutor``)."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_PLACEHOLDER: Final = re.compile(r"\$\{([^{}]*)\}")
_MAX_FILLED: Final = 128 * 1024 * 1024


class TemplateError(Exception):
    """A template cannot be filled."""


def unknown_placeholder(name: str, field: str) -> TemplateError:
    """Return the error of a placeholder without a value."""
    return TemplateError(
        f"Found placeholder [${{{name}}}] in field [{field}] after replacement call, please check that "
        "all templates have a corresponding field definition."
    )


def placeholders(template: str) -> list[str]:
    """Return the names in a template, in order."""
    return _PLACEHOLDER.findall(template)


def fill_json(template: str, values: Mapping[str, Any], field: str) -> str:
    """Return the template with JSON in place of its placeholders. Values are not searched for further ones: a
    query that holds `${api_key}` is sent like that.

    Raises:
        TemplateError: A placeholder has no value, or all of them together are too large.
    """
    known = {name: values[name] for name in placeholders(template) if name in values}
    texts = {name: msgspec.json.encode(value).decode() for name, value in known.items()}
    return fill_text(template, texts, field)


def fill_text(template: str, values: Mapping[str, str], field: str) -> str:
    """Return the template with texts in place of its placeholders; raise as `fill_json`."""
    size = len(template)
    for name in placeholders(template):
        if name not in values:
            raise unknown_placeholder(name, field)
        size += len(values[name])
        if size > _MAX_FILLED:
            raise TemplateError(
                f"Field [{field}] is larger than [{_MAX_FILLED}] bytes after replacement call"
            )
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
