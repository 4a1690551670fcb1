"""The preconfigured endpoints, which no request can change: those of the settings, and Elastic Rerank's."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rerank_proxy.engine import Engine
from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import DEFAULT_ENDPOINT
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.local_models import ELASTIC_RERANK, LocalModels
from rerank_proxy.inference.remote.client import RemoteClient
from rerank_proxy.inference.remote.vendor import RemoteContext
from rerank_proxy.inference.service import Service
from rerank_proxy.services.built_in import PluginError, load_services
from rerank_proxy.services.elasticsearch import settings_of_model
from rerank_proxy.settings import EndpointSettings, InvalidSettingsError, Settings, together
from rerank_proxy.settings.rows import FILE_SUFFIX


def preconfigured_endpoints(
    services: Mapping[str, Service], settings: Mapping[str, EndpointSettings], models: LocalModels
) -> list[EndpointConfig]:
    """Return the endpoints of the settings, read as a `PUT _inference` would be, and that of Elastic Rerank
    where this is among the models.

    Raises:
        InvalidSettingsError: A line for each that cannot be served, with its name and what is wrong with it.
    """
    return together(
        partial(_endpoint, services, inference_id, each)
        for inference_id, each in with_elastic_rerank(settings, models).items()
    )


def with_elastic_rerank(
    settings: Mapping[str, EndpointSettings], models: LocalModels
) -> Mapping[str, EndpointSettings]:
    """Return the endpoints of the settings, and that of Elastic Rerank where this is among the models."""
    if DEFAULT_ENDPOINT in settings or models.find(ELASTIC_RERANK) is None:
        return settings
    return {DEFAULT_ENDPOINT: EndpointSettings(model=ELASTIC_RERANK), **settings}


def _endpoint(
    services: Mapping[str, Service], inference_id: str, settings: EndpointSettings
) -> EndpointConfig:
    service = services.get(settings.service)
    if service is None:
        known = ", ".join(sorted(services))
        raise InvalidSettingsError(
            f"[endpoints.{inference_id}.service]: unknown service [{settings.service}]; known: {known}"
        )
    where = f"endpoints.{inference_id}"
    service_settings: Mapping[str, Any] = settings.service_settings
    if settings.model is not None:
        service_settings = settings_of_model(settings.model)
    service_settings = _with_secrets(service, service_settings, f"{where}.service_settings")
    try:
        return service.parse(inference_id, service_settings, settings.task_settings)
    except InferenceFailedError as failure:
        raise InvalidSettingsError(f"[{where}]: {failure}") from None


def _with_secrets(service: Service, service_settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings with the secrets that `{env: NAME}`, `{file: PATH}` and `api_key_file: PATH` stand
    for.
    """
    values = dict(service_settings)
    for setting in service.settings_for(service_settings):
        if not setting.secret:
            continue
        name, file = setting.name, setting.name + FILE_SUFFIX
        if file in values:
            if name in values:
                raise InvalidSettingsError(f"[{where}]: give either `{name}` or `{file}`")
            values[name] = _of_file(values.pop(file), f"{where}.{file}")
        elif name in values:
            values[name] = _fetched(values[name], f"{where}.{name}")
    return values


def _fetched(value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    if list(value) == ["env"]:
        if not isinstance(value["env"], str) or value["env"] not in os.environ:
            raise InvalidSettingsError(f"[{where}]: there is no environment variable {value['env']}")
        return os.environ[value["env"]]
    if list(value) == ["file"]:
        return _of_file(value["file"], where)
    return {name: _fetched(item, f"{where}.{name}") for name, item in value.items()}


def _of_file(path: object, where: str) -> str:
    if not isinstance(path, str) or not path:
        raise InvalidSettingsError(f"[{where}]: expected a path")
    try:
        return read_secret(Path(path))
    except UnfitFileError as error:
        raise InvalidSettingsError(f"[{where}]: {path}: {error.problem}") from None


def check_endpoints(settings: Settings) -> None:
    """Check that the endpoints of the settings can be served, without calling any.

    Raises:
        InvalidSettingsError: One cannot, or the plug-in that would serve it cannot be used.
    """
    models = LocalModels(settings.models)
    context = RemoteContext(
        engine=Engine(settings.models, settings.engine),  # which loads nothing unless it is started
        models=models,
        chunked_characters=settings.search.chunked_characters,
        remote=RemoteClient(settings.remote),
        timeout_s=settings.search.timeout_s,
    )
    try:
        services = load_services(context)
    except PluginError as failure:
        raise InvalidSettingsError(str(failure)) from None
    preconfigured_endpoints(services, settings.endpoints, models)
