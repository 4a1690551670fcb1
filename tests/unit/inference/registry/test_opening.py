"""Which store the settings ask for, and where it keeps its data."""

from pathlib import Path

import pytest

from rerank_proxy.files.state import state_directory
from rerank_proxy.inference.registry.file_store import FileStore
from rerank_proxy.inference.registry.index_store import IndexStore
from rerank_proxy.inference.registry.opening import open_store
from rerank_proxy.inference.store import ReadOnlyStore
from rerank_proxy.settings import InvalidSettingsError, load


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
