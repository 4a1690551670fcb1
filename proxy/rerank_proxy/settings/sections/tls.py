"""TLS: of what a listener shows, and of the versions that are spoken."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from rerank_proxy.settings.values import Secret, Section

TlsVersion = Annotated[
    Literal["1.2", "1.3"],
    BeforeValidator(lambda value: str(value) if isinstance(value, float) else value),  # as YAML reads it
]


class ListenerTlsSettings(Section):
    cert: Path | None = Field(
        None,
        description="PEM file of the certificate to serve `https` with, followed by those of the authorities "
        "between it and the one that clients trust. Absent: plain HTTP.",
    )
    key: Path | None = Field(
        None, description="PEM file of the certificate's key. Absent: the key is in the file `cert`."
    )
    key_password: Secret | None = Field(None, description="What decrypts the key, if it is encrypted.")
    client_ca: Path | None = Field(
        None,
        description="PEM file of the certificate authorities whose client certificates are accepted. Absent: "
        "clients are not asked for one.",
    )
    client_auth: Literal["optional", "required"] = Field(
        "optional",
        description="Whether a client may connect without a certificate, where `client_ca` is given. One "
        "that is shown is verified in any case, and goes no further: Elasticsearch does not learn of it.",
    )
    min_version: TlsVersion = Field("1.2", description="The oldest version of TLS that clients may speak.")
