"""Which store the settings ask for, and where it keeps what it keeps."""

from pathlib import Path
from typing import Any

import pytest

from proxy.inference.registry.file_store import FileStore
from proxy.inference.registry.files import state_directory
from proxy.inference.registry.index_store import IndexStore, connect
from proxy.inference.registry.opening import open_store
from proxy.inference.store import ReadOnlyStore
from proxy.settings import InvalidSettingsError, load


@pytest.mark.parametrize(
    ("store", "kind"), [("file", FileStore), ("index", IndexStore), ("none", ReadOnlyStore)]
)
async def test_stores(store: str, kind: type, tmp_path: Path) -> None:
    settings = load(None, {"registry": {"store": store}, "state_dir": str(tmp_path / "state")}, {})
    opened = open_store(settings)
    assert type(opened) is kind
    await opened.close()


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        ("/srv/state", {"XDG_STATE_HOME": "/x"}, "/srv/state"),
        (None, {"XDG_STATE_HOME": "/x"}, "/x/rerank-proxy"),
        (None, {"XDG_STATE_HOME": ""}, "/home/me/.local/state/rerank-proxy"),
        (None, {"XDG_STATE_HOME": "relative"}, "/home/me/.local/state/rerank-proxy"),
        (None, {}, "/home/me/.local/state/rerank-proxy"),
    ],
)
def test_the_state_directory(
    given: str | None, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    settings = load(None, {"state_dir": given}, {})
    assert state_directory(settings, environ) == Path(expected)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def expanduser(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", expanduser)
    with pytest.raises(
        InvalidSettingsError, match=r"^\[state_dir\]: there is no home directory; name a directory$"
    ):
        state_directory(load(environ={}), {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://es", "http://es:80"),
        ("https://es", "https://es:443"),
        ("http://es:9200", "http://es:9200"),
        ("http://[::1]:9200", "http://[::1]:9200"),
        ("http://[2001:db8::12]", "http://[2001:db8::12]:80"),
    ],
)
async def test_the_address_of_upstream(url: str, expected: str) -> None:
    settings = load(None, {"upstream": url}, {})
    client = connect(settings.upstream, settings.registry)
    (node,) = client.transport.node_pool.all()
    assert node.base_url == expected
    await client.close()


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ({}, None),
        ({"username": "proxy", "password": "s3cret"}, "Basic cHJveHk6czNjcmV0"),
        ({"api_key": "aWQ6a2V5"}, "ApiKey aWQ6a2V5"),
    ],
)
async def test_the_proxys_own_credentials(registry: dict[str, Any], expected: str | None) -> None:
    settings = load(None, {"registry": registry}, {})
    client = connect(settings.upstream, settings.registry)
    assert client._headers.get("authorization") == expected
    await client.close()
