"""One table of settings: its sources, their precedence, and what it reaches."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.settings import Address, Settings, load, table
from tests.unit.settings.refusals import refusal


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
        "RERANK_PROXY_LISTEN_PORT: unknown variable, did you mean RERANK_PROXY_LISTEN?"
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


def test_a_trailing_slash_is_dropped() -> None:
    assert load(overrides={"upstream": "https://es:9200/"}, environ={}).upstream.url == "https://es:9200"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_all_defaults(config: Path, text: str) -> None:
    config.write_text(text)
    assert load(config, environ={}) == Settings()


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


def test_secrets_have_a_variable_and_no_option() -> None:
    rows = {row.key: row for row in table() if row.secret}
    assert set(rows) >= {"registry.key", "engine.shared_cache.password", "admin.tls.key_password"}
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
