"""One table of settings: its sources, their precedence, and one-line errors that name the key."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings import Address, InvalidSettingsError, Settings, load, table


def refusal(
    overrides: dict[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: dict[str, str] | None = None,
) -> str:
    with pytest.raises(InvalidSettingsError) as raised:
        load(config, overrides, environ or {})
    message = str(raised.value)
    assert "\n" not in message
    return message


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


def test_defaults() -> None:
    settings = load(environ={})
    assert settings == Settings()
    assert str(settings.listen) == "127.0.0.1:9201"
    assert str(settings.admin.listen) == "127.0.0.1:9202"
    assert settings.upstream.url == "http://127.0.0.1:9200"
    assert (settings.models, settings.endpoints) == ({}, {})
    assert settings.search.timeout_s == 30


def test_a_file(config: Path) -> None:
    settings = load(config, environ={})
    assert settings.listen == Address("127.0.0.1", 9301)
    assert settings.upstream.connect_timeout_s == 3
    assert settings.models["minilm"].source == "/models/minilm"
    assert settings.models["other"].source == "org/name"
    assert {name: each.model for name, each in settings.endpoints.items()} == {
        ".rerank-v1-elasticsearch": "minilm",
        "mine": "other",
    }
    assert settings.edge.max_body == 1024 * 1024


def test_precedence(config: Path) -> None:
    environ = {"RERANK_PROXY_LISTEN": "127.0.0.1:1", "RERANK_PROXY_UPSTREAM__URL": "http://env:9200"}
    settings = load(config, {"listen": "127.0.0.1:2"}, environ)
    assert str(settings.listen) == "127.0.0.1:2"  # command line over environment
    assert settings.upstream.url == "http://env:9200"  # environment over file
    assert settings.upstream.connect_timeout_s == 3  # file over default, beside the stronger url
    assert settings.upstream.verify_certs is True


def test_the_environment() -> None:
    settings = load(
        environ={
            "RERANK_PROXY_UPSTREAM": "http://env:9200",
            "RERANK_PROXY_MODELS": '{"m": {"source": "/m"}, "n": "org/n"}',
            "RERANK_PROXY_ENDPOINTS": '{"e": "m"}',
            "RERANK_PROXY_ENGINE__OFFLINE": "true",
            "RERANK_PROXY_ENGINE__THREADS": "3",
            "RERANK_PROXY_CONFIG": "/read/by/the/command/line",
            "OTHER": "x",
        }
    )
    assert settings.upstream.url == "http://env:9200"
    assert settings.models["n"].source == "org/n"
    assert settings.endpoints["e"].model == "m"
    assert (settings.engine.offline, settings.engine.threads) == (True, 3)


def test_short_forms_and_sections_merge(config: Path) -> None:
    settings = load(config, {"upstream": "http://cli:9200"}, {"RERANK_PROXY_UPSTREAM__IDLE_TIMEOUT_S": "7"})
    assert settings.upstream.url == "http://cli:9200"
    assert settings.upstream.idle_timeout_s == 7
    assert settings.upstream.connect_timeout_s == 3
    path = config.with_name("short.yaml")
    path.write_text("upstream: http://file:9200\n")
    settings = load(path, {"upstream": {"connect_timeout_s": 1}}, {})
    assert (settings.upstream.url, settings.upstream.connect_timeout_s) == ("http://file:9200", 1)


KUBERNETES = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "9201",
    "SERVICE_PORT_HTTP": "9201",
    "SERVICE_PORT_HTTP_ADMIN": "9202",
    "PORT": "tcp://10.0.0.1:9201",
    "PORT_9201_TCP": "tcp://10.0.0.1:9201",
    "PORT_9201_TCP_PROTO": "tcp",
    "PORT_9201_TCP_PORT": "9201",
    "PORT_9201_TCP_ADDR": "10.0.0.1",
    "PORT_53_UDP": "udp://10.0.0.1:53",
}


@pytest.mark.parametrize("service", ["", "ADMIN_", "METRICS_V2_"])
def test_service_variables_of_kubernetes_are_ignored(service: str) -> None:
    """A Service named `rerank-proxy`, or `rerank-proxy-admin`, adds them to every pod of its namespace."""
    environ = {f"RERANK_PROXY_{service}{name}": value for name, value in KUBERNETES.items()}
    assert load(environ=environ) == Settings()


def test_a_mistyped_variable_is_not_taken_for_one_of_kubernetes() -> None:
    assert refusal(environ={"RERANK_PROXY_LISTEN_PORT": "9201"}) == (
        "unknown setting [listen_port], did you mean [listen]?"
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9201", "127.0.0.1", 9201),
        ("localhost:0", "localhost", 0),
        ("[::1]:80", "::1", 80),
        (":9201", "0.0.0.0", 9201),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert load(overrides={"listen": text}, environ={}).listen == Address(host, port)


@given(st.sampled_from(["127.0.0.1", "::1", "es.example", "localhost"]), st.integers(0, 65535))
def test_addresses_print_as_they_are_read(host: str, port: int) -> None:
    address = Address(host, port)
    assert load(overrides={"listen": str(address)}, environ={}).listen == address


@pytest.mark.parametrize(
    "listen", ["9201", "host", "host:65536", "host:-1", "::1:80", "a b:1", "", 9201, None]
)
def test_bad_addresses(listen: Any) -> None:
    assert refusal({"listen": listen}).startswith("[listen]: expected HOST:PORT, for example 127.0.0.1:9201")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lisen": "x"}, "unknown setting [lisen], did you mean [listen]?"),
        ({"upstream": {"ur": "x"}}, "unknown setting [upstream.ur], did you mean [url]?"),
        (
            {"models": {"a": {"source": "x", "sorce": 1}}},
            "unknown setting [models.a.sorce], did you mean [source]?",
        ),
        (
            {"lifecycle": {"zzz": 1}},
            "unknown setting [lifecycle.zzz]; known: drain_delay_s, shutdown_timeout_s",
        ),
        ({"models": {"a": {}}}, "[models.a.source] is required"),
        (
            {"endpoints": {"e": {}}},
            "[endpoints.e]: give a `model`, or a `service` with its `service_settings`",
        ),
        ({"endpoints": {"e": "m"}}, "endpoints.e.model: no model [m] under models (none is configured)"),
        (
            {"endpoints": {"e": "m"}, "models": {"b": "x", "a": "x"}},
            "endpoints.e.model: no model [m] under models (a, b)",
        ),
        (
            {"engine": {"threads": "x"}},
            "[engine.threads]: Input should be a valid integer, unable to parse string as an integer, "
            "not [x]",
        ),
        (
            {"engine": {"threads": -1}},
            "[engine.threads]: Input should be greater than or equal to 0, not [-1]",
        ),
        (
            {"engine": {"offline": "maybe"}},
            "[engine.offline]: Input should be a valid boolean, unable to interpret input, not [maybe]",
        ),
        ({"search": {"timeout_s": 0}}, "[search.timeout_s]: Input should be greater than 0, not [0]"),
        ({"search": {"timeout_s": "inf"}}, "[search.timeout_s]: Input should be a finite number, not [inf]"),
        (
            {"edge": {"max_body": "big"}},
            "[edge.max_body]: could not parse value and unit from byte string, not [big]",
        ),
        (
            {"log_level": "loud"},
            "[log_level]: Input should be 'debug', 'info', 'warning' or 'error', not [loud]",
        ),
        (
            {"upstream": "es:9200"},
            "[upstream.url]: expected http://HOST:PORT or https://HOST:PORT, not [es:9200]",
        ),
        (
            {"models": {"m": "ftp://h/models"}},
            "[models.m.source]: expected a directory, a hub id, or a URL with https://, http:// or file://, "
            "not [ftp://h/models]",
        ),
        ({"upstream": "http://h:99999"}, "[upstream.url]: Port out of range 0-65535, not [http://h:99999]"),
        (
            {"upstream": "http://h/path"},
            "[upstream.url]: must not hold a path: requests keep the path that the client sent, "
            "not [http://h/path]",
        ),
        (
            {"upstream": {"host_header": "x"}},
            "[upstream.host_header]: Input should be 'auto', 'client' or 'upstream', not [x]",
        ),
    ],
)
def test_errors_are_one_line_that_names_the_key(overrides: dict[str, Any], message: str) -> None:
    assert refusal(overrides) == message


def test_a_password_in_the_url_is_not_repeated() -> None:
    message = refusal({"upstream": "http://elastic:s3cret@h:9200"})
    assert message.startswith("[upstream.url]: must not hold credentials")
    assert "s3cret" not in message


@pytest.mark.parametrize("url", ["https://user:s3cret@h/models", "https://h/models?key=s3cret"])
def test_a_secret_in_the_url_of_a_repository_is_not_repeated(url: str) -> None:
    message = refusal({"models": {"m": url}})
    assert message.startswith("[models.m.source]: must be an address alone")
    assert "s3cret" not in message


def test_a_trailing_slash_is_dropped() -> None:
    assert load(overrides={"upstream": "https://es:9200/"}, environ={}).upstream.url == "https://es:9200"


def test_errors_of_a_file_name_it(config: Path) -> None:
    config.write_text("lisen: 127.0.0.1:1\n")
    assert refusal(config=config) == f"{config}: unknown setting [lisen], did you mean [listen]?"
    config.write_text("listen: 127.0.0.1:1\n")
    assert refusal({"log_level": "x"}, config=config).startswith("[log_level]: ")  # not of the file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"listen: [", ":1:10: is not valid YAML: "),
        (b"a: b: c", ":1:5: is not valid YAML: "),
        (b"- listen", ": expected a mapping of settings, such as `listen: 127.0.0.1:9201`"),
        (b"just text", ": expected a mapping of settings"),
        (b"1: 2", ": expected a mapping of settings"),
        (b"\xff\xfe\x00", ": is not UTF-8 text"),
        (b"models: 5", ": [models]: Input should be a valid dictionary"),
        (b"models: {1: x}", ": [models.1.[key]]: Input should be a valid string"),
        (b"upstream: 5", ": [upstream]: Input should be a valid dictionary"),
    ],
)
def test_unreadable_files(config: Path, text: bytes, message: str) -> None:
    config.write_bytes(text)
    assert refusal(config=config).startswith(f"{config}{message}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert refusal(config=path) == f"{path}: cannot be read: No such file or directory"
    assert refusal(config=tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_all_defaults(config: Path, text: str) -> None:
    config.write_text(text)
    assert load(config, environ={}) == Settings()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RERANK_PROXY_MODELS": "{nope"}, "RERANK_PROXY_MODELS: is not valid JSON: "),
        ({"RERANK_PROXY_MODELS": "nope"}, "[models]: Input should be a valid dictionary"),
        (
            {"RERANK_PROXY_ADMIN__LISTEN": "127.0.0.1:1", "RERANK_PROXY_ADMIN": "127.0.0.1:2"},
            "RERANK_PROXY_ADMIN__LISTEN: its section is already given as a whole by the environment",
        ),
        ({"RERANK_PROXY_ENGINE__THREDS": "1"}, "unknown setting [engine.threds], did you mean [threads]?"),
    ],
)
def test_bad_environments(environ: dict[str, str], message: str) -> None:
    assert refusal(environ=environ).startswith(message)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("cohere=https://a/x/, jinaai=http://b:1", {"cohere": "https://a/x", "jinaai": "http://b:1"}),
        ('{"cohere": "https://a"}', {"cohere": "https://a"}),
        ("", {}),
    ],
)
def test_a_mapping_in_a_text(text: str, pairs: dict[str, str]) -> None:
    assert load(environ={"RERANK_PROXY_REMOTE__BASE_URLS": text}).remote.base_urls == pairs
    assert load(overrides={"remote": {"base_urls": pairs}}, environ={}).remote.base_urls == pairs


def test_lists_and_numbers_in_a_text() -> None:
    remote = load(
        environ={
            "RERANK_PROXY_REMOTE__ALLOWED_HOSTS": "vendors, *.corp.com",
            "RERANK_PROXY_REMOTE__MAX_DOCUMENTS": "hugging_face=64",
        }
    ).remote
    assert remote.allowed_hosts == ("vendors", "*.corp.com")
    assert remote.max_documents == {"hugging_face": 64}


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        (
            "BASE_URLS",
            "cohere",
            "[remote.base_urls]: expected NAME=VALUE, or several with commas, not [cohere]",
        ),
        ("BASE_URLS", "{x", "[remote.base_urls]: is not valid JSON: "),
        ("BASE_URLS", "cohere=ftp://a", "[remote.base_urls.cohere]: expected http://HOST:PORT or https://"),
        ("BASE_URLS", "cohere=http://a?b", "[remote.base_urls.cohere]: must not hold a query"),
        ("MAX_DOCUMENTS", "cohere=0", "[remote.max_documents.cohere]: Input should be greater than 0"),
    ],
)
def test_bad_mappings(key: str, text: str, message: str) -> None:
    assert refusal(environ={f"RERANK_PROXY_REMOTE__{key}": text}).startswith(message)


def test_a_password_in_a_base_url_is_not_repeated() -> None:
    message = refusal({"remote": {"base_urls": {"cohere": "https://me:s3cret@h"}}})
    assert message.startswith("[remote.base_urls.cohere]: must not hold credentials")
    assert "s3cret" not in message


def test_settings_survive_the_way_to_another_process(config: Path) -> None:
    settings = load(config, {"upstream": {"ca_certs": "/ca.pem"}}, {})
    sent = json.dumps(settings.model_dump(mode="json"))
    assert Settings.model_validate(json.loads(sent)) == settings


KEY = "AbCd" * 10 + "AbC="
SECRETS = {"store": "index", "key": KEY, "api_key": "s3cret"}


def test_secrets_travel_to_another_process_and_are_shown_nowhere_else() -> None:
    settings = load(None, {"registry": SECRETS}, {})
    sent = Settings.model_validate_json(settings.dump_with_secrets())
    assert sent == settings
    assert sent.registry.key is not None
    assert sent.registry.api_key is not None
    assert (sent.registry.key.get_secret_value(), sent.registry.api_key.get_secret_value()) == (KEY, "s3cret")
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert KEY not in shown
        assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        (
            {"key": "s3cret"},
            "[registry.key]: expected 32 random bytes in base64, as `openssl rand -base64 32` prints them",
        ),
        ({"key": KEY + "="}, "[registry.key]: expected 32 random bytes in base64, as `openssl rand"),
        ({"api_key": 12345}, "[registry.api_key]: Input should be a valid string"),
        ({"api_key": ""}, "[registry.api_key]: must not be empty"),
        ("s3cret", "[registry]: Input should be a valid dictionary or instance of RegistrySettings"),
        ({"username": "u", "password": 12345}, "[registry.password]: Input should be a valid string"),
        ({"username": "u"}, "[registry]: `username` and `password` go together"),
        ({"key": KEY, "key_file": "/k"}, "[registry]: give either `key` or `key_file`"),
        (
            {"username": "u", "password": "p", "api_key": "k"},
            "[registry]: give either `username` and `password`, or an `api_key`",
        ),
        (
            {"index": "Big"},
            "[registry.index]: String should match pattern '^[a-z0-9.][a-z0-9._-]{0,254}$', not [Big]",
        ),
    ],
)
def test_errors_never_show_a_secret(registry: Any, message: str) -> None:
    assert refusal({"registry": registry}).startswith(message)
    assert not any(secret in refusal({"registry": registry}) for secret in ("s3cret", "12345", KEY))


def test_secrets_have_a_variable_and_no_option() -> None:
    rows = {row.key: row for row in table() if row.secret}
    assert set(rows) == {"registry.key", "registry.password", "registry.api_key"}
    for row in rows.values():
        assert row.option is None
        assert row.environment is not None
    environ = {"RERANK_PROXY_REGISTRY__KEY": KEY}
    assert load(environ=environ).registry.key is not None


def test_the_table_reaches_every_leaf() -> None:
    rows = {row.key: row for row in table()}
    assert len(rows) == len(list(table()))
    assert rows["listen"].option == "--listen"
    assert rows["admin.listen"].option == "--admin"
    assert rows["upstream.url"].option == "--upstream"
    assert rows["upstream.connect_timeout_s"].option == "--upstream-connect-timeout-s"
    assert rows["engine.offline"].environment == "RERANK_PROXY_ENGINE__OFFLINE"
    assert rows["engine.offline"].default_text == "false"
    assert rows["edge.max_body"].default_text == "100MiB"
    assert rows["models.NAME.source"].required
    assert rows["models.NAME.source"].option is None
    assert rows["models.NAME.source"].environment is None
    assert all(row.description.endswith(".") for row in rows.values())


def test_every_leaf_can_be_given_by_its_variable() -> None:
    for row in table():
        if row.environment is None or row.default is None:
            continue
        text = row.default_text if row.key != "upstream.url" else "http://x:1"
        settings = load(environ={row.environment: text})
        if row.key != "upstream.url":
            assert settings == Settings(), row.key
