"""Secrets from files: that of each setting, and those of a directory."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from rerank_proxy.files.secret_file import MAX_SECRET_BYTES
from rerank_proxy.settings import SettingRow, Settings, load, load_with_origins, reload, table
from tests.unit.settings.refusals import refusal

SECRETS = [row for row in table() if row.secret]
KEY = "AbCd" * 10 + "AbC="
REST: dict[str, Any] = {"registry.password": {"registry": {"username": "u"}}}
"""What else has to be given with a secret."""
FORMS = {"tracing.headers": "Authorization=Bearer%20token"}
"""Secrets that are no keys or passwords."""


def file_row(secret: SettingRow) -> SettingRow:
    """The setting that names the file of a secret."""
    (row,) = [row for row in table() if row.path == (*secret.path[:-1], secret.path[-1] + "_file")]
    return row


def of(settings: Settings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for part in path:
        value = getattr(value, part)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{KEY}\n")
    return path


@pytest.mark.parametrize("row", SECRETS, ids=lambda row: row.key)
def test_each_secret_has_a_file(row: SettingRow, secret: Path) -> None:
    """By the table, so that it cannot be forgotten for a new one."""
    given = FORMS.get(row.key, KEY)
    secret.write_text(f"{given}\n")
    file = file_row(row)
    assert not file.secret
    assert file.file_of == row.path[-1]
    assert file.option is not None
    assert file.environment == f"{row.environment}_FILE"
    settings = load(None, REST.get(row.key), {file.environment: str(secret)})
    if file.held:  # its part reads it
        assert of(settings, file.path) == secret
    else:
        assert of(settings, row.path) == given


class TestFile:
    def test_a_later_source_takes_the_place_of_either(self, config: Path, secret: Path) -> None:
        config.write_text("registry: {api_key: of-the-file}")
        settings = load(config, {}, {"RERANK_PROXY_REGISTRY__API_KEY_FILE": str(secret)})
        assert of(settings, ("registry", "api_key")) == KEY
        config.write_text("registry: {api_key_file: /nowhere}")
        settings = load(config, {}, {"RERANK_PROXY_REGISTRY__API_KEY": "k"})
        assert of(settings, ("registry", "api_key")) == "k"
        config.write_text("registry: {api_key: null, api_key_file: null}")
        assert load(config, environ={}) == Settings()

    def test_one_source_gives_one_of_them(self, config: Path, secret: Path) -> None:
        config.write_text(f"registry: {{api_key: k, api_key_file: {secret}}}")
        assert refusal(config=config) == f"{config}:1:1: [registry]: give either `api_key` or `api_key_file`"

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (None, "cannot be read: No such file or directory"),
            (b"", "is empty"),
            (b"\xef\xbb\xbf\r\n\n", "is empty"),
            (b"s3cret\xff", "is not UTF-8 text"),
            (b"s3cret" * MAX_SECRET_BYTES, f"is larger than {MAX_SECRET_BYTES} bytes"),
        ],
    )
    def test_what_is_wrong_with_one(self, config: Path, content: bytes | None, problem: str) -> None:
        """It is the only fault: what the secret would be is not known."""
        path = config.with_name("secret")
        if content is not None:
            path.write_bytes(content)
        config.write_text(f"registry:\n  username: u\n  password_file: {path}\n")
        assert refusal(config=config) == f"{config}:3:3: [registry.password_file]: {path}: {problem}"

    @pytest.mark.parametrize("name", ["s3cret", "s3cret/of+base64=="])
    def test_a_secret_in_the_place_of_its_file_is_not_shown(self, name: str) -> None:
        message = "[registry.api_key_file]: the file that it names: cannot be read: No such file or directory"
        assert refusal({"registry": {"api_key_file": name}}) == message

    @pytest.mark.parametrize("path", [5, "", ["a"], {"a": "b"}, True])
    def test_what_cannot_be_a_path(self, path: Any) -> None:
        message = "[registry.api_key_file]: expected a path"
        assert refusal({"registry": {"api_key_file": path}}) == message

    @pytest.mark.parametrize("path", ["a\0b", "\ud800", "~no-such-user/x", "x" * 5000])
    def test_what_no_file_is_called(self, path: str) -> None:
        assert ": cannot be read: " in refusal({"registry": {"api_key_file": path}})

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        message = refusal({"registry": {"api_key_file": str(tmp_path / "pipe")}})
        assert message.endswith("pipe: is a named pipe, not a file")

    @given(st.text(min_size=1).filter(lambda text: text == text.strip("\r\n\ufeff")))
    def test_it_is_the_text_without_the_line_end(self, tmp_path_factory: Any, text: str) -> None:
        path = tmp_path_factory.getbasetemp() / "any-secret"
        for end in ("", "\n", "\r\n"):
            path.write_bytes((text + end).encode())
            assert of(load(None, {"registry": {"api_key_file": path}}, {}), ("registry", "api_key")) == text

    def test_its_content_is_checked_and_not_shown(self, config: Path, secret: Path) -> None:
        secret.write_text("s3cret")
        settings = load(None, {"registry": {"api_key_file": str(secret)}}, {})
        assert "s3cret" not in repr(settings)

    def test_a_rotated_one_is_seen_when_the_settings_are_read_again(self, secret: Path) -> None:
        values = {"registry": {"api_key_file": str(secret)}}
        running = load(None, values, {})
        secret.write_text("another")
        assert reload(running, load(None, values, {})).left == ("registry.api_key",)


class TestDirectory:
    @pytest.mark.parametrize(
        "name", ["registry__api_key", "REGISTRY__API_KEY", "rerank_proxy_registry__api_key"]
    )
    def test_names(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("k\n")
        loaded = load_with_origins(environ={}, secrets_dir=tmp_path)
        key = ("registry", "api_key")
        assert of(loaded.settings, key) == "k"
        origin = loaded.origin(key)
        assert (origin.kind, origin.place) == ("secrets directory", str(tmp_path / name))
        assert loaded.secret_files == {key: tmp_path / name}

    def test_as_kubernetes_mounts_them(self, tmp_path: Path) -> None:
        """A volume has the files as links into a directory that is replaced as a whole."""
        for version in ("1", "2"):
            directory = tmp_path / f"..2026_{version}"
            directory.mkdir()
            (directory / "registry__api_key").write_text(f"version {version}")
        (tmp_path / "..data").symlink_to("..2026_1")
        (tmp_path / "registry__api_key").symlink_to("..data/registry__api_key")
        (tmp_path / ".hidden__thing").write_text("x")
        (tmp_path / "kubernetes__io").mkdir()
        (tmp_path / "tls.crt").write_text("of another program")
        settings = load(environ={}, secrets_dir=tmp_path)
        assert of(settings, ("registry", "api_key")) == "version 1"
        (tmp_path / "..next").symlink_to("..2026_2")
        (tmp_path / "..next").rename(tmp_path / "..data")
        again = load(environ={}, secrets_dir=tmp_path)
        assert of(again, ("registry", "api_key")) == "version 2"

    def test_an_endpoint_s(self, tmp_path: Path) -> None:
        (tmp_path / "endpoints__my-cohere__service_settings__api_key").write_text("k")
        values = {"endpoints": {"my-cohere": {"service": "cohere", "service_settings": {"model_id": "m"}}}}
        settings = load(None, values, {}, tmp_path)
        assert settings.endpoints["my-cohere"].service_settings == {"model_id": "m", "api_key": "k"}

    def test_precedence(self, config: Path, tmp_path: Path) -> None:
        directory = tmp_path / "secrets"
        directory.mkdir()
        (directory / "registry__api_key").write_text("directory")
        config.write_text("registry: {api_key: file}")
        key = ("registry", "api_key")
        assert of(load(config, {}, {}, directory), key) == "directory"
        environ = {"RERANK_PROXY_REGISTRY__API_KEY": "environment", "RERANK_PROXY_SECRETS_DIR": "/ignored"}
        assert of(load(config, {}, environ, directory), key) == "environment"

    def test_what_is_wrong(self, tmp_path: Path) -> None:
        directory = tmp_path / "secrets"
        assert self._refused(directory) == f"{directory}: cannot be read: No such file or directory"
        directory.mkdir()
        (directory / "registry__api_ky").write_text("s3cret")
        (directory / "REGISTRY__PASSWORD").write_bytes(b"s3cret\xff")
        (directory / "tls__key_password").write_text("a")
        (directory / "rerank_proxy_tls__key_password").write_text("b")
        (directory / "registry__key").write_text("s3cret")
        message = self._refused(directory)
        assert "s3cret" not in message
        for fault in (
            f"{directory}/registry__api_ky: is not named as a setting, did you mean registry__api_key?",
            f"{directory}/REGISTRY__PASSWORD: is not UTF-8 text",
            f"{directory}/tls__key_password: [tls.key_password] is given twice: "
            f"{directory}/rerank_proxy_tls__key_password gives it too",
            f"{directory}/registry__key: expected 32 random bytes in base64",
        ):
            assert fault in message

    def _refused(self, directory: Path) -> str:
        return refusal(secrets_dir=directory)
