"""Settings that are refused."""

from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.settings import InvalidSettingsError, load


def refusal(
    overrides: dict[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: dict[str, str] | None = None,
    secrets_dir: Path | None = None,
) -> str:
    with pytest.raises(InvalidSettingsError) as raised:
        load(config, overrides, environ or {}, secrets_dir)
    message = str(raised.value)
    assert "\n" not in message
    return message
