"""The example settings are real settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rerank_proxy.settings import load, table
from tests.support.project import ROOT

FILES = sorted((ROOT / "config").glob("*.yaml"))


_CHOSEN = {"endpoints.NAME.model"}
"""What an example cannot leave at its default, which is none."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_loads(path: Path) -> None:
    load(path, environ={})


def test_all_files_are_found() -> None:
    assert {path.name for path in FILES} >= {"rerank-proxy.yaml", "minimal.yaml", "container.yaml"}


def test_the_commented_example_holds_every_setting_with_its_default() -> None:
    path = ROOT / "config" / "rerank-proxy.yaml"
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings = load(path, environ={})
    for setting in table():
        keys = list(setting.path)
        if setting.per_entry:
            keys[1] = next(iter(written[keys[0]]))
        _get(written, keys)
        if not setting.held:
            assert _get(written, keys) is None
        elif not setting.required and setting.key not in _CHOSEN:
            assert _get(settings, keys) == setting.default, setting.key


def _get(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key] if isinstance(values, Mapping) else getattr(values, key)
    return values


def test_the_minimal_example_serves_the_default_endpoint() -> None:
    settings = load(ROOT / "config" / "minimal.yaml", environ={})
    model = settings.endpoints[".rerank-v1-elasticsearch"].model
    assert model is not None
    assert settings.models[model].source.startswith("/models/")
