"""Read settings from the options of a command, and report errors in one line."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from rerank_proxy.cli.help import BASICS, Option
from rerank_proxy.observe.log import say
from rerank_proxy.settings import (
    CONFIG_VARIABLE,
    SECRETS_DIR_VARIABLE,
    InvalidSettingsError,
    Loaded,
    Settings,
    load_with_origins,
    together,
)


class CommandError(Exception):
    """A command has failed. The message is for the user."""


SERVICE_PLUG_INS: Final = "rerank_proxy.services"
"""The entry points of services in other packages, as in `services.built_in`."""


def _config_options() -> list[click.Parameter]:
    return [
        Option(
            ["--config"],
            group=BASICS,
            type=click.Path(path_type=Path, dir_okay=False),
            envvar=CONFIG_VARIABLE,
            help=f"YAML file of settings. [env: {CONFIG_VARIABLE}]",
        ),
        Option(
            ["--secrets-dir"],
            group=BASICS,
            type=click.Path(path_type=Path, file_okay=False),
            envvar=SECRETS_DIR_VARIABLE,
            help=f"Directory with a file for each secret. [env: {SECRETS_DIR_VARIABLE}]",
        ),
    ]


CONFIG_OPTIONS: Final = _config_options()
"""The options for where settings are."""


def load_settings(**options: Any) -> Settings:
    """Read the settings, or exit with 2 and a line about each fault."""
    with bad_settings_exit():
        return settings_reader(**options)().settings


def settings_reader(
    config: Path | None,
    secrets_dir: Path | None = None,
    models: tuple[str, ...] = (),
    endpoints: tuple[str, ...] = (),
    **options: Any,
) -> Callable[[], Loaded]:
    """Return what reads the settings, each time anew: from the file, the
    directory, the environment and the options."""
    overrides: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            _put(overrides, name.split("__"), value)
    if models:
        overrides["models"] = {k: {"source": v} for k, v in pairs_of("--model", models).items()}
    if endpoints:
        overrides["endpoints"] = {k: {"model": v} for k, v in pairs_of("--endpoint", endpoints).items()}
    return lambda: load_with_origins(config, overrides, secrets_dir=secrets_dir)


def check_named(settings: Settings) -> None:
    """Check that everything the settings name exists: files, keys, variables, services.

    Raises:
        InvalidSettingsError: It lists everything that is wrong.
    """
    from rerank_proxy.inference.registry.keys import check_registry
    from rerank_proxy.tls.listening import listener_tls
    from rerank_proxy.tracing.opening import check_tracing
    from rerank_proxy.upstream.tls import upstream_tls

    checks: list[Callable[[], object]] = [
        lambda: listener_tls(settings.tls, "tls"),
        lambda: listener_tls(settings.admin.tls, "admin.tls"),
        lambda: upstream_tls(settings.upstream),
        lambda: check_registry(settings),
        lambda: check_tracing(settings.tracing),
    ]
    if _need_services(settings):
        # Imported here: it brings along all that an application has, half a second of processor time and the
        # memory for it, which the process that relays does not need otherwise.
        from rerank_proxy.services.preconfigured import check_endpoints

        checks.append(lambda: check_endpoints(settings))
    together(checks)


def _need_services(settings: Settings) -> bool:
    """Return whether it takes the services to check the endpoints: not for those of models of the settings.

    A plug-in that cannot be imported is a fault, too, which only the import shows.
    """
    of_models = all(
        endpoint.model in settings.models and not endpoint.task_settings
        for endpoint in settings.endpoints.values()
    )
    return not of_models or bool(entry_points(group=SERVICE_PLUG_INS))


def pairs_of(option: str, values: tuple[str, ...]) -> Mapping[str, str]:
    pairs = {}
    for value in values:
        name, separator, target = value.partition("=")
        if not (name and separator and target):
            die(f"{option} {value}: expected NAME=VALUE", 2)
        if name in pairs:
            die(f"{option} {value}: [{name}] is given twice", 2)
        pairs[name] = target
    return pairs


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value


@contextmanager
def bad_settings_exit() -> Iterator[None]:
    """Exit with 2 if settings turn out to be invalid, as some do only when they are used."""
    try:
        yield
    except InvalidSettingsError as failure:
        for fault in failure.faults:
            say(fault)
        sys.exit(2)


def die(message: str, status: int) -> NoReturn:
    say(message)
    sys.exit(status)
