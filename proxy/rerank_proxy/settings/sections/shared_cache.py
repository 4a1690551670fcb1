"""The section about the cache that replicas share."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from rerank_proxy.settings.values import SECRET, Count, Seconds, Secret, Section


def _check_url(value: str) -> str:
    if "@" in value or "?" in value:  # Either may hold a password, even where the rest is wrong.
        reason = "must not hold credentials or options: give [username], and [password] or [password_file]"
        raise PydanticCustomError(SECRET, reason)
    expected = "expected redis://HOST:PORT, or rediss://HOST:PORT for TLS, with or without /DATABASE"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.fragment:
        raise ValueError(expected)
    if not re.fullmatch(r"/?|/\d{1,9}", parts.path):
        raise ValueError(expected)
    return value


def _check_prefix(value: str) -> str:
    if not re.fullmatch(r"[\w.:-]{1,100}", value, re.ASCII):
        raise ValueError("expected at most 100 letters, digits, dots, colons, hyphens and underscores")
    return value


class SharedCacheSettings(Section):
    url: Annotated[str, AfterValidator(_check_url)] | None = Field(
        None,
        description="A server of Redis or Valkey in which replicas share what models gave: "
        "`redis://HOST:PORT/DATABASE`, or `rediss://…` for TLS. Needs `rerank-proxy[shared-cache]`. Absent: "
        "nothing is shared.",
    )
    username: str | None = Field(
        None, min_length=1, description="The proxy's account there. Absent: the default one."
    )
    password: Secret | None = Field(None, description="Its password.")
    password_file: Path | None = Field(
        None, description="A file with the password, in place of `password`, read for every connection."
    )
    ca_certs: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust for `rediss`. Absent: those of the "
        "system.",
    )
    timeout_s: Seconds = Field(
        0.02,
        description="Seconds that a search waits for an answer about up to 2048 texts. If none comes by "
        "then, it asks no more, and scores what is missing.",
    )
    ttl_s: Count = Field(86_400, description="Seconds for which outputs are kept there.")
    prefix: Annotated[str, AfterValidator(_check_prefix)] = Field(
        "rerank-proxy", description="What all keys there begin with."
    )

    @property
    def has_password(self) -> bool:
        """Return whether the server takes a password."""
        return self.password is not None or self.password_file is not None

    @model_validator(mode="after")
    def _one_password(self) -> "SharedCacheSettings":
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either `password` or `password_file`")
        if self.username is not None and not self.has_password:
            raise ValueError("`username` needs `password` or `password_file`")
        return self
