"""A store that speaks the protocol of Redis and Valkey. Imports redis: import it where one is used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ResponseError

from rerank_proxy.engine.shared_cache.store import RefusedError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings

_CONNECTIONS: Final = 32
"""More than are used at a time."""

_PORT: Final = 6379


class RedisStore:
    """A server, or a proxy in front of several. Its connections are made as they are needed."""

    def __init__(self, settings: SharedCacheSettings) -> None:
        self._pool = _pool(settings)
        self._client = Redis(connection_pool=self._pool)

    async def connect(self) -> None:
        await self._pool.disconnect(inuse_connections=False)
        await self._client.ping()

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        values = await self._client.mget(list(keys))
        if not isinstance(values, list) or len(values) != len(keys):
            raise ValueError("it does not answer as Redis does")
        return [value if isinstance(value, bytes) else None for value in values]

    async def put_many(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(key, value, ex=ttl_s)
        for answer in await pipeline.execute(raise_on_error=False):
            if isinstance(answer, ResponseError):
                raise RefusedError(str(answer))
            if isinstance(answer, Exception):
                raise answer

    async def close(self) -> None:
        await self._client.aclose()
        await self._pool.disconnect()


class _Credentials(CredentialProvider):
    """Reads the file of the password for each connection, so that it may be replaced."""

    def __init__(self, username: str | None, file: Path) -> None:
        self._username = username
        self._file = file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = read_secret(self._file)
        return (password,) if self._username is None else (self._username, password)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _pool(settings: SharedCacheSettings) -> ConnectionPool:
    assert settings.url is not None
    parts = urlsplit(settings.url)
    options: dict[str, Any] = {
        "host": parts.hostname,
        "port": parts.port or _PORT,
        "db": int(parts.path.strip("/") or 0),
        "protocol": 2,  # in which the server tells nothing that was not asked, such as another address
        "retry": Retry(NoBackoff(), 0),  # a search does not wait for it
        "socket_keepalive": True,
    }
    if settings.password_file is not None:
        options["credential_provider"] = _Credentials(settings.username, settings.password_file)
    elif settings.password is not None:
        options["username"] = settings.username
        options["password"] = settings.password.get_secret_value()
    if parts.scheme == "rediss":
        options |= {
            "connection_class": SSLConnection,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": None if settings.ca_certs is None else str(settings.ca_certs.expanduser()),
        }
    else:
        options["connection_class"] = Connection
    return ConnectionPool(max_connections=_CONNECTIONS, **options)
