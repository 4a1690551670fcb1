"""The project's own files, as tests of documents and deployment see them."""

from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from rerank_proxy.cli import main
from rerank_proxy.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]


def settings_of(arguments: list[str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return what `rerank-proxy ARGUMENTS` would serve with; only the serving itself is left out.

    Raises:
        AssertionError: The command line refuses them; with its message.
    """
    served: list[Settings] = []

    def keep(settings: Settings, *_: Any) -> int:
        served.append(settings)
        return 0

    monkeypatch.setattr("rerank_proxy.processes.supervisor.serve", keep)
    result = CliRunner().invoke(main, arguments, env=environ)
    assert result.exit_code == 0, result.output
    return served[0]
