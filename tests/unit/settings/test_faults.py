"""Faults of settings: one line each, which names the key and its source, and shows no secret."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.settings import InvalidSettingsError, load, table
from rerank_proxy.settings.environment import read_environment
from rerank_proxy.settings.guesses import RENAMED
from tests.support.pages import read
from tests.support.project import ROOT
from tests.unit.settings.refusals import refusal


@pytest.mark.parametrize("name", ["", ".", ".es", "a..b", "a b", "x" * 64, "es:9200", "[::1]"])
def test_bad_server_names(name: str) -> None:
    assert refusal({"upstream": {"server_name": name}}).startswith(
        "[upstream.server_name]: expected a host name or an address"
    )


@pytest.mark.parametrize(
    "listen", ["9201", "host", "host:65536", "host:-1", "::1:80", "a b:1", "", 9201, None]
)
def test_bad_addresses(listen: Any) -> None:
    assert refusal({"listen": listen}).startswith("[listen]: expected HOST:PORT, for example 127.0.0.1:9201")


@pytest.mark.parametrize(
    "address",
    ["9201", "host", "host:0", "host:65536", ":9201", "::1:80", "a b:1", 'a"b:1', "é:1", "", "-a:1"],
)
def test_bad_public_addresses(address: str) -> None:
    message = "[edge.public_address]: expected HOST:PORT, for example search.example.com:9200"
    assert refusal({"edge": {"public_address": address}}).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lisen": "x"}, "[lisen]: unknown setting, did you mean [listen]?"),
        ({"upstream": {"ur": "x"}}, "[upstream.ur]: unknown setting, did you mean [upstream.url]?"),
        (
            {"connect_timeout_s": 3},
            "[connect_timeout_s]: unknown setting, did you mean [upstream.connect_timeout_s] or "
            "[remote.connect_timeout_s]?",
        ),
        (
            {"models": {"a": {"source": "x", "sorce": 1}}},
            "[models.a.sorce]: unknown setting, did you mean [models.a.source]?",
        ),
        (
            {"lifecycle": {"zzz": 1}},
            "[lifecycle.zzz]: unknown setting; known: drain_delay_s, shutdown_timeout_s",
        ),
        ({"models": {"a": {}}}, "[models.a.source] is required"),
        (
            {"endpoints": {"e": {}}},
            "[endpoints.e]: give a `model`, or a `service` with its `service_settings`",
        ),
        ({"endpoints": {"e": "m"}}, "[endpoints.e.model]: no model [m] under [models]; none is configured"),
        (
            {"endpoints": {"e": "m"}, "models": {"b": "x", "a": "x"}},
            "[endpoints.e.model]: no model [m] under [models]; known: a, b",
        ),
        (
            {"engine": {"threads": "x"}},
            "[engine.threads]: expected a whole number, not [x]",
        ),
        (
            {"engine": {"threads": -1}},
            "[engine.threads]: must be at least 0, not [-1]",
        ),
        (
            {"engine": {"offline": "maybe"}},
            "[engine.offline]: expected true or false, not [maybe]",
        ),
        ({"search": {"timeout_s": 0}}, "[search.timeout_s]: must be greater than 0, not [0]"),
        ({"search": {"timeout_s": "inf"}}, "[search.timeout_s]: expected a number that is finite, not [inf]"),
        (
            {"edge": {"max_body": "big"}},
            "[edge.max_body]: expected a size, such as 100MiB, not [big]",
        ),
        (
            {"log": {"level": "loud"}},
            "[log.level]: expected debug, info, warning or error, not [loud]",
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
        (
            {"upstream": "http://h:99999"},
            "[upstream.url]: expected a port from 0 to 65535, not [http://h:99999]",
        ),
        (
            {"upstream": "http://h/path"},
            "[upstream.url]: must not hold a path: requests keep the path that the client sent, "
            "not [http://h/path]",
        ),
        (
            {"upstream": {"host_header": "x"}},
            "[upstream.host_header]: expected auto, client or upstream, not [x]",
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


def test_errors_of_a_file_name_it(config: Path) -> None:
    config.write_text("lisen: 127.0.0.1:1\n")
    assert refusal(config=config) == f"{config}:1:1: [lisen]: unknown setting, did you mean [listen]?"
    config.write_text("listen: 127.0.0.1:1\n")
    assert refusal({"log": {"level": "x"}}, config=config).startswith("[log.level]: ")  # not of the file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"listen: [", ":1:10: is not valid YAML: "),
        (b"a: b: c", ":1:5: is not valid YAML: "),
        (b"\n - listen", ":2:2: expected a mapping of settings, such as `listen: 127.0.0.1:9201`"),
        (b"just text", ":1:1: expected a mapping of settings"),
        (b"1: 2", ":1:1: expected a mapping of settings"),
        (b"\xff\xfe\x00", ": is not UTF-8 text"),
        (b"listen: 2024-13-01", ":1:1: [listen]: expected HOST:PORT, for example 127.0.0.1:9201, not [2024"),
        (b"edge: {max_head: " + b"9" * 6000 + b"}", ":1:18: holds what cannot be read as int"),
        (b"models: 5", ":1:1: [models]: expected a mapping, not [5]"),
        (b"models: {1: x}", ":1:10: [models.1]: a name must be text; put it in quotes"),
        (b"edge: 5", ":1:1: [edge]: expected a mapping of settings, not [5]"),
    ],
)
def test_unreadable_files(config: Path, text: bytes, message: str) -> None:
    config.write_bytes(text)
    assert refusal(config=config).startswith(f"{config}{message}")


FAULTY = """\
listen: nowhere
lisen: 1
upstream: {url: "http://[::", ca_cert: x}
engine:
  threads: x
  precision: flp32
  threads: 1
models:
  minilm: {source: x, max_length: 0}
  minilm2: {source: x, source: y}
endpoints: {e: minlm, f: {}}
registry: {username: u, refresh_s: 0}
edge:
log: {level: warn}
"""


def test_all_faults_are_told_at_once(config: Path) -> None:
    config.write_text(FAULTY)
    environ = {"RERANK_PROXY_LISTN": "x", "RERANK_PROXY_SEARCH__TIMEOUT_S": "-1"}
    with pytest.raises(InvalidSettingsError) as raised:
        load(config, {"admin": "nowhere"}, environ)
    assert sorted(raised.value.faults) == sorted(
        [
            f"{config}:7:3: [engine.threads] is given twice, first in line 5",
            f"{config}:10:24: [models.minilm2.source] is given twice, first in line 10",
            "RERANK_PROXY_LISTN: unknown variable, did you mean RERANK_PROXY_LISTEN?",
            f"{config}:1:1: [listen]: expected HOST:PORT, for example 127.0.0.1:9201, not [nowhere]",
            "[admin.listen]: expected HOST:PORT, for example 127.0.0.1:9201, not [nowhere]",
            f"{config}:3:12: [upstream.url]: expected http://HOST:PORT or https://HOST:PORT, not [http://[::]",
            f"{config}:3:31: [upstream.ca_cert]: unknown setting, did you mean [upstream.ca_certs]?",
            f"{config}:9:23: [models.minilm.max_length]: must be greater than 0, not [0]",
            f"{config}:11:13: [endpoints.e.model]: no model [minlm] under [models], did you mean minilm?",
            f"{config}:11:23: [endpoints.f]: give a `model`, or a `service` with its `service_settings`",
            f"{config}:6:3: [engine.precision]: expected auto, fp32, int8, bf16 or fp16, not [flp32], did "
            "you mean fp32?",
            f"{config}:12:25: [registry.refresh_s]: must be greater than 0, not [0]",
            f"{config}:12:1: [registry]: `username` and `password` go together",
            "RERANK_PROXY_SEARCH__TIMEOUT_S: must be greater than 0, not [-1]",
            f"{config}:13:1: [edge]: expected a mapping of settings, but it has no value",
            f"{config}:14:7: [log.level]: expected debug, info, warning or error, not [warn], did you mean "
            "warning?",
            f"{config}:2:1: [lisen]: unknown setting, did you mean [listen]?",
        ]
    )


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("listen: :1\nlisten: :1\n", ["2:1: [listen] is given twice, first in line 1"]),
        ("{listen: ':1', \"listen\": ':2'}", ["1:16: [listen] is given twice, first in line 1"]),
        (
            "listen: :1\n\nlisten: :1\nlisten: :1\n",
            [f"{n}:1: [listen] is given twice, first in line 1" for n in (3, 4)],
        ),
        (
            "endpoints: {e: {service_settings: {a: [{b: 1, b: 2}]}, service: s}}",
            ["1:47: [endpoints.e.service_settings.a.b] is given twice, first in line 1"],
        ),
        (
            "models: {a: &x {source: s, source: t}, b: *x}",
            ["1:28: [models.a.source] is given twice, first in line 1"],
        ),
        ("models: {a: &x {source: s}, b: {<<: *x, preload: no}, c: *x}", []),
        ("models: {'1': a, true: b}", []),
    ],
)
def test_a_key_is_given_once(config: Path, text: str, faults: list[str]) -> None:
    """YAML forbids anything else; its readers take the last."""
    config.write_text(text)
    try:
        load(config, environ={})
        told: tuple[str, ...] = ()
    except InvalidSettingsError as error:
        told = error.faults
    assert [fault for fault in told if "given twice" in fault] == [f"{config}:{fault}" for fault in faults]


OF_LIBRARIES = ("Input should", "dictionary", "instance", "string", "parse", "pattern", "NoneType", "validat")


JUNK: list[Any] = [
    None,
    True,
    "",
    "x y",
    "\x00",
    -1,
    1.5,
    float("nan"),
    10**400,
    [],
    [1],
    {},
    {"a": 1},
    {1: 2},
    b"x",
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda value: repr(value)[:20])
def test_whatever_a_value_is_the_words_are_the_readers(junk: Any) -> None:
    for row in table():
        values: Any = junk
        for part in reversed(row.path):
            values = {part: values}
        try:
            load(overrides=values, environ={})
        except InvalidSettingsError as error:
            for fault in error.faults:
                said = fault.partition("]: ")[2]
                assert not any(word in said for word in OF_LIBRARIES), fault
                assert len(fault) < 500


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.text()
                | st.sampled_from(["models", "endpoints", "model", "source", "listen", "upstream", "url"]),
                inner,
            )
        ),
    )
)
def test_any_values_are_settings_or_faults(values: Any) -> None:
    with suppress(InvalidSettingsError):
        load(
            overrides=values if isinstance(values, dict) else {"models": values, "endpoints": values},
            environ={},
        )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert refusal(config=path) == f"{path}: cannot be read: No such file or directory"
    assert refusal(config=tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RERANK_PROXY_MODELS": "{nope"}, "RERANK_PROXY_MODELS: is not valid JSON: "),
        ({"RERANK_PROXY_MODELS": "nope"}, "RERANK_PROXY_MODELS: expected a mapping"),
        (
            {"RERANK_PROXY_ADMIN__LISTEN": "127.0.0.1:1", "RERANK_PROXY_ADMIN": "127.0.0.1:2"},
            "RERANK_PROXY_ADMIN__LISTEN: its section is already given as a whole by RERANK_PROXY_ADMIN",
        ),
        (
            {"RERANK_PROXY_ENGINE__THREDS": "1"},
            "RERANK_PROXY_ENGINE__THREDS: unknown variable, did you mean RERANK_PROXY_ENGINE__THREADS?",
        ),
        (
            {"RERANK_PROXY_UPSTREAM_URL": "http://h:1"},
            "RERANK_PROXY_UPSTREAM_URL: unknown variable, did you mean RERANK_PROXY_UPSTREAM__URL?",
        ),
        (
            {"RERANK_PROXY_CONFG": "/etc/x.yaml"},
            "RERANK_PROXY_CONFG: unknown variable, did you mean RERANK_PROXY_CONFIG?",
        ),
        (
            {"RERANK_PROXY_LISTEN__PORT": "1"},
            "RERANK_PROXY_LISTEN__PORT: unknown variable, did you mean RERANK_PROXY_LISTEN?",
        ),
        (
            {"RERANK_PROXY_ENGINE__THREADS": "x"},
            "RERANK_PROXY_ENGINE__THREADS: expected a whole number, not [x]",
        ),
        (
            {"RERANK_PROXY_MODELS": '{"m": {"sorce": "x"}}'},
            "RERANK_PROXY_MODELS: [models.m.source] is required; RERANK_PROXY_MODELS: [models.m.sorce]: unk",
        ),
        (
            {"RERANK_PROXY_LISTEN": "127.0.0.1:1", "RERANK_PROXY_listen": "127.0.0.1:2"},
            "RERANK_PROXY_listen: [listen] is given twice: RERANK_PROXY_LISTEN gives it too",
        ),
        ({"RERANK_PROXY_MODELS": '{"m": "x", "m": "y"}'}, "RERANK_PROXY_MODELS: [m] is given twice"),
    ],
)
def test_bad_environments(environ: dict[str, str], message: str) -> None:
    assert refusal(environ=environ).startswith(message)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        (
            "BASE_URLS",
            "cohere",
            ": expected NAME=VALUE, or several with commas, not [cohere]",
        ),
        ("BASE_URLS", "{x", ": is not valid JSON: "),
        ("BASE_URLS", "cohere=ftp://a", ": [remote.base_urls.cohere]: expected http://HOST:PORT or https://"),
        ("BASE_URLS", "cohere=http://a?b", ": [remote.base_urls.cohere]: must not hold a query"),
        ("MAX_DOCUMENTS", "cohere=0", ": [remote.max_documents.cohere]: must be greater than 0"),
        ("MAX_DOCUMENTS", "cohere=1,cohere=2", ": names something twice"),
    ],
)
def test_bad_mappings(key: str, text: str, message: str) -> None:
    variable = f"RERANK_PROXY_REMOTE__{key}"
    assert refusal(environ={variable: text}).startswith(variable + message)


def test_a_password_in_a_base_url_is_not_repeated() -> None:
    message = refusal({"remote": {"base_urls": {"cohere": "https://me:s3cret@h"}}})
    assert message.startswith("[remote.base_urls.cohere]: must not hold credentials")
    assert "s3cret" not in message


KEY = "AbCd" * 10 + "AbC="


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        (
            {"key": "s3cret"},
            "[registry.key]: expected 32 random bytes in base64, as `openssl rand -base64 32` prints them",
        ),
        ({"key": KEY + "="}, "[registry.key]: expected 32 random bytes in base64, as `openssl rand"),
        ({"api_key": 12345}, "[registry.api_key]: expected text"),
        ({"api_key": ""}, "[registry.api_key]: must not be empty"),
        ("s3cret", "[registry]: expected a mapping of settings"),
        ({"username": "u", "password": 12345}, "[registry.password]: expected text"),
        ({"username": "u"}, "[registry]: `username` and `password` go together"),
        ({"key": KEY, "key_file": "/k"}, "[registry]: give either `key` or `key_file`"),
        (
            {"username": "u", "password": "p", "api_key": "k"},
            "[registry]: give either `username` and `password`, or an `api_key`",
        ),
        (
            {"index": "Big"},
            "[registry.index]: expected at most 255 lower-case letters, digits, dots, hyphens and "
            "underscores, no hyphen first, not [Big]",
        ),
    ],
)
def test_errors_never_show_a_secret(registry: Any, message: str) -> None:
    assert refusal({"registry": registry}).startswith(message)
    assert not any(secret in refusal({"registry": registry}) for secret in ("s3cret", "12345", KEY))


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_new_name_of_a_renamed_setting(old: str, new: str) -> None:
    """In a file, in the environment, and in the changelog."""
    *section, name = old.split(".")
    message = refusal({section[0]: {name: "1"}} if section else {name: "1"})
    assert message == f"[{old}]: unknown setting, did you mean [{new}]?"
    before, now = (f"RERANK_PROXY_{each.upper().replace('.', '__')}" for each in (old, new))
    assert refusal(environ={before: "1"}) == f"{before}: unknown variable, did you mean {now}?"
    notes = read(ROOT / "CHANGELOG.md")
    assert re.search(rf"^\| `{re.escape(old)}`.* \| `{re.escape(new)}`", notes, re.MULTILINE)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hidden@localhost",
        "redis://:hidden@localhost:99999",
        "hidden@localhost",
        "redis://localhost?password=hidden",
    ],
)
def test_the_address_of_the_shared_cache_holds_no_credentials(url: str) -> None:
    message = refusal({"engine": {"shared_cache": {"url": url}}})
    assert message.startswith("[engine.shared_cache.url]: must not hold credentials")
    assert "hidden" not in message


@pytest.mark.parametrize("url", ["http://localhost", "redis://", "redis://localhost/a", "localhost:6379"])
def test_the_address_of_the_shared_cache_has_a_form(url: str) -> None:
    assert "expected redis://HOST:PORT" in refusal({"engine": {"shared_cache": {"url": url}}})


def test_the_shared_cache_has_one_password() -> None:
    given = {"url": "rediss://localhost:6379/2", "username": "proxy"}
    assert "needs `password`" in refusal({"engine": {"shared_cache": given}})
    both = {**given, "password": "hidden", "password_file": "/f"}
    message = refusal({"engine": {"shared_cache": both}})
    assert "give either" in message
    assert "hidden" not in message


def test_callers_are_told_apart_by_replicas_with_a_password() -> None:
    url = {"url": "redis://127.0.0.1:6379"}
    message = refusal({"engine": {"cache_scope": "caller", "shared_cache": url}})
    assert "`cache_scope: caller` needs a password in `shared_cache`" in message


def test_a_message_does_not_list_thousands_of_models() -> None:
    """Nor is a name compared with all of them, for each of a hundred faults."""
    models = {f"model-{number}": {"source": "/m"} for number in range(1000)}
    endpoints = {"near": {"model": "model-1x"}, "far": {"model": "?"}, "long": {"model": "m" * 1000}}
    near, far, long = refusal({"models": models, "endpoints": endpoints}).split("; [")
    assert near.endswith("did you mean model-1?")
    assert far.endswith(", …")
    assert max(map(len, (far, long))) < 500


def test_only_so_many_names_are_guessed() -> None:
    faults = read_environment({f"RERANK_PROXY_LISTN{number}": "x" for number in range(1000)}).faults
    assert len(faults) == 1000
    assert sum("did you mean RERANK_PROXY_LISTEN?" in fault for fault in faults) == 100
