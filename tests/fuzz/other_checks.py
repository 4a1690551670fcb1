"""Media types and targets, bodies in YAML and CBOR, settings, and the files of models."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import cbor2
import yaml

from rerank_proxy.app.formats.bodies import from_json, to_json
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import (
    directory_check,
    onnx_file,
    safetensors_header,
    transformer_config,
)
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.media_types import Format, for_json
from rerank_proxy.http.negotiation import negotiate
from rerank_proxy.settings import InvalidSettingsError, Settings, load
from rerank_proxy.xcontent.params import parse_params
from rerank_proxy.xcontent.target import RequestTarget, decode
from tests.fuzz.pieces import choose

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_JSON: Final = (ValueError, RecursionError)


def check_negotiation(data: bytes) -> None:
    """Any headers give a format and a type that can be sent, or none."""
    parameter, *headers = data.decode("latin-1").split("\n")[:4]
    if any(map(_CONTROL.search, headers)):  # no head can hold it
        return
    accept, sent = headers[:1], headers[1:2]
    for has_body in (False, True):
        chosen = negotiate(parameter or None, accept, sent, has_body=has_body)
        if chosen is not None:
            assert chosen.content_type.startswith("application/")
            assert not _CONTROL.search(chosen.content_type)
    for each in (*accept, *sent):
        assert len(for_json(each)) <= len(each)


def check_target(data: bytes) -> None:
    """A target is taken apart without loss, and escapes are decoded as by the library."""
    raw = data.decode("latin-1")
    target = RequestTarget.of(raw)
    assert raw.startswith(target.path)
    assert target.query in raw
    assert target.route.startswith("/")
    if not target.is_readable:
        return
    params = parse_params(target.query)
    assert len(params) <= len(params.pairs)
    if "%%" not in target.path and "\xed" not in target.path and "%ed" not in target.path.lower():
        expected = unquote_to_bytes(target.path.encode("latin-1")).decode("utf-8", "replace")
        assert "%" not in target.path or decode(target.path) == expected


def check_formats(data: bytes) -> None:
    """Bodies in YAML and CBOR become JSON or a 400; JSON answers can be written in both."""
    format_, body = choose(data, (Format.YAML, Format.CBOR))
    try:
        read = to_json(body, format_)
    except ElasticsearchError as fault:
        assert fault.status == 400
    else:
        if read:
            json.loads(read.decode("utf-8", "surrogatepass"))
    try:
        value = json.loads(body)
    except _NOT_JSON:
        return
    if isinstance(value, dict):
        _check_written(body, format_)


def _check_written(body: bytes, format_: Format) -> None:
    try:
        written = from_json(body, format_)
    except ElasticsearchError as fault:
        assert fault.status == 400
        return
    with suppress(RecursionError):
        if format_ is Format.CBOR:
            assert isinstance(cbor2.loads(written, max_depth=10_000), dict)
        elif b"\\u" not in body:  # PyYAML reads no characters beyond those of YAML 1.1
            with suppress(yaml.reader.ReaderError):
                assert isinstance(_plain_yaml(written), yaml.MappingNode)


def _plain_yaml(written: bytes) -> yaml.Node | None:
    return yaml.compose(written, Loader=yaml.SafeLoader)


@cache
def directory() -> Path:
    """Return a directory of this process, in memory where the system has such."""
    shared = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="rerank-proxy-fuzz.", dir=shared if os.access(shared, os.W_OK) else None)
    return Path(made)


def check_settings(data: bytes) -> None:
    """A file of settings is valid or refused in words; valid ones survive the way to another process."""
    path = directory() / "settings.yaml"
    path.write_bytes(data)
    _check_loaded(lambda: load(path, {}, {}))


def check_environment(data: bytes) -> None:
    environ = {}
    for line in data.decode("utf-8", "replace").replace("\0", "").split("\n")[:20]:
        name, _, value = line.partition("=")
        environ[f"RERANK_PROXY_{name}"] = value
    environ.pop("RERANK_PROXY_CONFIG", None)
    _check_loaded(lambda: load(None, {}, environ))


def _check_loaded(read: Callable[[], Settings]) -> None:
    try:
        settings = read()
    except InvalidSettingsError as failure:
        assert failure.faults
        assert all("\n" not in fault for fault in failure.faults), failure.faults
        return
    assert Settings.model_validate_json(settings.dump_with_secrets()) == settings


def check_model_files(data: bytes) -> None:
    """Files of a model are inspected before anything is loaded: they are fit or refused in one line."""
    kinds: tuple[tuple[str, Callable[[Path], Any]], ...] = (
        ("model.safetensors", lambda path: safetensors_header.count_weights(path)),
        ("config.json", lambda path: directory_check.inspect(path.parent, path.parent)),
        ("sentence_bert_config.json", lambda path: transformer_config.read(path.parent)),
        ("model.onnx", lambda path: onnx_file.inspect(path, path.parent)),
    )
    (name, inspect), content = choose(data, kinds)
    path = directory() / name.replace(".", "-") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with suppress(ModelLoadError):
        inspect(path)
