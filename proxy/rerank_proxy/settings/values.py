"""The types of settings, with their checks and messages."""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

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

from rerank_proxy.settings.cloud_id import url_of_cloud_id

T = TypeVar("T")


class InvalidSettingsError(Exception):
    """Settings are unknown, have bad values, or cannot be read.

    Attributes:
        faults: A line for each fault, which names the key.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def together(makers: Iterable[Callable[[], T]]) -> list[T]:
    """Call all makers, and return what they make.

    Raises:
        InvalidSettingsError: It lists the faults that all of them have found.
    """
    made: list[T] = []
    faults: list[str] = []
    for make in makers:
        try:
            made.append(make())
        except InvalidSettingsError as error:
            faults += error.faults
    if faults:
        raise InvalidSettingsError(*faults)
    return made


def given_twice(key: Sequence[str]) -> str:
    return f"[{'.'.join(key)}] is given twice"


MAX_SHOWN = 200
"""The most characters of a value that a message repeats."""
MAX_DEPTH = 64
"""The most levels of lists and mappings in each other."""


def shortened(text: str) -> str:
    """Return a value as a message repeats it."""
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def copied(values: Mapping[Any, Any], depth: int = 8) -> dict[Any, Any]:
    """Return a copy that may be changed in its outer mappings, as deep as there are settings."""
    return {
        key: copied(value, depth - 1) if depth > 1 and isinstance(value, dict) else value
        for key, value in values.items()
    }


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    below = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(each, depth - 1) for each in below)


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is not valid JSON, is nested more than `MAX_DEPTH` levels deep, or an object has a key
            twice.
    """

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for name, value in pairs:
            if name in read:
                raise ValueError(given_twice([name]))
            read[name] = value
        return read

    try:
        value = json.loads(text, object_pairs_hook=mapping)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError("is nested too deeply")
    return value


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address. To listen on, ``port`` 0 stands for any free one."""

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


def _parse_public_address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([\w][\w.-]*)):([1-9]\d{0,4})", str(value), re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise ValueError("expected HOST:PORT, for example search.example.com:9200")
    return Address(match[1] or match[2], int(match[3]))


def is_host(name: str) -> bool:
    """Return whether a text can be the name of a host, with letters of any script, or an IPv6 address."""
    if ":" in name:
        return True
    try:
        return name.isprintable() and " " not in name and bool(name.encode("idna"))
    except UnicodeError:  # an empty label, or one that is too long
        return False


def _split(url: str, expected: str) -> SplitResult:
    """Return the parts of a URL, which must have a host.

    Raises:
        ValueError: The message is `expected`.
    """
    try:
        parts = urlsplit(url)
        has_host = parts.scheme in ("http", "https") and is_host(parts.hostname or "")
    except ValueError:  # of an address in brackets
        has_host = False
    if not has_host:
        raise ValueError(expected)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("expected a port from 0 to 65535") from None
    return parts


SECRET = "secret"
"""Marks an error whose value must not be shown."""


def _check_upstream_url(value: str) -> str:
    parts = _split(value, "expected http://HOST:PORT or https://HOST:PORT")
    if parts.username or parts.password:
        reason = "must not hold credentials: every request carries those of its caller"
        raise PydanticCustomError(SECRET, reason)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must not hold a path: requests keep the path that the client sent")
    return f"{parts.scheme}://{parts.netloc}"


MAX_NODES = 64
"""The most nodes of upstream: each has connections, a line in `/ready` and samples of its own."""


def _check_upstream_urls(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must not be empty")
    if len(value) > MAX_NODES:
        raise ValueError(f"holds {len(value)} URLs; at most {MAX_NODES} can be used")
    if len({urlsplit(url).scheme for url in value}) > 1:
        raise ValueError("mixes http:// and https://, but the settings of TLS are for all: give one scheme")
    twice = sorted({url for url in value if value.count(url) > 1})
    if twice:
        raise ValueError(f"names [{twice[0]}] twice")
    return value


def _check_cloud_id(value: str) -> str:
    url_of_cloud_id(value)
    return value


_KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=?")
"""32 bytes in base64, in either alphabet."""
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,1024}={0,2}")
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


def _check_bearer_token(value: SecretStr) -> SecretStr:
    """Check that a token can stand in a header (RFC 6750, section 2.1) and cannot be guessed."""
    if not _BEARER_TOKEN.fullmatch(value.get_secret_value()):
        reason = (
            "expected 16 to 1024 letters, digits and -._~+/, with = only at the end, as `openssl rand "
            "-base64 32` prints them"
        )
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
        # Everyone who may see the status sees the source.
        raise PydanticCustomError(
            SECRET, "must be an address alone: repositories are read without credentials"
        )
    return value


SHORT_FORMS = {"admin": "listen", "upstream": "url"}
"""Sections that may be given by their most important key alone, with that key."""


RIVALS: dict[str, frozenset[str]] = {"upstream": frozenset({"url", "urls", "cloud_id"})}
"""Keys of a section of which one is given: the one of a later source takes the place of an earlier one's."""


def expand(key: str) -> BeforeValidator:
    """Allow a section to be given by one key alone: ``upstream: URL`` for ``upstream: {url: URL}``."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


ListenAddress = Annotated[Address, BeforeValidator(_parse_address), PlainSerializer(str)]
PublicAddress = Annotated[Address, BeforeValidator(_parse_public_address), PlainSerializer(str)]
"""Where others connect to, unlike an address to listen on."""
RELOADED = "reloaded"
"""Marks a setting that SIGHUP changes in a proxy that runs; all others take effect with a restart."""
Reloaded = Annotated[T, RELOADED]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
HttpUrl = Annotated[str, AfterValidator(_check_upstream_url)]
Secret = Annotated[SecretStr, AfterValidator(_check_not_empty), PlainSerializer(_dump_secret)]
"""Never shown, neither in a repr nor in a dump nor in an error."""
SecretKey = Annotated[Secret, AfterValidator(_check_key)]
BearerToken = Annotated[Secret, AfterValidator(_check_bearer_token)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _words(value: object) -> object:
    """Split a text at its commas; a list is returned as it is."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """Read a mapping from text: JSON, or `NAME=VALUE` with commas; a mapping is returned as it is."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return parse_json(value)
    pairs = [word.strip().partition("=") for word in value.split(",") if word.strip()]
    if not all(name and separator for name, separator, _ in pairs):
        raise ValueError("expected NAME=VALUE, or several with commas")
    read = {name: text for name, _, text in pairs}
    if len(read) < len(pairs):
        raise ValueError("names something twice")
    return read


def _check_base_url(value: str) -> str:
    parts = _split(value, "expected http://HOST:PORT or https://HOST:PORT, with or without a path")
    if parts.username or parts.password:
        raise PydanticCustomError(SECRET, "must not hold credentials: they belong to the endpoint's secrets")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query: the service's own path is appended")
    return value.rstrip("/")


def _matching(pattern: str, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def _check_fingerprint(value: str) -> str:
    digits = value.replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise ValueError("expected a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons")
    return digits


def _check_server_name(value: str) -> str:
    with suppress(ValueError):
        return str(ipaddress.ip_address(value))
    name = value.removesuffix(".")
    if re.fullmatch(r"[^\s:/\[\]]{1,253}", name) is None or not is_host(name):
        raise ValueError("expected a host name or an address")
    return name


Fingerprint = Annotated[str, AfterValidator(_check_fingerprint)]
ServerName = Annotated[str, AfterValidator(_check_server_name)]
Device = Annotated[
    str, _matching(r"\S+", "auto, cpu, mps, cuda, or cuda:NUMBER, several of these with commas between")
]
PackageName = Annotated[str, _matching(r"[\w.-]+", "letters, digits, dots, hyphens and underscores")]
IndexName = Annotated[
    str,
    _matching(
        r"[a-z0-9.][a-z0-9._-]{0,254}",
        "at most 255 lower-case letters, digits, dots, hyphens and underscores, no hyphen first",
    ),
]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
IndexPatterns = Annotated[
    tuple[
        Annotated[
            str, _matching(r'[^\s,"<>/\\?|#A-Z]{1,255}', "names of indices, in which * stands for anything")
        ],
        ...,
    ],
    BeforeValidator(_words),
]
HttpUrls = Annotated[tuple[HttpUrl, ...], BeforeValidator(_words), AfterValidator(_check_upstream_urls)]
CloudId = Annotated[str, AfterValidator(_check_cloud_id)]
BaseUrls = Annotated[dict[str, Annotated[str, AfterValidator(_check_base_url)]], BeforeValidator(_pairs)]
Counts = Annotated[dict[str, Count], BeforeValidator(_pairs)]
