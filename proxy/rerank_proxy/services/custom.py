"""`custom`: any reranker over HTTP, described by the endpoint itself (``CustomService``)."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Final

import msgspec

from rerank_proxy.inference.remote.addresses import HostNotAllowedError, parsed
from rerank_proxy.inference.remote.headers import (
    HeaderNotAllowedError,
    check_headers,
    check_name,
    check_value,
    excerpt,
)
from rerank_proxy.inference.remote.shapes import as_index, as_score, as_text
from rerank_proxy.services import (
    Deadline,
    EndpointConfig,
    HttpCall,
    MalformedAnswerError,
    RankedDoc,
    RemoteService,
    RerankRequest,
    Setting,
    SettingKind,
    status_error,
)
from rerank_proxy.services.custom_answers import numbers, path_problem, texts
from rerank_proxy.services.custom_templates import (
    TemplateError,
    fill_json,
    fill_text,
    placeholders,
    unknown_placeholder,
)

_SECRETS: Final = "secret_parameters"
_PARAMETERS: Final = "parameters"
_OF_REQUESTS: Final = frozenset({"input", "query", "top_n", "return_documents"})
_SCORE, _INDEX, _TEXT = "relevance_score", "reranked_index", "document_text"


class CustomService(RemoteService):
    """Templates have placeholders `${name}` for `input`, `query`, `top_n` and `return_documents` of the
    request, for secrets, and for the task's parameters. In `request` they stand for JSON, without quotes
    around them; in `url`, `headers` and `query_parameters` for text (``CustomRequest``).
    """

    name = "custom"
    label = "Custom"
    requests_per_minute = 10_000
    ranks = False
    top_n_setting = None
    service_settings: ClassVar[Sequence[Setting]] = (
        Setting(
            name=_SECRETS,
            kind=SettingKind.MAP,
            label="Secret Parameters",
            description="Values for templates that are never shown.",
            secret=True,
            updatable=True,
        ),
        Setting(name="url", label="URL", description="The address of the whole call.", required=True),
        Setting(name="headers", kind=SettingKind.MAP, label="Headers", description="Headers of the call."),
        Setting(
            name="query_parameters",
            kind=SettingKind.LIST,
            label="Query Parameters",
            description="Pairs of name and value that are added to the URL.",
        ),
        Setting(
            name="request", label="Request", description="The template of the request's body.", required=True
        ),
        Setting(
            name="response",
            kind=SettingKind.MAP,
            label="Response",
            description="Where the scores are in an answer.",
            required=True,
        ),
        Setting(
            name="batch_size",
            kind=SettingKind.POSITIVE_INT,
            label="Batch Size",
            description="The most texts in one call.",
        ),
        Setting(name="input_type", kind=SettingKind.MAP, dropped=True),
    )
    task_settings: ClassVar[Sequence[Setting]] = (Setting(name=_PARAMETERS, kind=SettingKind.MAP),)

    def parse(
        self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str, Any]
    ) -> EndpointConfig:
        """Read a configuration, also with the `request: {content: …}` of early versions."""
        request = service_settings.get("request")
        if isinstance(request, Mapping) and set(request) == {"content"}:
            service_settings = {**service_settings, "request": request["content"]}
        return super().parse(inference_id, service_settings, task_settings)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        if not faults:
            _check(config, faults)
        return super().check_settings(config, faults)

    def url(self, config: EndpointConfig) -> str:
        """Return the URL to call.

        Raises:
            TemplateError: A placeholder has no value.
            HostNotAllowedError: It is not a URL.
        """
        known = _texts(config, config.task_settings)
        url = parsed(fill_text(config.service_settings["url"], known, "url"))
        pairs = [
            (name, fill_text(value, known, f"query parameters: [{name}]"))
            for name, value in config.service_settings.get("query_parameters", ())
        ]
        return str(url.extend_query(pairs))

    def shown(self, config: EndpointConfig, url: str) -> str:
        """Return the template: the values that fill it may be secret."""
        return str(config.service_settings["url"])

    def max_documents(self, config: EndpointConfig) -> int | None:
        limit: int | None = config.service_settings.get("batch_size")
        return super().max_documents(config) if limit is None else limit

    def body(self, config: EndpointConfig, request: RerankRequest) -> bytes:
        """Return the filled template, which need not be what `json_call` would send."""
        values = {
            **config.secrets.get(_SECRETS, {}),
            **request.task_settings.get(_PARAMETERS, {}),
            "input": request.texts,
            "query": request.query,
            "top_n": len(request.texts) if request.top_n is None else request.top_n,
            "return_documents": bool(request.return_documents),
        }
        return fill_json(config.service_settings["request"], values, "request").encode()

    async def call(self, config: EndpointConfig, request: RerankRequest, deadline: Deadline) -> HttpCall:
        asked = replace(config, task_settings=request.task_settings)
        try:
            url = self.url(asked)
            if asked != config and parsed(url).origin() != parsed(self.url(config)).origin():
                raise TemplateError("a request must not change whom the endpoint calls")
            headers = _headers(config, _texts(asked, request.task_settings))
            return HttpCall(url, self.shown(config, url), self.body(config, request), headers)
        except (TemplateError, HostNotAllowedError) as problem:
            raise status_error(400, str(problem)) from None

    def read(self, config: EndpointConfig, answer: bytes | bytearray) -> list[RankedDoc]:
        parser = config.service_settings["response"]["json_parser"]
        found = {name: numbers(answer, path) for name, path in parser.items() if name != _TEXT}
        scores = found[_SCORE]
        indices = found[_INDEX] if _INDEX in found else [float(number) for number in range(len(scores))]
        documents = _documents(answer, parser.get(_TEXT), len(scores))
        if not len(scores) == len(indices) == len(documents):
            raise MalformedAnswerError(
                "the paths of [json_parser] lead to lists of different lengths: "
                f"[{_SCORE}] {len(scores)}, [{_INDEX}] {len(indices)}, [{_TEXT}] {len(documents)}"
            )
        return [
            RankedDoc(
                as_index(index, f"[{_INDEX}] of result [{number}]"),
                as_score(score, f"[{_SCORE}] of result [{number}]"),
                None if document is None else as_text(document),
            )
            for number, (index, score, document) in enumerate(zip(indices, scores, documents, strict=True))
        ]


def _documents(answer: bytes | bytearray, path: str | None, size: int) -> Sequence[msgspec.Raw | None]:
    """Return the texts, and None for each where there are none: servers leave out what was not asked for."""
    if path is not None:
        with suppress(MalformedAnswerError):
            return texts(answer, path)
    return [None] * size


def _headers(config: EndpointConfig, known: Mapping[str, str]) -> dict[str, str]:
    headers = {
        name: fill_text(value, known, f"header.{name}")
        for name, value in config.service_settings.get("headers", {}).items()
    }
    has_type = any(name.lower() == "content-type" for name in headers)
    return headers if has_type else {"Content-Type": "application/json", **headers}


def _texts(config: EndpointConfig, task_settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that headers and URLs may have: only texts."""
    values = {**config.secrets.get(_SECRETS, {}), **task_settings.get(_PARAMETERS, {})}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _check(config: EndpointConfig, faults: list[str]) -> None:
    settings = config.service_settings
    _check_texts(settings, faults)
    _check_response(settings["response"], faults)
    if faults:
        return
    _check_placeholders(config, faults)
    if not faults:
        _check_filled(config, faults)


def _check_filled(config: EndpointConfig, faults: list[str]) -> None:
    known = _texts(config, config.task_settings)
    try:
        parsed(fill_text(config.service_settings["url"], known, "url"))
        check_headers(_headers(config, known).items())
    except HostNotAllowedError as problem:
        faults.append(f"[service_settings] Invalid url received for field [url]. Error: {problem}")
    except HeaderNotAllowedError as problem:
        faults.append(f"Map field [headers] has an entry that is not valid, {problem}")
    except TemplateError as problem:
        faults.append(str(problem))


def _check_texts(settings: Mapping[str, Any], faults: list[str]) -> None:
    for name, value in settings.get("headers", {}).items():
        if not isinstance(value, str):
            shown = excerpt(name)
            faults.append(f"Map field [headers] has an entry that is not valid, [{shown}] must be a text")
            continue
        try:
            check_name(name)
            check_value(name, value)
        except HeaderNotAllowedError as problem:
            faults.append(f"Map field [headers] has an entry that is not valid, {problem}")
    for pair in settings.get("query_parameters", ()):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
            faults.append("[service_settings] failed to parse tuple list for setting [query_parameters]")
            return


def _check_response(response: Mapping[str, Any], faults: list[str]) -> None:
    unknown = sorted(set(response) - {"json_parser"})
    parser = response.get("json_parser")
    if not isinstance(parser, Mapping):
        faults.append("[service_settings.response] does not contain the required setting [json_parser]")
        return
    if _SCORE not in parser:
        faults.append(f"[json_parser] does not contain the required setting [{_SCORE}]")
    unknown += sorted(set(parser) - {_SCORE, _INDEX, _TEXT})
    faults.extend(f"[service_settings.response] unknown setting [{name}]" for name in unknown)
    for name, path in parser.items():
        problem = path_problem(path)
        if problem is not None and name not in unknown:
            faults.append(f"[json_parser] Invalid value of [{name}]: {problem}")


def _check_placeholders(config: EndpointConfig, faults: list[str]) -> None:
    """Refuse placeholders without a value, which would fail the call that tries the endpoint."""
    settings = config.service_settings
    given = {*config.secrets.get(_SECRETS, {}), *config.task_settings.get(_PARAMETERS, {})}
    texts = set(_texts(config, config.task_settings))
    fields = [("request", settings["request"], given | _OF_REQUESTS), ("url", settings["url"], texts)]
    fields += [(f"header.{name}", value, texts) for name, value in settings.get("headers", {}).items()]
    fields += [
        (f"query parameters: [{name}]", value, texts) for name, value in settings.get("query_parameters", ())
    ]
    for field, template, known in fields:
        unknown = [name for name in placeholders(template) if name not in known]
        faults.extend(str(unknown_placeholder(name, field)) for name in unknown)
