"""What plug-ins are written with: `rerank_proxy.services` and `rerank_proxy.backends`, and nothing else.

What is public changes only on purpose. When the record below no longer fits, either mend the code, or change
the record, the page docs/plug-ins.md and CHANGELOG.md.
"""

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any, Final

import pytest
from pydantic import BaseModel

from rerank_proxy import backends, services
from tests.support.pages import read
from tests.support.project import ROOT

MODULES: Final = (services, backends)
PAGE: Final = ROOT / "docs" / "plug-ins.md"
EXAMPLE: Final = ROOT / "tests" / "support" / "example_plugin" / "rerank_proxy_example"

PRIVATE: Final = {"context"}
"""Not of the surface, though it has no underscore."""

RECORD: Final = """
API_KEY: Setting
MODEL_ID: Setting
RETURN_DOCUMENTS: Setting
TOP_N: Setting
URL: Setting
class Deadline
    __init__(at: float, time: str, limit: str) -> None
    missed(self, what: str) -> str
    of_request(cls, timeout: TimeValue, *, given: bool = True) -> 'Deadline'
    of_setting(cls, name: str, seconds: float) -> 'Deadline'
    or_sooner(self, other: 'Deadline') -> 'Deadline'
class EndpointConfig
    __init__(inference_id: str, service: str, service_settings: Mapping[str, Any], task_settings:
        Mapping[str, Any] = <factory>, secrets: Mapping[str, Any] = <factory>, internal:
        Mapping[str, Any] = <factory>) -> None
    document(self) -> dict[str, Any]
class HttpCall
    __init__(url: str, shown: str, body: bytes, headers: Mapping[str, str], secrets: Sequence[str] =
        ()) -> None
class InferenceFailedError
    body(self) -> dict[str, Any]
    headers(self) -> list[tuple[str, str]]
class MalformedAnswerError
class RankedDoc
    __init__(index: int, relevance_score: float, text: str | None = None) -> None
class Ranker
    check(self, deadline: Deadline) -> None
    close(self) -> None
    model: str
    rank(self, request: RerankRequest, deadline: Deadline) -> Sequence[RankedDoc]
    scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores
    start(self, deadline: Deadline) -> None
class RemoteService
    advice(self, status: int, message: str) -> str | None
    any_task_settings: ClassVar[bool]
    base(self, config: EndpointConfig) -> str
    base_url: ClassVar[str]
    body(self, config: EndpointConfig, request: RerankRequest) -> Any
    call(self, config: EndpointConfig, request: RerankRequest, deadline: Deadline) -> HttpCall
    check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig
    complete(self, config: EndpointConfig, request: RerankRequest) -> RerankRequest
    configurations(self) -> dict[str, Any]
    default_max_documents: ClassVar[int | None]
    fetch_token(self, config: EndpointConfig, request: Callable[[], HttpCall]) -> str
    headers(self, config: EndpointConfig) -> Mapping[str, str]
    hosts: ClassVar[Sequence[str]]
    label: ClassVar[str]
    max_documents(self, config: EndpointConfig) -> int | None
    model(self, config: EndpointConfig) -> str
    name: ClassVar[str]
    open(self, config: EndpointConfig) -> Ranker
    parse(self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str,
        Any]) -> EndpointConfig
    path: ClassVar[str]
    pointwise(self, config: EndpointConfig) -> bool
    ranks: ClassVar[bool]
    read(self, config: EndpointConfig, answer: bytes | bytearray) -> list[RankedDoc]
    requests_per_minute: ClassVar[int | None]
    service_settings: ClassVar[Sequence[Setting]]
    settings_for(self, service_settings: Mapping[str, Any]) -> Sequence[Setting]
    shape: ClassVar[Shape]
    shown(self, config: EndpointConfig, url: str) -> str
    task_settings: ClassVar[Sequence[Setting]]
    token_key(self, config: EndpointConfig) -> str | None
    top_n(self, config: EndpointConfig) -> int | None
    top_n_setting: ClassVar[str | None]
    update(self, config: EndpointConfig, service_settings: Mapping[str, Any], task_settings:
        Mapping[str, Any]) -> EndpointConfig
    url(self, config: EndpointConfig) -> str
    urls(self, config: EndpointConfig) -> Mapping[str, str]
    vendor_hosts(self) -> Sequence[str]
    window_words(self, config: EndpointConfig) -> int
class RerankRequest
    __init__(query: str, texts: Sequence[str], top_n: int | None = None, return_documents: bool |
        None = None, task_settings: Mapping[str, Any] = <factory>) -> None
class Scores
    __init__(values: Sequence[float], remembered: Sequence[bool] = (), cut: Sequence[bool] = ()) ->
        None
class Service
    any_task_settings: ClassVar[bool]
    check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig
    complete(self, config: EndpointConfig, request: RerankRequest) -> RerankRequest
    configurations(self) -> dict[str, Any]
    label: ClassVar[str]
    name: ClassVar[str]
    open(self, config: EndpointConfig) -> Ranker
    parse(self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str,
        Any]) -> EndpointConfig
    requests_per_minute: ClassVar[int | None]
    service_settings: ClassVar[Sequence[Setting]]
    settings_for(self, service_settings: Mapping[str, Any]) -> Sequence[Setting]
    task_settings: ClassVar[Sequence[Setting]]
    top_n(self, config: EndpointConfig) -> int | None
    top_n_setting: ClassVar[str | None]
    update(self, config: EndpointConfig, service_settings: Mapping[str, Any], task_settings:
        Mapping[str, Any]) -> EndpointConfig
    window_words(self, config: EndpointConfig) -> int
class Setting
    __init__(*, name: str, kind: SettingKind = SettingKind.STRING, label: str = '', description: str
        = '', required: bool = False, secret: bool = False, updatable: bool = False, default: Any =
        None, choices: Sequence[str] = (), dropped: bool = False, check: Callable[[Any], str | None]
        | None = None) -> None
SettingKind: STRING, URL, POSITIVE_INT, BOOLEAN, MAP, LIST
class Shape
    __init__(rows: str = 'results', index: str = 'index', score: tuple[str, ...] =
        ('relevance_score',), text: str | None = 'document') -> None
    read(self, answer: bytes | bytearray) -> list[RankedDoc]
def bearer(token: str) -> dict[str, str]
def digest(*parts: Any) -> str
def form_call(url: str, fields: Mapping[str, str]) -> HttpCall
def json_call(url: str, body: Any, headers: Mapping[str, str], secrets: Sequence[str] = ()) ->
    HttpCall
def status_error(status: int, reason: str, caused_by: Cause | None = None) -> InferenceFailedError
class EngineSettings
    device
    precision
    threads
    workers
    budget_tokens
    queue_tokens
    queue_bytes
    queue_share
    text_characters
    cache_bytes
    cache_scope
    shared_cache
    idle_unload_s
    model_memory
    max_batch_s
    max_load_s
    artifacts_dir
    offline
class ModelLoadError
class ModelSettings
    source
    revision
    package
    backend
    preload
    max_length
    truncation
    windows
    window_overlap
    max_windows
    activation
    truncate_dim
    template
    instruction
    cutoff_layer
    trust_remote_code
class Plugin
    load(self, directory: Path, settings: ModelSettings, engine: EngineSettings) -> PluginModel
class PluginModel
    score(self, query: str, texts: Sequence[str]) -> Sequence[float]
"""


def described(name: str, value: Any) -> str:
    """Return a public name with what users of it rely on: its members and their signatures."""
    if isinstance(value, enum.EnumType):
        return f"{name}: {', '.join(value.__members__)}"
    if inspect.isclass(value):
        return "\n".join([f"class {name}", *(_wrapped(member, "    ") for member in _members(value))])
    if inspect.isfunction(value):
        return _wrapped(f"def {name}{_signature(value)}")
    return f"{name}: {type(value).__name__}"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent + "    ")


def _members(class_: type) -> Iterator[str]:
    if issubclass(class_, BaseModel):
        yield from class_.model_fields
        return
    found: dict[str, str] = {}
    if is_dataclass(class_):
        found["__init__"] = f"__init__{_signature(class_)}"
    for each in reversed(class_.__mro__):
        if each.__module__.startswith("rerank_proxy"):
            found |= _own_members(each)
    yield from (found[name] for name in sorted(found))


def _own_members(class_: type) -> dict[str, str]:
    attributes = {} if is_dataclass(class_) else inspect.get_annotations(class_)
    members = {
        name: f"{name}: {_plain(inspect.formatannotation(type_))}" for name, type_ in attributes.items()
    }
    for name, value in vars(class_).items():
        function = getattr(value, "__func__", value)
        if inspect.isfunction(function):
            members[name] = name + _signature(function)
    return {name: text for name, text in members.items() if not name.startswith("_") and name not in PRIVATE}


def _signature(function: Any) -> str:
    return _plain(str(inspect.signature(function)))


def _plain(text: str) -> str:
    """Return a text with the names of types alone, whatever modules they are from."""
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)
    return re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_each_name_is_there(module: ModuleType) -> None:
    assert module.__doc__
    for name in module.__all__:
        assert hasattr(module, name)


def test_the_surface_is_as_it_is_recorded() -> None:
    now = [described(name, getattr(module, name)) for module in MODULES for name in module.__all__]
    assert "\n".join(now) == RECORD.strip()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_page_explains_each_name_in_a_line(module: ModuleType) -> None:
    (table,) = re.findall(
        rf"^\| `{module.__name__}` \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", read(PAGE), re.MULTILINE
    )
    rows = [re.fullmatch(r"\| `(\w+)` \| (\S.*) \|", line) for line in table.splitlines()]
    assert None not in rows
    assert [row[1] for row in rows if row] == module.__all__


@pytest.mark.parametrize("file", sorted(EXAMPLE.glob("*.py")), ids=lambda file: file.name)
def test_the_example_needs_nothing_else(file: Any) -> None:
    public = {module.__name__ for module in MODULES}
    for node in ast.walk(ast.parse(read(file))):
        imported = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in imported:
            assert not name.startswith("rerank_proxy") or name in public, name


def test_the_steps_to_add_a_service_name_files_that_exist() -> None:
    steps = read(PAGE).partition("## Add a service to this project")[2]
    named = re.findall(r"`((?:proxy|tests)/[\w./]+)`", steps)
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).exists()] == []
