"""`rerank-proxy settings`: what is in force, and where it comes from."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.cli import main
from rerank_proxy.cli.settings import yaml_of
from rerank_proxy.services.built_in import load_services
from rerank_proxy.settings import load, load_with_origins, table
from rerank_proxy.settings.effective import HIDDEN, effective, without_secrets
from rerank_proxy.settings.sensitive import is_harmless
from tests.support.examples import examples
from tests.support.remote import Remote

FILE = """\
upstream: http://es:9200
models:
  minilm: /models/minilm
endpoints:
  .rerank-v1-elasticsearch: minilm
  my-cohere:
    service: cohere
    service_settings: {model_id: m, api_key: s3cret, rate_limit: {requests_per_minute: 5}}
  other: {service: cohere, service_settings: {model_id: m, api_key: {env: THE_KEY}}}
registry: {username: u, password: s3cret}
edge: {max_body: 123456789}
"""


def run(*arguments: str, environ: dict[str, str | None] | None = None) -> Result:
    cleared = dict.fromkeys(["RERANK_PROXY_CONFIG", "RERANK_PROXY_SECRETS_DIR"])
    return CliRunner().invoke(main, ["settings", *arguments], env={**cleared, **(environ or {})})


@pytest.fixture
def given_file(tmp_path: Path) -> Path:
    path = tmp_path / "rerank-proxy.yaml"
    path.write_text(FILE)
    return path


def records(*arguments: str, **kwargs: Any) -> dict[str, dict[str, Any]]:
    result = run(*arguments, "--json", **kwargs)
    assert (result.exit_code, result.stderr) == (0, "")
    return {record["key"]: record for record in json.loads(result.stdout)}


def test_every_setting_has_a_record() -> None:
    found = records()
    assert [*found] == [row.key for row in table() if not row.per_entry]
    assert {record["source"] for record in found.values()} == {"default"}
    assert not [record for record in found.values() if record["changed"]]


def test_all_about_each_setting_is_told() -> None:
    rows = [row for row in table() if not row.per_entry]
    told = run("--describe").stdout.strip().split("\n\n")
    for row, text in zip(rows, told, strict=True):
        words = " ".join(text.split())
        for each in (row.description, row.option, row.environment, row.key):
            assert each is None or " ".join(each.split()) in words


def test_each_source_is_named(given_file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "tls__key_password").write_text("s3cret")
    (tmp_path / "key").write_text("s3cret\n")
    found = records(
        *("--config", str(given_file), "--secrets-dir", str(directory), "--admin", "127.0.0.1:1"),
        *("--engine-shared-cache-password-file", "/valkey"),
        environ={
            "RERANK_PROXY_SEARCH__TIMEOUT_S": "7",
            "RERANK_PROXY_UPSTREAM__CLIENT_KEY_PASSWORD_FILE": str(tmp_path / "key"),
        },
    )
    assert {key: (record["source"], record["place"]) for key, record in found.items()} | {
        "upstream.url": ("file", f"{given_file}:1:1"),
        "edge.max_body": ("file", f"{given_file}:11:8"),
        "models.minilm.source": ("file", f"{given_file}:3:3"),
        "models.minilm.preload": ("default", None),
        "endpoints.my-cohere.service": ("file", f"{given_file}:7:5"),
        "tls.key_password": ("secrets directory", str(directory / "tls__key_password")),
        "upstream.client_key_password": ("secret file", str(tmp_path / "key")),
        "upstream.client_key_password_file": (
            "environment",
            "RERANK_PROXY_UPSTREAM__CLIENT_KEY_PASSWORD_FILE",
        ),
        "search.timeout_s": ("environment", "RERANK_PROXY_SEARCH__TIMEOUT_S"),
        "admin.listen": ("command line", None),
        "listen": ("default", None),
    } == {key: (record["source"], record["place"]) for key, record in found.items()}
    assert found["edge.max_body"]["value"] == "123456789"
    assert found["search.timeout_s"]["value"] == 7


@pytest.mark.parametrize("form", [(), ("--json",), ("--yaml",)])
def test_secrets_are_not_shown(given_file: Path, form: tuple[str, ...]) -> None:
    result = run("--config", str(given_file), *form)
    assert result.exit_code == 0
    assert "s3cret" not in result.output
    assert "THE_KEY" in result.stdout
    if not form:
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("registry.password ")]
        assert line.split() == ["registry.password", HIDDEN, f"{given_file}:10:25"]
    if form == ("--json",):
        (password,) = [each for each in json.loads(result.stdout) if each["key"] == "registry.password"]
        assert (password["value"], password["set"], password["secret"]) == (None, True, True)


@pytest.mark.parametrize(
    "of_service",
    [
        {"pat": "s3cret"},
        {"apikye": "s3cret"},
        {"headers": {"X-Any": "s3cret"}},
        {"url": "https://user:s3cret@vendor.example/v1"},
        {"url": "https://vendor.example/v1?key=s3cret"},
        {"query_parameters": [["key", "s3cret"]]},
        {"request": '{"key": "s3cret"}'},
        {"rate_limit": {"of": {"s3cret": ["s3cret"]}}},
    ],
)
def test_texts_of_services_that_may_be_secrets_are_not_shown(of_service: dict[str, Any]) -> None:
    values = {"endpoints": {"e": {"service": "plugged-in", "service_settings": of_service}}}
    loaded = load_with_origins(None, values, {})
    assert "'s3cret'" not in str(without_secrets(of_service)).replace("{'s3cret'", "")
    assert ": s3cret" not in yaml_of(effective(loaded))


def test_what_services_call_no_secret_is_shown() -> None:
    for service in load_services(Remote().context).values():
        texts = [each for each in service.settings_for({}) if each.kind.name in ("STRING", "URL")]
        for setting in texts:
            assert is_harmless(setting.name) != (setting.secret or setting.name == "request"), setting.name


def test_the_table_has_a_line_for_each_and_cuts_nothing(given_file: Path) -> None:
    result = run("--config", str(given_file), "--changed", "--upstream-server-name", "a" * 60)
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["setting", "value", "given", "by"]
    assert [line.split()[0] for line in lines] == [
        "upstream.url",
        "upstream.server_name",
        "registry.username",
        "registry.password",
        "edge.max_body",
        "models.minilm.source",
        "endpoints..rerank-v1-elasticsearch.model",
        "endpoints.my-cohere.service",
        "endpoints.my-cohere.service_settings",
        "endpoints.other.service",
        "endpoints.other.service_settings",
    ]
    assert lines[1].split() == ["upstream.server_name", "a" * 60, "--upstream-server-name"]


def test_some_of_them(given_file: Path) -> None:
    assert [*records("--config", str(given_file), "search.timeout_s")] == ["search.timeout_s"]
    assert {key.partition(".")[0] for key in records("edge", "models")} == {"edge"}
    unknown = run("upstreem")
    assert (unknown.exit_code, unknown.stderr) == (2, "rerank-proxy: there is no setting upstreem\n")


def test_faults_are_told_as_elsewhere(given_file: Path) -> None:
    given_file.write_text("listen: x")
    result = run("--config", str(given_file))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"rerank-proxy: {given_file}:1:1: [listen]: expected HOST:PORT")


@pytest.mark.parametrize("changed", [(), ("--changed",)])
def test_the_file_that_it_prints_gives_the_same(
    given_file: Path, tmp_path: Path, changed: tuple[str, ...]
) -> None:
    """But for the secrets, which a comment names."""
    text = run("--config", str(given_file), "--yaml", *changed).stdout
    assert text.startswith(
        "# registry.password: a secret that is set, and not shown\n"
        "# endpoints.my-cohere.service_settings.api_key: a secret that is set, and not shown\n"
    )
    again = tmp_path / "again.yaml"
    again.write_text(text)
    environ = {
        "RERANK_PROXY_REGISTRY__PASSWORD": "s3cret",
        "RERANK_PROXY_ENDPOINTS__MY-COHERE__SERVICE_SETTINGS__API_KEY": "s3cret",
    }
    assert load(again, environ=environ) == load(given_file, environ={})


NAMES = st.text(min_size=1) | st.sampled_from(["no", "0o10", "010", "1.5", "~", "<<", "a: b", "#", "null"])


@given(NAMES, NAMES, st.recursive(NAMES | st.booleans() | st.integers(), st.lists))
@examples(2)
def test_whatever_the_values_are(tmp_path_factory: Any, name: str, text: str, value: Any) -> None:
    of_service = {"model_id": text, text: value}
    endpoint = {"service": text, "service_settings": of_service}
    given_values = {"endpoints": {name: endpoint}, "models": {name: {"source": "/m", "revision": text}}}
    loaded = load_with_origins(None, given_values, {})
    shown = yaml_of(effective(loaded))
    if HIDDEN in str(without_secrets(of_service)):
        return
    path = tmp_path_factory.getbasetemp() / "printed.yaml"
    path.write_text(shown)
    assert load(path, environ={}) == loaded.settings
