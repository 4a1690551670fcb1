"""Write `docs/settings.md` from the settings table: `make docs`."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from rerank_proxy.settings import SettingRow, Settings, table

_INTRO: Final = """\
# Settings

<!-- Made by `make docs` from the table in proxy/rerank_proxy/settings/. Change it there. -->

Every setting below can be given in several places. The first of these that has it wins:

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

- Unknown keys, invalid values, and keys or variables that are given twice stop the program with exit code 2
and
  a line for each, which names the key and where it was given. `rerank-proxy check` reads the settings,
  contacts upstream, loads the models, and reports on each.
- Addresses are `HOST:PORT`. `0.0.0.0:9201` listens on all interfaces, `[::1]:9201` is IPv6, and port 0 means
any
  free port.
- Sizes take a unit: `100MiB`, `64KiB`, `1GB`. A plain number is in bytes. Durations are in seconds.
- `admin`, `upstream`, a model and an endpoint can be given by their most important key alone:
  `upstream: https://localhost:9200`, `minilm: /models/minilm`.
- `models` and `endpoints` are mappings with names of your choice (`NAME` below). On the command line they are
  `--model NAME=SOURCE` and `--endpoint ID=MODEL`. In the environment the whole mapping is JSON:
  `RERANK_PROXY_MODELS='{"minilm": {"source": "/models/minilm"}}'`.
- An endpoint id is served by the model that it maps to and by no other. An id that is neither listed here nor
  created by a client is answered 404, as Elasticsearch answers for an endpoint that does not exist.
- Searches need no credentials here: each request brings its caller's credentials, which go upstream with its
inner
  searches. Only a registry in upstream (`registry.store: index`) has an account.
- Secrets have no option, because every user of a machine can read command lines. They are never shown.
- On SIGHUP (`kill -HUP`) the settings are read again. Those with `yes` under SIGHUP then have their new
  values, and the log names them; it also names those that are changed and take a restart. If anything is
  wrong, the log says what, and nothing changes. The signal also has the
  [models loaded again](operations.md#models), and the files of the proxy's [certificates](operations.md#tls)
  looked at, which happens every few seconds in any case.
"""

_GENERAL: Final = "general"
_HEAD: Final = "| Setting | Default | Meaning | SIGHUP |\n| --- | --- | --- | --- |"
_HEAD_WITH_OPTION: Final = (
    "| Setting | Default | Meaning | SIGHUP | Option and variable |\n| --- | --- | --- | --- | --- |"
)


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([_INTRO, *_sections(list(table()))])


def _sections(rows: Iterable[SettingRow]) -> Iterator[str]:
    """Yield a heading and a table for each section, the settings without a section first."""

    def section(row: SettingRow) -> str:
        return row.path[0] if len(row.path) > 1 else _GENERAL

    ordered = sorted(rows, key=lambda row: section(row) != _GENERAL)
    for name, of_section in groupby(ordered, section):
        yield f"## {name}\n"
        if name != _GENERAL:
            yield f"{Settings.model_fields[name].description}\n"
        yield from _table(list(of_section))
        yield ""


def _table(rows: list[SettingRow]) -> Iterator[str]:
    per_entry = rows[0].per_entry
    yield _HEAD if per_entry else _HEAD_WITH_OPTION
    for row in rows:
        cells = [f"`{row.key}`", _default(row), _meaning(row), "yes" if row.reloaded else "no"]
        if not per_entry:
            cells.append("<br>".join(f"`{name}`" for name in (row.option, row.environment) if name))
        escaped = (cell.replace("|", r"\|") for cell in cells)
        yield f"| {' | '.join(escaped)} |"


def _default(row: SettingRow) -> str:
    if row.required:
        return "required"
    return "none" if row.default is None else f"`{row.default_text}`"


def _meaning(row: SettingRow) -> str:
    choices = _choices(row.path)
    if not choices:
        return row.description
    return f"{row.description} One of {', '.join(f'`{choice}`' for choice in choices)}."


def _choices(path: tuple[str, ...]) -> list[str]:
    """Return the values that a setting can take, if it takes one of a few."""
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
