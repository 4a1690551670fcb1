"""Load the settings from a file, the environment and the command line."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank_proxy.settings.environment import Environment
from rerank_proxy.settings.faults import faults_of
from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.values import RIVALS, SHORT_FORMS, InvalidSettingsError
from rerank_proxy.settings.yaml_file import read_file


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Merge the settings of a YAML file, the environment and `overrides` (the command line).

    A later source overrides an earlier one.

    Raises:
        InvalidSettingsError: It lists everything that is wrong.
    """
    from_file, twice = read_file(config) if config else ({}, [])
    environment = Environment.of(os.environ if environ is None else environ)
    sources = _Sources(config, from_file, environment, overrides or {})
    merged = _merge(_merge(from_file, environment.values), sources.overrides)
    faults = [*twice, *environment.faults, *faults_of(merged, sources.subject)]
    if faults:
        raise InvalidSettingsError(*faults)
    return Settings(**merged)


@dataclass(frozen=True, slots=True)
class _Sources:
    """The sources of the settings, to say where a value was given."""

    config: Path | None
    from_file: Mapping[str, Any]
    environment: Environment
    overrides: Mapping[str, Any]

    def subject(self, key: Sequence[str]) -> str:
        """Return a key and the source that gave it; a missing key has the source of its section."""
        named = f"[{'.'.join(key)}]"
        for given in (tuple(key), tuple(key[:-1])):
            if _holds(self.overrides, given):
                return named
            if _holds(self.environment.values, given):
                variable = self.environment.variable(given)
                exactly = variable == self.environment.names.get(tuple(key))
                return f"{variable}" if exactly else f"{variable}: {named}"
            if _holds(self.from_file, given):
                return f"{self.config}: {named}"
        return named


def _holds(values: object, key: Sequence[str]) -> bool:
    """Tell whether a source gives a key, by itself or as a part of a value."""
    for part in key:
        if not isinstance(values, Mapping):
            return True
        names = {str(name): name for name in values}
        if part not in names:
            return False
        values = values[names[part]]
    return bool(key)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = _without_rivals(key, merged.get(key), value)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        elif isinstance(value, Mapping) and isinstance(below, str) and key in SHORT_FORMS:
            merged[key] = _merge({SHORT_FORMS[key]: below}, value)
        elif isinstance(value, str) and isinstance(below, Mapping) and key in SHORT_FORMS:
            merged[key] = {**below, SHORT_FORMS[key]: value}
        else:
            merged[key] = value
    return merged


def _without_rivals(section: str, below: object, over: object) -> object:
    """Return an earlier source's section without the keys whose place a later source's keys take."""
    rivals, given = RIVALS.get(section, frozenset()), _given(section, over)
    if not rivals & given:
        return below
    if isinstance(below, Mapping):
        return {key: value for key, value in below.items() if key in given or key not in rivals}
    return {} if _given(section, below) - given else below


def _given(section: str, value: object) -> set[str]:
    """Return the keys of a section that a source gives, which may be the short form's alone."""
    if isinstance(value, Mapping):
        return {str(key) for key in value}
    return {SHORT_FORMS[section]} if isinstance(value, str) and section in SHORT_FORMS else set()
