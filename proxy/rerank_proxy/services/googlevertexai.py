"""`googlevertexai`: the ranking API of Google's Discovery Engine (``GoogleVertexAiService``).

Tokens are fetched here and not by google-auth, whose calls block the event loop and go past the allow-list.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from rerank_proxy.inference.remote.urls import checked, in_header, segment
from rerank_proxy.services import (
    MODEL_ID,
    TOP_N,
    Deadline,
    EndpointConfig,
    HttpCall,
    RemoteService,
    RerankRequest,
    Setting,
    Shape,
    bearer,
    digest,
    form_call,
    json_call,
)

_ACCOUNT: Final = "service_account_json"
_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_S: Final = 3600
_MAX_ACCOUNT: Final = 16 * 1024
_MAX_KEY: Final = 4 * 1024
"""Characters of a key of 4096 bits; Google's have 2048. Each doubling takes eight times as long to sign."""


def _project_problem(value: str) -> str | None:
    """Return what is wrong with a project, which stands in the path and in a header."""
    name = "project_id"
    return checked(name, segment)(value) or in_header(name)(value)


class GoogleVertexAIService(RemoteService):
    """The key of a service account signs the request for a token, which is valid for an hour."""

    name = "googlevertexai"
    label = "Google Vertex AI"
    base_url = "https://discoveryengine.googleapis.com"
    hosts = ("oauth2.googleapis.com",)
    requests_per_minute = 300
    default_max_documents = 200
    shape = Shape(rows="records", index="id", score=("score",), text="content")
    service_settings: ClassVar[Sequence[Setting]] = (
        Setting(
            name=_ACCOUNT,
            label="Credentials JSON",
            description="API Key for the provider you're connecting to.",
            required=True,
            secret=True,
            updatable=True,
        ),
        Setting(
            name="project_id",
            label="GCP Project",
            description="The GCP Project ID which has Vertex AI API(s) enabled.",
            required=True,
            check=_project_problem,
        ),
        replace(MODEL_ID, required=False),
    )
    task_settings: ClassVar[Sequence[Setting]] = (TOP_N,)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        text = config.secrets.get(_ACCOUNT)
        if text is not None:
            try:
                _Account.parse(text).assertion(0)
            except ValueError as error:
                faults.append(f"[secret_settings] Invalid value of [{_ACCOUNT}]: {error}")
        return super().check_settings(config, faults)

    def urls(self, config: EndpointConfig) -> Mapping[str, str]:
        """Include the URL for tokens, which the client gives as well."""
        return {**super().urls(config), f"{_ACCOUNT}.token_uri": _account(config).token_uri}

    def shown(self, config: EndpointConfig, url: str) -> str:
        """Leave out the query string: the URL for tokens is in the secret."""
        return url.partition("?")[0]

    def url(self, config: EndpointConfig) -> str:
        project = segment(config.service_settings["project_id"])
        path = f"/v1/projects/{project}/locations/global/rankingConfigs/default_ranking_config:rank"
        return self.base(config) + path

    async def call(self, config: EndpointConfig, request: RerankRequest, deadline: Deadline) -> HttpCall:
        account = _account(config)

        def token_call() -> HttpCall:
            assertion = account.assertion(self.context.remote.clock.wall())
            return form_call(account.token_uri, {"grant_type": _GRANT, "assertion": assertion})

        token = await self.fetch_token(config, token_call)
        headers = {**bearer(token), "X-Goog-User-Project": config.service_settings["project_id"]}
        return json_call(self.url(config), self.body(config, request), headers)

    def token_key(self, config: EndpointConfig) -> str:
        return digest("google", config.secrets[_ACCOUNT])

    def body(self, config: EndpointConfig, request: RerankRequest) -> Any:
        returns = request.return_documents
        return {
            "model": config.service_settings.get("model_id"),
            "query": request.query,
            "records": [{"id": str(index), "content": text} for index, text in enumerate(request.texts)],
            "topN": request.top_n,
            "ignoreRecordDetailsInResponse": None if returns is None else not returns,
        }


@dataclass(frozen=True, slots=True)
class _Account:
    """A service account's key, as Google hands it out."""

    client_email: str
    private_key: str = field(repr=False)
    private_key_id: str | None
    token_uri: str

    @classmethod
    def parse(cls, text: str) -> "_Account":
        """Read a key.

        Raises:
            ValueError: It is not such a key. The message holds nothing of it.
        """
        if len(text) > _MAX_ACCOUNT:
            raise ValueError(f"it is longer than {_MAX_ACCOUNT} characters")
        values = None
        with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            values = msgspec.json.decode(text)
        if values is None:
            raise ValueError("it is not JSON")
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        for name in ("client_email", "private_key"):
            if not isinstance(values.get(name), str):
                raise ValueError(f"it has no [{name}]; the JSON key of a service account is expected")
        key_id, token_uri = values.get("private_key_id"), values.get("token_uri") or _TOKEN_URI
        if not isinstance(key_id, str | None) or not isinstance(token_uri, str):
            raise ValueError("[private_key_id] and [token_uri] must be texts")
        if len(values["private_key"]) > _MAX_KEY:
            raise ValueError("[private_key] is longer than one of 4096 bits")
        return cls(values["client_email"], values["private_key"], key_id, token_uri)

    def assertion(self, wall: float) -> str:
        """Return a signed request for a token (RFC 7523).

        Args:
            wall: The time now, in seconds since 1970.

        Raises:
            ValueError: The private key is not one. The message holds nothing of it.
        """
        claims = {
            "iss": self.client_email,
            "scope": _SCOPE,
            "aud": self.token_uri,
            "iat": int(wall),
            "exp": int(wall) + _LIFETIME_S,
        }
        headers = {"kid": self.private_key_id} if self.private_key_id else None
        with suppress(ValueError, TypeError, UnsupportedAlgorithm, jwt.PyJWTError):
            return jwt.encode(claims, self.private_key, "RS256", headers)
        raise ValueError("[private_key] is not a private RSA key in PEM form")


def _account(config: EndpointConfig) -> _Account:
    return _Account.parse(config.secrets[_ACCOUNT])
