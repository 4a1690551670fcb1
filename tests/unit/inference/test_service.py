"""A service's tables of settings: what is read, refused, shown, changed and described."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.inference.service import Ranker, Service, ServiceContext
from rerank_proxy.inference.service_settings import (
    Setting,
    SettingKind,
    SettingsReader,
    shown,
    unknown_settings,
)

KEY = "sk-1234"


class Example(Service):
    """One setting of each kind."""

    name = "example"
    label = "Example"
    requests_per_minute = 1000
    service_settings: ClassVar[Sequence[Setting]] = (
        Setting(name="api_key", required=True, secret=True, updatable=True, label="API Key"),
        Setting(name="model_id", required=True, description="Which model."),
        Setting(name="url", kind=SettingKind.URL, updatable=True),
        Setting(name="size", kind=SettingKind.POSITIVE_INT, updatable=True, default=8),
        Setting(name="mode", choices=("slow", "fast")),
        Setting(name="headers", kind=SettingKind.MAP),
        Setting(name="hosts", kind=SettingKind.LIST),
        Setting(name="old", dropped=True),
        Setting(
            name="even", kind=SettingKind.POSITIVE_INT, check=lambda n: f"[{n}] is odd" if n % 2 else None
        ),
    )
    task_settings: ClassVar[Sequence[Setting]] = (
        Setting(name="top_n", kind=SettingKind.POSITIVE_INT),
        Setting(name="return_documents", kind=SettingKind.BOOLEAN),
    )

    def open(self, config: EndpointConfig) -> Ranker:
        raise AssertionError("nothing is asked here")

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        if config.service_settings.get("mode") == "fast" and "url" in config.service_settings:
            faults.append("[mode] and [url] exclude each other")
        return config


SERVICE = Example(cast("ServiceContext", None))
LEAST: dict[str, Any] = {"api_key": KEY, "model_id": "m"}


def parsed(task_settings: dict[str, Any] | None = None, **service_settings: Any) -> EndpointConfig:
    return SERVICE.parse("mine", {**LEAST, **service_settings}, task_settings or {})


def refusal(call: Any, *arguments: Any, **settings: Any) -> tuple[str, str]:
    with pytest.raises(InferenceFailedError) as raised:
        call(*arguments, **settings)
    assert raised.value.status == 400
    return raised.value.cause.type, raised.value.cause.reason


def faults(**service_settings: Any) -> str:
    """Return the messages of a validation, without what all of them have in common."""
    type_, reason = refusal(parsed, **service_settings)
    assert type_ == "validation_exception"
    return reason.removeprefix("Validation Failed: ")


class TestParse:
    def test_defaults_are_shown_and_secrets_are_apart(self) -> None:
        config = parsed()
        assert config.service_settings == {
            "model_id": "m",
            "size": 8,
            "rate_limit": {"requests_per_minute": 1000},
        }
        assert [*config.service_settings] == ["model_id", "size", "rate_limit"]
        assert config.secrets == {"api_key": KEY}
        assert KEY not in repr(config)
        assert KEY not in str(config.document())

    def test_everything(self) -> None:
        given_ = {
            "url": "https://example.org:8443/x?y=z",
            "size": 9,
            "mode": "slow",
            "headers": {"a": "b"},
            "hosts": ["x"],
            "even": 2,
        }
        rate_limit = {"requests_per_minute": 3}
        config = parsed({"top_n": 2, "return_documents": False}, **given_, old="x", rate_limit=rate_limit)
        assert config.service_settings == {"model_id": "m", **given_, "rate_limit": rate_limit}
        assert config.task_settings == {"top_n": 2, "return_documents": False}
        assert SERVICE.top_n(config) == 2

    def test_all_faults_in_the_order_of_the_table(self) -> None:
        assert faults(api_key=None, model_id="", size=0, mode="x", headers=[], even=3) == (
            "1: [secret_settings] does not contain the required setting [api_key];"
            "2: [service_settings] Invalid value empty string. [model_id] must be a non-empty string;"
            "3: [service_settings] Invalid value [0]. [size] must be a positive integer;"
            "4: [service_settings] Invalid value [x] received. [mode] must be one of [fast, slow];"
            "5: field [headers] is not of the expected type. The value [[]] cannot be converted to a [Map];"
            "6: [service_settings] [3] is odd;"
        )

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("size", True, "field [size] is not of the expected type. The value [true] cannot be converted"),
            ("size", 1.0, "field [size] is not of the expected type. The value [1.0] cannot be converted"),
            ("size", 2**31, "field [size] is not of the expected type. The value [2147483648] cannot be"),
            ("size", -1, "[service_settings] Invalid value [-1]. [size] must be a positive integer"),
            (
                "model_id",
                5,
                "field [model_id] is not of the expected type. The value [5] cannot be",
            ),
            ("hosts", {}, "field [hosts] is not of the expected type. The value [{}] cannot be converted"),
            ("url", "ftp://x", "[service_settings] Invalid url [ftp://x] received for field [url]. Error: "),
            ("url", "http://", "[service_settings] Invalid url [http://] received for field [url]. Error: "),
            ("url", "http://a:b", "[service_settings] Invalid url [http://a:b] received for field [url]."),
            ("url", "http://[", "[service_settings] Invalid url [http://[] received for field [url]."),
            ("rate_limit", {"requests_per_minute": 0}, "[service_settings.rate_limit] Invalid value [0]."),
            ("rate_limit", 5, "field [rate_limit] is not of the expected type. The value [5] cannot be"),
        ],
    )
    def test_one_fault(self, name: str, value: Any, said: str) -> None:
        assert faults(**{name: value}).startswith(f"1: {said}")

    @pytest.mark.parametrize("value", [5, [KEY], {"k": KEY}, ""])
    def test_a_bad_key_is_not_shown(self, value: Any) -> None:
        assert KEY not in faults(api_key=value)

    def test_rules_between_settings_come_with_the_others(self) -> None:
        assert faults(mode="fast", url="http://x", size=0) == (
            "1: [service_settings] Invalid value [0]. [size] must be a positive integer;"
            "2: [mode] and [url] exclude each other;"
        )

    @pytest.mark.parametrize(
        ("service_settings", "task_settings", "rest"),
        [
            ({"x": 1}, {"y": 2}, "{x=1}"),
            ({}, {"y": 2}, "{y=2}"),
            ({"rate_limit": {"z": 3}, "x": 1}, {}, "{z=3}"),
        ],
    )
    def test_unknown_settings_come_last(self, service_settings: Any, task_settings: Any, rest: str) -> None:
        assert refusal(parsed, task_settings, **service_settings) == (
            "status_exception",
            f"Configuration contains settings [{rest}] unknown to the [example] service",
        )


class TestUpdate:
    CONFIG = SERVICE.parse("mine", {**LEAST, "url": "http://a", "headers": {"a": "b"}}, {"top_n": 5})

    def update(self, service_settings: Any = None, task_settings: Any = None) -> EndpointConfig:
        return SERVICE.update(self.CONFIG, service_settings or {}, task_settings or {})

    def test_nothing_changes_by_itself(self) -> None:
        assert self.update() == self.CONFIG
        assert self.update({"url": None, "rate_limit": None}, {"top_n": None}) == self.CONFIG

    def test_settings_of_the_request_win(self) -> None:
        changes = {"url": "http://b", "api_key": "new", "rate_limit": {"requests_per_minute": 7}}
        config = self.update(changes, {"return_documents": True})
        assert config.service_settings == {
            **self.CONFIG.service_settings,
            "url": "http://b",
            "rate_limit": {"requests_per_minute": 7},
        }
        assert config.secrets == {"api_key": "new"}
        assert config.task_settings == {"top_n": 5, "return_documents": True}

    def test_what_the_service_keeps_for_itself_stays(self) -> None:
        kept = EndpointConfig("mine", "example", self.CONFIG.service_settings, {}, LEAST, {"version": "2"})
        assert SERVICE.update(kept, {"size": 3}, {}).internal == {"version": "2"}

    @pytest.mark.parametrize("setting", ["model_id", "mode", "headers"])
    def test_what_cannot_be_changed(self, setting: str) -> None:
        assert refusal(self.update, {setting: "x", "size": 3}) == (
            "status_exception",
            "Request contained fields which cannot be updated, remove these fields and try again "
            f"[{{{setting}=x}}]",
        )

    @pytest.mark.parametrize(
        ("service_settings", "task_settings", "type_"),
        [
            ({"size": 0}, {}, "validation_exception"),
            ({}, {"top_n": "x"}, "validation_exception"),
            ({"x": 1}, {}, "status_exception"),
        ],
    )
    def test_it_is_checked_as_a_new_one(self, service_settings: Any, task_settings: Any, type_: str) -> None:
        assert refusal(self.update, service_settings, task_settings)[0] == type_


class TestTaskSettingsOfARequest:
    CONFIG = parsed({"top_n": 5, "return_documents": True})

    def completed(self, task_settings: dict[str, Any], **request: Any) -> RerankRequest:
        return SERVICE.complete(
            self.CONFIG, RerankRequest("q", ["a"], task_settings=task_settings, **request)
        )

    def test_lie_over_the_endpoints(self) -> None:
        assert self.completed({"top_n": 2}).task_settings == {"top_n": 2, "return_documents": True}
        assert self.completed({"top_n": None}).task_settings == self.CONFIG.task_settings
        assert SERVICE.top_n(self.CONFIG) == 5

    def test_complete_what_the_request_leaves_open(self) -> None:
        of_the_task = self.completed({"top_n": 2})
        assert (of_the_task.top_n, of_the_task.return_documents) == (2, True)
        its_own = self.completed({"top_n": 2}, top_n=3, return_documents=False)
        assert (its_own.top_n, its_own.return_documents) == (3, False)
        no_settings = SERVICE.complete(parsed({}), RerankRequest("q", ["a"]))
        assert (no_settings.top_n, no_settings.return_documents) == (None, None)

    def test_are_checked(self) -> None:
        type_, reason = refusal(self.completed, {"top_n": 0})
        assert type_ == "validation_exception"
        assert "[task_settings] Invalid value [0]. [top_n] must be a positive integer" in reason
        _, reason = refusal(self.completed, {"x": 1})
        assert reason == "Configuration contains settings [{x=1}] unknown to the [example] service"

    @given(
        st.dictionaries(
            st.sampled_from(["top_n", "return_documents", "x"]),
            st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2),
        )
    )
    def test_are_merged_or_refused_whatever_they_are(self, settings: dict[str, Any]) -> None:
        try:
            merged = dict(self.completed(settings).task_settings)
        except InferenceFailedError as failure:
            merged = {"status": failure.status}
        said = {name: value for name, value in settings.items() if value is not None}
        assert merged in ({"status": 400}, {**self.CONFIG.task_settings, **said})


def test_the_catalogue() -> None:
    rows = SERVICE.configurations()
    assert [*rows] == [
        "api_key", "model_id", "url", "size", "mode", "headers", "hosts", "even",
        "rate_limit.requests_per_minute",
    ]  # fmt: skip
    assert rows["api_key"] == {
        "description": "",
        "label": "API Key",
        "required": True,
        "sensitive": True,
        "updatable": True,
        "type": "str",
        "supported_task_types": ["rerank"],
    }
    assert [rows[name]["type"] for name in ("url", "size", "headers", "hosts")] == [
        "str",
        "int",
        "map",
        "map",
    ]
    assert rows["size"]["default_value"] == 8


class TestReader:
    def test_absent_settings_of_an_update_stay_absent(self) -> None:
        found: list[str] = []
        reader = SettingsReader("service_settings", {"size": 3, "x": 1}, found)
        assert reader.read(Example.service_settings, partial=True) == {"size": 3}
        assert (reader.rest(), found) == ({"x": 1}, [])

    def test_what_it_was_given_stays_as_it_is(self) -> None:
        values = {"size": 3}
        SettingsReader("service_settings", values, []).read(Example.service_settings)
        assert values == {"size": 3}


class TestShown:
    @pytest.mark.parametrize(
        "name",
        ["api_key", "apiKey", "API-KEY", "secret_parameters", "access_token", "Password", "account_json"],
    )
    @pytest.mark.parametrize("value", [KEY, [KEY], {"a": KEY}])
    def test_keys_under_any_name_are_not(self, name: str, value: Any) -> None:
        for settings in ({name: value}, {"x": {name: value}}, {"x": [{name: value}]}):
            assert KEY not in shown(settings)
            assert "::es_redacted::" in shown(settings)
            assert KEY not in unknown_settings(settings, "example").cause.reason

    def test_all_else_is(self) -> None:
        assert shown({"model": "m"}) == "{model=m}"
        assert shown({"max_tokens": 5}) == "{max_tokens=5}"
        assert shown({"use_key": True}) == "{use_key=true}"
