"""Settings from a file, the environment and the command line."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import yaml
from pydantic import ValidationError

from .rows import ENV_DELIMITER, ENV_PREFIX, is_secret, known_keys
from .sections import Settings
from .values import SECRET, SHORT_FORMS, InvalidSettingsError

CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
"""Where the command line finds the file, when no option names it."""

_KUBERNETES_SERVICE = re.compile(
    ENV_PREFIX + r"([A-Z0-9]+_)*?(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""What Kubernetes sets in every pod beside a Service named `rerank-proxy` or `rerank-proxy-…`: no settings of
ours."""


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings from a YAML file, the environment and `overrides` (the command line).

    A later source is stronger.

    Raises:
        InvalidSettingsError: one line that names the key and what to do.
    """
    environ = os.environ if environ is None else environ
    from_file = _read_yaml(config) if config else {}
    merged = _merge(_merge(from_file, _read_environment(environ)), overrides or {})
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise InvalidSettingsError(_describe(error, from_file, config)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettingsError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise InvalidSettingsError(f"{where}: is not valid YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InvalidSettingsError(
            f"{path}: expected a mapping of settings, such as `listen: 127.0.0.1:9201`"
        )
    return values


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Values of `RERANK_PROXY_SECTION__KEY`; a mapping such as `models` is given as JSON."""
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
            continue
        if _KUBERNETES_SERVICE.match(f"{name}={text}"):
            continue
        path = name.removeprefix(ENV_PREFIX).lower().split(ENV_DELIMITER)
        target = values
        for key in path[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InvalidSettingsError(
                    f"{name}: its section is already given as a whole by the environment"
                )
        target[path[-1]] = _from_environment(name, path, text)
    return values


def _from_environment(name: str, path: list[str], text: str) -> Any:
    if len(path) > 1 or not text.lstrip().startswith("{"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidSettingsError(f"{name}: is not valid JSON: {error}") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        elif isinstance(value, Mapping) and isinstance(below, str) and key in SHORT_FORMS:
            merged[key] = _merge({SHORT_FORMS[key]: below}, value)
        elif isinstance(value, str) and isinstance(below, Mapping) and key in SHORT_FORMS:
            merged[key] = {**below, SHORT_FORMS[key]: value}
        else:
            merged[key] = value
    return merged


def _describe(error: ValidationError, from_file: Mapping[str, Any], config: Path | None) -> str:
    """The first problem of a failed validation in one line: the key, what is wrong, what is meant."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"]]
    in_file = config is not None and (not location or location[0] in from_file)
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        close = get_close_matches(location[-1], known, n=1)
        hint = f", did you mean [{close[0]}]?" if close else f"; known: {', '.join(sorted(known))}"
        message = f"unknown setting [{key}]{hint}"
    elif problem["type"] == "missing":
        message = f"[{key}] is required"
    else:
        text = problem["msg"].removeprefix("Value error, ")
        message = f"[{key}]: {text}" if key else text
        value = problem["input"]
        secret = problem["type"] == SECRET or is_secret(location)
        if key and not secret and isinstance(value, str | int | float):
            message += f", not [{value}]"
    return f"{config}: {message}" if in_file else message
