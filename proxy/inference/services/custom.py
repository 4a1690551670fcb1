"""`custom`: any reranker over HTTP, described by the endpoint itself (``CustomService``)."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Final

from yarl import URL

from proxy.inference.configuration import EndpointConfig
from proxy.inference.failures import status_error
from proxy.inference.ranking import RankedDoc
from proxy.inference.remote import HttpCall, MalformedAnswerError, RemoteCall, RemoteService
from proxy.inference.remote.shapes import as_index, as_score, as_text
from proxy.inference.services.custom_templates import (
    TemplateError,
    extract,
    fill_json,
    fill_text,
    path_problem,
    placeholders,
)
from proxy.inference.settings_table import Kind, Setting

_SECRETS: Final = "secret_parameters"
_PARAMETERS: Final = "parameters"
_OF_REQUESTS: Final = frozenset({"input", "query", "top_n", "return_documents"})
_SCORE, _INDEX, _TEXT = "relevance_score", "reranked_index", "document_text"


class CustomService(RemoteService):
    """Templates hold `${name}`: `input`, `query`, `top_n` and `return_documents` of the request, secrets, and
    the task's parameters. In `request` they stand for JSON, without quotes around them; in `url`, `headers`
    and `query_parameters` for text (``CustomRequest``).
    """

    name = "custom"
    label = "Custom"
    requests_per_minute = 10_000
    ranks = False
    top_n_setting = None
    service_settings: ClassVar[Sequence[Setting]] = (
        Setting(
            name=_SECRETS,
            kind=Kind.MAP,
            label="Secret Parameters",
            description="Values for templates that are never shown.",
            secret=True,
            updatable=True,
        ),
        Setting(name="url", label="URL", description="The address of the whole call.", required=True),
        Setting(name="headers", kind=Kind.MAP, label="Headers", description="Headers of the call."),
        Setting(
            name="query_parameters",
            kind=Kind.LIST,
            label="Query Parameters",
            description="Pairs of name and value that are added to the URL.",
        ),
        Setting(
            name="request", label="Request", description="The template of the request's body.", required=True
        ),
        Setting(
            name="response",
            kind=Kind.MAP,
            label="Response",
            description="Where the scores are in an answer.",
            required=True,
        ),
        Setting(
            name="batch_size",
            kind=Kind.POSITIVE_INT,
            label="Batch Size",
            description="The most texts in one call.",
        ),
        Setting(name="input_type", kind=Kind.MAP, dropped=True),
    )
    task_settings: ClassVar[Sequence[Setting]] = (Setting(name=_PARAMETERS, kind=Kind.MAP),)

    def parse(
        self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str, Any]
    ) -> EndpointConfig:
        """Early versions had `request: {content: …}`."""
        request = service_settings.get("request")
        if isinstance(request, Mapping) and set(request) == {"content"}:
            service_settings = {**service_settings, "request": request["content"]}
        return super().parse(inference_id, service_settings, task_settings)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        if not faults:
            _check(config, faults)
        return super().check_settings(config, faults)

    def url(self, config: EndpointConfig) -> str:
        texts = _texts(config, config.task_settings)
        url = URL(fill_text(config.service_settings["url"], texts, "url"))
        pairs = [
            (name, fill_text(value, texts, f"query parameters: [{name}]"))
            for name, value in config.service_settings.get("query_parameters", ())
        ]
        return str(url.extend_query(pairs))

    def max_documents(self, config: EndpointConfig) -> int | None:
        limit: int | None = config.service_settings.get("batch_size")
        return super().max_documents(config) if limit is None else limit

    def body(self, config: EndpointConfig, call: RemoteCall) -> bytes:
        """What the template gives: the only body that is not built here."""
        values = {
            **config.secrets.get(_SECRETS, {}),
            **call.task_settings.get(_PARAMETERS, {}),
            "input": call.texts,
            "query": call.query,
            "top_n": len(call.texts) if call.top_n is None else call.top_n,
            "return_documents": bool(call.return_documents),
        }
        return fill_json(config.service_settings["request"], values, "request").encode()

    async def call(self, config: EndpointConfig, call: RemoteCall, deadline: float) -> HttpCall:
        try:
            asked = replace(config, task_settings=call.task_settings)
            texts = _texts(asked, call.task_settings)
            headers = {
                name: fill_text(value, texts, f"header.{name}")
                for name, value in config.service_settings.get("headers", {}).items()
            }
            return HttpCall(
                self.url(asked), self.body(config, call), {"Content-Type": "application/json", **headers}
            )
        except TemplateError as problem:
            raise status_error(400, str(problem)) from None

    def read(self, config: EndpointConfig, answer: Any) -> list[RankedDoc]:
        parser = config.service_settings["response"]["json_parser"]
        found = {name: _column(answer, path) for name, path in parser.items() if name != _TEXT}
        with suppress(MalformedAnswerError):  # servers leave documents out that were not asked for
            found |= {_TEXT: _column(answer, parser[_TEXT])} if _TEXT in parser else {}
        scores = found[_SCORE]
        if any(len(column) != len(scores) for column in found.values()):
            raise MalformedAnswerError(
                "the paths of [json_parser] lead to lists of different lengths: "
                + ", ".join(f"[{name}] {len(column)}" for name, column in found.items())
            )
        indices = found.get(_INDEX, range(len(scores)))
        texts = found.get(_TEXT, [None] * len(scores))
        return [
            RankedDoc(
                as_index(index, f"[{_INDEX}] of result [{number}]"),
                as_score(score, f"[{_SCORE}] of result [{number}]"),
                as_text(text),
            )
            for number, (index, score, text) in enumerate(zip(indices, scores, texts, strict=True))
        ]


def _column(answer: Any, path: str) -> list[Any]:
    column = extract(answer, path)
    if not isinstance(column, list):
        raise MalformedAnswerError(f"[{path}] does not lead to a list")
    return column


def _texts(config: EndpointConfig, task_settings: Mapping[str, Any]) -> dict[str, str]:
    """What may stand in headers and URLs: only texts."""
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
        try:
            URL(fill_text(settings["url"], _texts(config, config.task_settings), "url"))
        except ValueError:
            faults.append("[service_settings] Invalid url received for field [url]. Error: this is not a URL")


def _check_texts(settings: Mapping[str, Any], faults: list[str]) -> None:
    for name, value in settings.get("headers", {}).items():
        if not isinstance(value, str):
            faults.append(f"Map field [headers] has an entry that is not valid, [{name}] must be a text")
        elif not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            faults.append(f"Map field [headers] has an entry that is not valid, [{name}] is no header's name")
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
    """A parameter that only requests give would fail the call that tries the endpoint; so it is said here."""
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
        faults.extend(str(TemplateError(name, field)) for name in unknown)
