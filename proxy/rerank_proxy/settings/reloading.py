"""What becomes of settings that are read again while the proxy runs."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.rows import table
from rerank_proxy.settings.values import InvalidSettingsError


@dataclass(frozen=True, slots=True)
class Reload:
    """What changes now, and what with a restart.

    Attributes:
        settings: The settings that hold from now on.
        changed: The keys whose values change now.
        left: The keys whose values change with a restart.
    """

    settings: Settings
    changed: tuple[str, ...]
    left: tuple[str, ...]


def reload(running: Settings, read: Settings) -> Reload:
    """Return what becomes of settings that were read while others are in force.

    Raises:
        InvalidSettingsError: An endpoint has a model that takes a restart.
    """
    settings, changed, left = running, [], []
    for key, reloaded in _keys().items():
        value = _value(read, key)
        if value == _value(running, key):
            continue
        if reloaded:
            settings = _with(settings, key, value)
            changed.append(".".join(key))
        else:
            left.append(".".join(key))
    _check_models(settings)
    return Reload(settings, tuple(changed), tuple(left))


def _keys() -> dict[tuple[str, ...], bool]:
    """Return each key and whether it is reloaded. A mapping with names of the user's choice is one key."""
    return {row.path[:1] if row.per_entry else row.path: row.reloaded for row in table() if row.held}


def _value(settings: BaseModel, key: tuple[str, ...]) -> Any:
    value: Any = settings
    for name in key:
        value = getattr(value, name)
    return value


def _with(settings: Settings, key: tuple[str, ...], value: Any) -> Settings:
    if len(key) == 1:
        return settings.model_copy(update={key[0]: value})
    section, name = key
    changed = getattr(settings, section).model_copy(update={name: value})
    return settings.model_copy(update={section: changed})


def _check_models(settings: Settings) -> None:
    faults = [
        f"[endpoints.{inference_id}.model]: the model [{endpoint.model}] is new: [models] takes a restart"
        for inference_id, endpoint in settings.endpoints.items()
        if endpoint.model is not None and endpoint.model not in settings.models
    ]
    if faults:
        raise InvalidSettingsError(*faults)
