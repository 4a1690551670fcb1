"""Read settings from the options of a command, and report errors in one line."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from rerank_proxy.observe.log import say
from rerank_proxy.settings import CONFIG_VARIABLE, InvalidSettingsError, Settings, load, together

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help=f"YAML file of settings. [env: {CONFIG_VARIABLE}]",
)


def load_settings(
    config: Path | None, models: tuple[str, ...], endpoints: tuple[str, ...], **options: Any
) -> Settings:
    overrides: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            _put(overrides, name.split("__"), value)
    if models:
        overrides["models"] = {k: {"source": v} for k, v in pairs_of("--model", models).items()}
    if endpoints:
        overrides["endpoints"] = {k: {"model": v} for k, v in pairs_of("--endpoint", endpoints).items()}
    with bad_settings_exit():
        return load(config, overrides)


def check_named(settings: Settings) -> None:
    """Check that everything the settings name exists: files, keys, variables, services.

    Raises:
        InvalidSettingsError: It lists everything that is wrong.
    """
    from rerank_proxy.inference.registry.keys import check_registry
    from rerank_proxy.services.preconfigured import check_endpoints
    from rerank_proxy.upstream.address import tls_context

    checks: list[Callable[[], object]] = [
        lambda: tls_context(settings.upstream),
        lambda: check_registry(settings),
        lambda: check_endpoints(settings),
    ]
    together(checks)


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
