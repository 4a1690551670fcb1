"""Write `docs/settings.md` from the settings table: `make docs`."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from rerank_proxy.settings import Setting, Settings, table

_INTRO: Final = """\
# Settings

<!-- Made by `make docs` from the table in proxy/rerank_proxy/settings/sections.py. Change it there. -->

Every setting below can be given in four places. The first that has it wins:

1. the command line: `rerank-proxy serve --upstream https://localhost:9200`;
2. the environment: `RERANK_PROXY_UPSTREAM__URL=https://localhost:9200`, with two underscores between the
   parts of a key;
3. the file that `--config` or `RERANK_PROXY_CONFIG` names;
4. the default.

A file nests the keys at their dots:

```yaml
listen: 127.0.0.1:9201
upstream:
  url: https://localhost:9200
  ca_certs: /etc/elasticsearch/certs/http_ca.crt
models:
  minilm: {source: /models/ms-marco-MiniLM-L-6-v2}
endpoints:
  .rerank-v1-elasticsearch: {model: minilm}
```

[config/rerank-proxy.yaml](../config/rerank-proxy.yaml) holds every setting, with comments.

- Unknown keys, bad values, and keys or variables that are given twice stop the program with exit code 2 and a
  line for each, which names the key and where it was given. `rerank-proxy check` reads the settings, reaches
  upstream, loads the models and says how each went.
- Addresses are `HOST:PORT`. `0.0.0.0:9201` listens on all interfaces, `[::1]:9201` is IPv6, and port 0 takes
  a free one.
- Sizes take a unit: `100MiB`, `64KiB`, `1GB`. A number alone is bytes. Durations are in seconds.
- `admin`, `upstream`, a model and an endpoint can be given by their most important key alone:
  `upstream: https://localhost:9200`, `minilm: /models/minilm`.
- `models` and `endpoints` are mappings with names of your choice (`NAME` below). On the command line they are
  `--model NAME=SOURCE` and `--endpoint ID=MODEL`. In the environment the whole mapping is JSON:
  `RERANK_PROXY_MODELS='{"minilm": {"source": "/models/minilm"}}'`.
- An endpoint id is served by the model that it maps to and by no other. An id that is neither listed
  nor made by a client is answered 404, as Elasticsearch answers for an endpoint that does not exist.
- Searches and their inner searches need no credentials here: every request carries its caller's own to
  upstream. Only a registry in upstream (`registry.store: index`) has an account of its own.
- Secrets have no option, since command lines can be read by every user of a machine, and are shown nowhere.
"""

_GENERAL: Final = "general"
_HEAD: Final = "| Setting | Default | Meaning |\n| --- | --- | --- |"
_HEAD_WITH_OPTION: Final = "| Setting | Default | Meaning | Option and variable |\n| --- | --- | --- | --- |"


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_INTRO, *_sections(list(table()))])


def _sections(settings: Iterable[Setting]) -> Iterator[str]:
    """A heading and a table for each section, the settings without a section first."""

    def section(setting: Setting) -> str:
        return setting.path[0] if len(setting.path) > 1 else _GENERAL

    ordered = sorted(settings, key=lambda setting: section(setting) != _GENERAL)
    for name, rows in groupby(ordered, section):
        yield f"## {name}\n"
        if name != _GENERAL:
            yield f"{Settings.model_fields[name].description}\n"
        yield from _table(list(rows))
        yield ""


def _table(settings: list[Setting]) -> Iterator[str]:
    per_entry = settings[0].per_entry
    yield _HEAD if per_entry else _HEAD_WITH_OPTION
    for setting in settings:
        cells = [f"`{setting.key}`", _default(setting), _meaning(setting)]
        if not per_entry:
            cells.append("<br>".join(f"`{name}`" for name in (setting.option, setting.environment) if name))
        escaped = (cell.replace("|", r"\|") for cell in cells)
        yield f"| {' | '.join(escaped)} |"


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    return "none" if setting.default is None else f"`{setting.default_text}`"


def _meaning(setting: Setting) -> str:
    choices = _choices(setting.path)
    if not choices:
        return setting.description
    return f"{setting.description} One of {', '.join(f'`{choice}`' for choice in choices)}."


def _choices(path: tuple[str, ...]) -> list[str]:
    """The values that a setting can take, when it takes one of few."""
    schema = Settings.model_json_schema()
    node: Mapping[str, Any] = schema
    for name in path:
        properties = node.get("properties")
        node = properties[name] if properties else node["additionalProperties"]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    choices: list[str] = node.get("enum", [])
    return choices


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())
