"""Credentials and certificates of the commands that call a running proxy. None is taken from a command line,
which every user of a machine can read.
"""

import os
import ssl
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from rerank_proxy.cli.options import CommandError
from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.settings.sensitive import may_be_secret

API_KEY_VARIABLE: Final = "ES_API_KEY"
USER_VARIABLE: Final = "ES_USER"
PASSWORD_VARIABLE: Final = "ES_PASSWORD"


def credential_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for who calls the proxy, and whom to trust."""
    for option in (
        click.option(
            "--ca-certs",
            type=click.Path(path_type=Path, dir_okay=False),
            help="PEM file of the certificate authorities to trust for https. [default: those of the system]",
        ),
        click.option(
            "--password-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"File with the password of --user. [default: {PASSWORD_VARIABLE}, or asked for]",
        ),
        click.option(
            "--user",
            metavar="NAME",
            help=f"A user of Elasticsearch. [env: {USER_VARIABLE}, or NAME:PASSWORD there]",
        ),
        click.option(
            "--api-key-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"File with an API key of Elasticsearch. [default: {API_KEY_VARIABLE}]",
        ),
    ):
        command = option(command)
    return command


def authorization(
    user: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """Return the header `Authorization`: of the options, or else of the environment.

    Raises:
        CommandError: There is a password on the command line, or none for the user.
    """
    if user is not None and api_key_file is not None:
        raise CommandError("give either --user or --api-key-file")
    if api_key_file is not None:
        return f"ApiKey {_read(api_key_file)}"
    if user is not None and ":" in user:
        raise CommandError(
            "--user: every user of this machine can see a password on a command line: give NAME alone, and "
            f"the password by --password-file or {PASSWORD_VARIABLE}"
        )
    if user is None and API_KEY_VARIABLE in environ:
        return f"ApiKey {environ[API_KEY_VARIABLE]}"
    name, separator, password = (user or environ.get(USER_VARIABLE, "")).partition(":")
    if not name:
        return None
    if not separator:
        password = _password(name, password_file, environ)
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def _password(user: str, file: Path | None, environ: Mapping[str, str]) -> str:
    if file is not None:
        return _read(file)
    if PASSWORD_VARIABLE in environ:
        return environ[PASSWORD_VARIABLE]
    if not sys.stdin.isatty():
        raise CommandError(f"--user {user} needs a password: give --password-file or {PASSWORD_VARIABLE}")
    password: str = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return password


def _read(path: Path) -> str:
    try:
        return read_secret(path)
    except UnfitFileError as error:
        raise CommandError(f"{path}: {error.problem}") from None


def tls_context(ca_certs: Path | None) -> ssl.SSLContext:
    """Return what verifies the proxy's certificate.

    Raises:
        CommandError: The file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_certs is None else str(ca_certs.expanduser()))
    except ssl.SSLError:
        raise CommandError(f"--ca-certs {ca_certs}: holds no certificates in PEM") from None
    except OSError as error:
        raise CommandError(f"--ca-certs {ca_certs}: cannot be read: {error.strerror}") from None


def refuse_secrets(option: str, values: Mapping[str, Any], above: str = "") -> None:
    """Refuse settings of a service on the command line that may be secrets.

    Raises:
        CommandError: There is one.
    """
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            refuse_secrets(option, value, f"{key}.")
        elif isinstance(value, str) and may_be_secret(key):
            raise CommandError(
                f"{option} {key}=…: every user of this machine can see a secret on a command line: give it "
                "by --secret NAME=VARIABLE, --secret-file NAME=PATH or --body"
            )
