"""The endpoints of the settings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.services.built_in import load_services
from rerank_proxy.services.preconfigured import check_endpoints, preconfigured_endpoints
from rerank_proxy.settings import InvalidSettingsError, Settings
from tests.support.remote import Remote

COHERE: dict[str, Any] = {"service": "cohere", "service_settings": {"model_id": "rerank-v3.5"}}


def settings(endpoint: dict[str, Any] | None, **models: Any) -> Settings:
    endpoints = {} if endpoint is None else {"mine": endpoint}
    return Settings.model_validate({"models": models, "endpoints": endpoints})


def with_key(key: Any) -> dict[str, Any]:
    return {**COHERE, "service_settings": {**COHERE["service_settings"], "api_key": key}}


def fixed(given: Settings) -> list[EndpointConfig]:
    models = LocalModels(given.models)
    services = load_services(replace(Remote().context, models=models))
    return preconfigured_endpoints(services, given.endpoints, models)


def refusal(given: Settings) -> str:
    with pytest.raises(InvalidSettingsError) as raised:
        check_endpoints(given)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_elastic_rerank_brings_its_endpoint() -> None:
    (preconfigured,) = fixed(settings(None, **{".rerank-v1": "/models/rerank"}))
    assert preconfigured.inference_id == ".rerank-v1-elasticsearch"
    assert preconfigured.service_settings["model_id"] == ".rerank-v1"
    assert fixed(settings(None, minilm="/models/minilm")) == []


def test_a_secret_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-123")
    (config,) = fixed(settings(with_key({"env": "THE_KEY"})))
    assert config.secrets == {"api_key": "sk-123"}
    assert "sk-123" not in json.dumps(config.document())


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-123\n")
    (config,) = fixed(settings(with_key({"file": str(tmp_path / "key")})))
    assert config.secrets == {"api_key": "sk-123"}
    named = {**COHERE["service_settings"], "api_key_file": str(tmp_path / "key")}
    (config,) = fixed(settings({**COHERE, "service_settings": named}))
    assert config.secrets == {"api_key": "sk-123"}


def test_secrets_within_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-123")
    custom = {
        "service": "custom",
        "service_settings": {
            "url": "https://api.cohere.com/x",
            "secret_parameters": {"a": {"env": "THE_KEY"}, "b": "plain"},
            "request": "{}",
            "response": {"json_parser": {"relevance_score": "$.s[*]"}},
        },
    }
    given = settings(custom).model_copy(update={"remote": Settings().remote})
    services = Remote(allowed_hosts=["*"]).services
    (config,) = preconfigured_endpoints(services, given.endpoints, LocalModels({}))
    assert config.secrets == {"secret_parameters": {"a": "sk-123", "b": "plain"}}


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (
            with_key({"env": "NOT_THERE"}),
            "[endpoints.mine.service_settings.api_key]: there is no environment variable NOT_THERE",
        ),
        (
            with_key({"file": "/not/there"}),
            "[endpoints.mine.service_settings.api_key]: /not/there: cannot be read: No such file or "
            "directory",
        ),
        (
            with_key({"file": 5}),
            "[endpoints.mine.service_settings.api_key]: expected a path",
        ),
        (
            {**COHERE, "service_settings": {**with_key("k")["service_settings"], "api_key_file": "/f"}},
            "[endpoints.mine.service_settings]: give either `api_key` or `api_key_file`",
        ),
        (
            COHERE,
            "[endpoints.mine]: Validation Failed: 1: [secret_settings] does not contain the required setting "
            "[api_key];",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(endpoint: dict[str, Any], message: str) -> None:
    assert refusal(settings(endpoint)) == message


def test_an_unknown_service_is_told_with_the_known_ones() -> None:
    unknown = {"service": "coher", "service_settings": {"model_id": "x"}}
    message = refusal(settings(unknown))
    assert message.startswith("[endpoints.mine.service]: unknown service [coher]; known: ")
    assert ", cohere, " in message


def test_secrets_are_not_shown_by_the_settings() -> None:
    assert "sk-123" not in repr(settings(with_key("sk-123")))
