"""Write `docs/settings.md` from the settings table: `make docs`."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from rerank_proxy.settings import SettingRow, Settings, table

_INTRO: Final = """\
# Settings

<!-- Made by `make docs` from the table in proxy/rerank_proxy/settings/. Change it there. -->

Every setting below can be given in several places. The first of these that has it wins:

1. the command line: `rerank-proxy serve --upstream https://localhost:9200`;
2. the environment: `RERANK_PROXY_UPSTREAM__URL=https://localhost:9200`, with two underscores between the
   parts of a key;
3. the [directory of secrets](#secrets) that `--secrets-dir` or `RERANK_PROXY_SECRETS_DIR` names;
4. the file that `--config` or `RERANK_PROXY_CONFIG` names;
5. the default.

[`rerank-proxy settings`](command-line.md#rerank-proxy-settings) shows the value of each, and its source.

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
  and a line for each, which names the key and where it was given: `rerank-proxy.yaml:3:5: [upstream.ulr]:
  unknown setting, did you mean [upstream.url]?`. `rerank-proxy check` reads the settings, contacts upstream,
  loads the models, and reports on each.
- Addresses are `HOST:PORT`. `0.0.0.0:9201` listens on all interfaces, `[::1]:9201` is IPv6, and port 0 means
  any free port.
- Sizes take a unit: `100MiB`, `64KiB`, `1GB`. A plain number is in bytes. Durations are in seconds.
- `admin`, `upstream`, a model and an endpoint can be given by their most important key alone:
  `upstream: https://localhost:9200`, `minilm: /models/minilm`.
- `models` and `endpoints` are mappings with names of your choice (`NAME` below). On the command line they are
  `--model NAME=SOURCE` and `--endpoint ID=MODEL`. In the environment the whole mapping is JSON:
  `RERANK_PROXY_MODELS='{"minilm": {"source": "/models/minilm"}}'`.
- An endpoint id is served by the model that it maps to and by no other. An id that is neither listed here nor
  created by a client is answered 404, as Elasticsearch answers for an endpoint that does not exist.
- Searches need no credentials here: each request brings its caller's credentials, which go upstream with its
  inner searches. Only a registry in upstream (`registry.store: index`) has an account.
- On SIGHUP (`kill -HUP`) the settings are read again. Those with `yes` under SIGHUP then have their new
  values, and the log names them; it also names those that are changed and take a restart. If anything is
  wrong, the log says what, and nothing changes. The signal also has the
  [models loaded again](model-sources.md), and the files of the proxy's [certificates](tls.md#tls)
  looked at, which happens every few seconds in any case.
- The file is YAML 1.2 of at most 1 MiB. `yes`, `no`, `on` and `off` are true or false for settings that are,
  and text for all others; `010` is ten. What an alias stands for counts at each place, up to 100,000 values.

## Secrets

No secret has an option, because every user of a machine can read command lines, and none is ever shown.
There are four ways to give one, from the one that is recommended to those that are easy to get wrong:

1. A file of its own, which the setting with `_file` names: `registry.api_key_file: /run/secrets/es-api-key`,
   or `RERANK_PROXY_REGISTRY__API_KEY_FILE`. Every secret has such a setting. For secrets in
   `service_settings` it is `api_key_file`, or `{file: PATH}` in their place.
2. A directory of files, as Docker and Kubernetes mount secrets: `--secrets-dir /run/secrets`. Each file is
   named as the variable of a setting, with or without `RERANK_PROXY_`, in either case: `registry__api_key`,
   or `endpoints__my-cohere__service_settings__api_key`. Names that begin with a dot are skipped, and so are
   names without two underscores, which may be there for others; any other name has to be that of a setting.
   No directory is read unless it is named.
3. An environment variable, such as `RERANK_PROXY_REGISTRY__API_KEY`, or `{env: NAME}` in `service_settings`.
   Programs that the process starts see it, and so does everyone who may inspect the container.
4. The settings file itself, if only the proxy may read it.

A file holds one secret of at most 64 KiB in UTF-8. The line ends behind it are not part of it. One that is
missing, empty or cannot be read is a fault, with a line that names the file. `rerank-proxy check` warns of
files that every user of the machine may read; in Kubernetes, `defaultMode: 0440` with an `fsGroup` is
enough.

The files are read when the settings are: at the start and on SIGHUP. After a rotation, send SIGHUP:
endpoints of the settings use their new secrets immediately, and the log names each setting whose new secret
takes a restart. These settings are read more often: `engine.shared_cache.password_file`, for every
connection. `registry.key_file` may hold [several keys](endpoints.md#endpoints-that-clients-create).
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
    if not row.choices:
        return row.description
    return f"{row.description} One of {', '.join(f'`{choice}`' for choice in row.choices)}."


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())
