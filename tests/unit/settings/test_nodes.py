"""The nodes of upstream in the settings: one of three ways to give them."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from elastic_transport.client_utils import parse_cloud_id
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.settings import Settings, load
from rerank_proxy.settings.cloud_id import url_of_cloud_id
from tests.unit.settings.refusals import refusal


def cloud_id(decoded: str, name: str = "films") -> str:
    return f"{name}:{b64encode(decoded.encode()).decode()}"


CLOUD = cloud_id("us-east-1.aws.found.io$abc123$def456")


def node_urls(upstream: Any) -> tuple[str, ...]:
    return load(overrides={"upstream": upstream}, environ={}).upstream.node_urls


def test_each_way() -> None:
    assert load(environ={}).upstream.node_urls == ("http://127.0.0.1:9200",)
    assert node_urls("http://a:1/") == ("http://a:1",)
    assert node_urls({"urls": ["http://a:1", "http://b:2/"]}) == ("http://a:1", "http://b:2")
    assert node_urls({"urls": "http://a:1, http://b:2"}) == ("http://a:1", "http://b:2")
    assert node_urls({"cloud_id": CLOUD}) == ("https://abc123.us-east-1.aws.found.io",)
    environ = {"RERANK_PROXY_UPSTREAM__URLS": "https://a,https://b:9200"}
    assert load(environ=environ).upstream.node_urls == ("https://a", "https://b:9200")


@pytest.mark.parametrize("upstream", ["http://a:1", {"urls": "http://a:1,http://b:2"}, {"cloud_id": CLOUD}])
def test_they_travel_to_the_other_process(upstream: Any) -> None:
    settings = load(overrides={"upstream": upstream}, environ={})
    assert Settings.model_validate_json(settings.dump_with_secrets()) == settings


def test_a_later_source_decides_which_way(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("upstream: {urls: [http://a, http://b], connect_timeout_s: 3}")
    short = tmp_path / "short.yaml"
    short.write_text("upstream: http://a")
    environ = {"RERANK_PROXY_UPSTREAM__CLOUD_ID": CLOUD}
    for file in (config, short):
        assert load(file, {"upstream": "http://c"}, {}).upstream.node_urls == ("http://c",)
        assert load(file, {"upstream": {"urls": "http://c,http://d"}}, {}).upstream.urls is not None
        assert load(file, {}, environ).upstream.cloud_id == CLOUD
        assert load(file, {"upstream": "http://c"}, environ).upstream.node_urls == ("http://c",)
    assert load(config, {}, environ).upstream.connect_timeout_s == 3


ONE = "[upstream]: give one of `url`, `urls` and `cloud_id`"


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        ({"url": "http://a", "urls": "http://b,http://c"}, ONE),
        ({"url": "http://a", "cloud_id": CLOUD}, ONE),
        ({"urls": "http://b,http://c", "cloud_id": CLOUD}, ONE),
        ({"url": None}, ONE),
        ({"urls": []}, "[upstream.urls]: must not be empty"),
        (
            {"urls": "http://a,https://b"},
            "[upstream.urls]: mixes http:// and https://, but the settings of TLS are for all: give one "
            "scheme",
        ),
        ({"urls": "http://a,http://b,http://a/"}, "[upstream.urls]: names [http://a] twice"),
        (
            {"urls": ["http://a", "b:9200"]},
            "[upstream.urls.1]: expected http://HOST:PORT or https://HOST:PORT, not [b:9200]",
        ),
        (
            {"urls": ",".join(f"http://n{number}" for number in range(65))},
            "[upstream.urls]: holds 65 URLs; at most 64 can be used",
        ),
        (
            {"cloud_id": "films"},
            "[upstream.cloud_id]: expected a Cloud ID, as Elastic Cloud shows it: NAME:BASE64, not [films]",
        ),
        (
            {"cloud_id": cloud_id("found.io$$kibana")},
            "[upstream.cloud_id]: names a domain but no Elasticsearch: copy it again from the deployment's "
            "page",
        ),
    ],
)
def test_what_is_wrong(upstream: Any, message: str) -> None:
    assert refusal(overrides={"upstream": upstream}) == message


@pytest.mark.parametrize("host", [".a", "a..b", "a b", "a\0b", "a" * 64, "é" * 60])
def test_what_is_not_the_name_of_a_host(host: str) -> None:
    """It would fail each attempt to connect, and not as a server that is down does."""
    assert "expected http://HOST:PORT" in refusal(overrides={"upstream": f"https://{host}:9200"})
    expected = "[upstream.server_name]: expected a host name or an address"
    assert expected in refusal(overrides={"upstream": {"server_name": host}})


@pytest.mark.parametrize("host", ["a", "a.", "under_score.a", "és.a", "10.0.0.1", "[::1]", "a" * 63])
def test_names_of_hosts(host: str) -> None:
    assert node_urls(f"https://{host}:9200") == (f"https://{host}:9200",)


def test_credentials_in_one_of_them_are_not_shown() -> None:
    message = refusal(overrides={"upstream": {"urls": "http://a,http://elastic:s3cret@b"}})
    assert message.startswith("[upstream.urls.1]: must not hold credentials")
    assert "s3cret" not in message


PARTS = st.text("abc.-$:0129é", max_size=12)


@given(PARTS, st.sampled_from(["", ":443", ":9243", ":0", ":x", ":99999"]), PARTS, st.booleans())
def test_a_cloud_id_is_read_as_the_clients_read_it(domain: str, port: str, node: str, kibana: bool) -> None:
    """Except that what is not the name of a host is refused here."""
    text = cloud_id(f"{domain}{port}${node}{'$k' if kibana else ''}")
    try:
        url = url_of_cloud_id(text)
    except ValueError:
        return
    address = parse_cloud_id(text).es_address
    assert address is not None
    host, number = address
    assert url == f"https://{host}" + ("" if number == 443 else f":{number}")


@pytest.mark.parametrize("port", ["", ":443", ":9243"])
def test_cloud_ids_that_are_given_out(port: str) -> None:
    url = url_of_cloud_id(cloud_id(f"eu-west-1.aws.found.io{port}$0123abcd$4567"))
    assert url == "https://0123abcd.eu-west-1.aws.found.io" + (port if port == ":9243" else "")


@pytest.mark.parametrize(
    "decoded", ["", "$a$b", "found.io", "a:b:c$d", "found.io/x$a", "found.io$a/b", "x$a b", "..$a", "x$a."]
)
def test_what_is_not_a_cloud_id(decoded: str) -> None:
    with pytest.raises(ValueError, match=r"Cloud ID|no Elasticsearch"):
        url_of_cloud_id(cloud_id(decoded))
