"""The kinds of values that settings have, and what is refused with which words."""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
)
from pydantic_core import PydanticCustomError


class InvalidSettingsError(Exception):
    """A setting is unknown, has a bad value, or cannot be read. The message is one line and names the key."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on. ``port`` 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _parse_address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s]*)):(\d{1,5})", str(value))
    if match is None or int(match[3]) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:9201")
    return Address(match[1] or match[2] or "0.0.0.0", int(match[3]))


SECRET = "secret"
"""Marks an error whose value must not be shown."""


def _check_upstream_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    _ = parts.port  # a ValueError in its own words when it is none
    if parts.username or parts.password:
        reason = "must not hold credentials: every request carries its caller's own"
        raise PydanticCustomError(SECRET, reason)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must not hold a path: requests keep the path that the client sent")
    return f"{parts.scheme}://{parts.netloc}"


_KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=?")
"""32 bytes in base64, in either alphabet."""
REVEAL = "reveal"


def _check_not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise PydanticCustomError(SECRET, "must not be empty")
    return value


def _check_key(value: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(value.get_secret_value()):
        reason = "expected 32 random bytes in base64, as `openssl rand -base64 32` prints them"
        raise PydanticCustomError(SECRET, reason)
    return value


def _dump_secret(value: SecretStr, info: SerializationInfo) -> str:
    revealed = info.context is not None and info.context.get(REVEAL, False)
    return value.get_secret_value() if revealed else str(value)


def check_source(value: str) -> str:
    if "://" not in value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https", "file"):
        raise ValueError("expected a directory, a hub id, or a URL with https://, http:// or file://")
    if parts.username or parts.password or parts.query or parts.fragment:
        # What it is loaded from is told to everyone who may see the status.
        raise PydanticCustomError(
            SECRET, "must be an address alone: repositories are read without credentials"
        )
    return value


SHORT_FORMS = {"admin": "listen", "upstream": "url"}
"""Sections that may be given by their most important key alone."""


def expand(key: str) -> BeforeValidator:
    """Let a section be given by one key alone: ``upstream: URL`` for ``upstream: {url: URL}``."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


ListenAddress = Annotated[Address, BeforeValidator(_parse_address), PlainSerializer(str)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
HttpUrl = Annotated[str, AfterValidator(_check_upstream_url)]
Secret = Annotated[SecretStr, AfterValidator(_check_not_empty), PlainSerializer(_dump_secret)]
"""Shown nowhere: neither in a repr, nor in a dump, nor in an error."""
SecretKey = Annotated[Secret, AfterValidator(_check_key)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _words(value: object) -> object:
    """A list, also as one text with commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """A mapping, also as one text: JSON, or `NAME=VALUE` with commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"is not valid JSON: {error}") from None
    pairs = [word.strip().partition("=") for word in value.split(",") if word.strip()]
    if not all(name and separator for name, separator, _ in pairs):
        raise ValueError("expected NAME=VALUE, or several with commas")
    return {name: text for name, _, text in pairs}


def _check_base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT, with or without a path")
    _ = parts.port
    if parts.username or parts.password:
        raise PydanticCustomError(SECRET, "must not hold credentials: they belong to the endpoint's secrets")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query: the service's own path is appended")
    return value.rstrip("/")


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
BaseUrls = Annotated[dict[str, Annotated[str, AfterValidator(_check_base_url)]], BeforeValidator(_pairs)]
Counts = Annotated[dict[str, Count], BeforeValidator(_pairs)]
