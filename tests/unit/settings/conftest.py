"""A file of settings."""

from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "rerank-proxy.yaml"
    path.write_text(
        """\
listen: 127.0.0.1:9301
admin: {listen: "127.0.0.1:9302"}
upstream: {url: "http://es:9200", connect_timeout_s: 3}
models:
  minilm: {source: /models/minilm}
  other: org/name
endpoints:
  .rerank-v1-elasticsearch: {model: minilm}
  mine: other
edge: {max_body: 1 MiB}
"""
    )
    return path
