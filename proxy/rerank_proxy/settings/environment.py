"""Read settings from the environment: `RERANK_PROXY_SECTION__KEY`; a mapping such as `models` is JSON."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from rerank_proxy.settings.guesses import RENAMED, hint
from rerank_proxy.settings.named_values import (
    CONFIG_VARIABLE,
    SECRETS_DIR_VARIABLE,
    NamedValues,
    is_known,
    key_of,
    known_keys,
    variable_of,
)
from rerank_proxy.settings.rows import ENV_PREFIX

_KUBERNETES_SERVICE: Final = re.compile(
    ENV_PREFIX + r"([A-Z0-9]+_)*?(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""Variables that Kubernetes sets in every pod for a Service named `rerank-proxy` or `rerank-proxy-…`, which
are not settings."""
_OF_SOURCES: Final = (CONFIG_VARIABLE, SECRETS_DIR_VARIABLE)
"""Variables that say where further settings are."""


def read_environment(environ: Mapping[str, str]) -> NamedValues:
    """Read the variables that begin with `RERANK_PROXY_`."""
    read = NamedValues()
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in _OF_SOURCES:
            continue
        if _KUBERNETES_SERVICE.match(f"{name}={text}"):
            continue
        key = key_of(name.removeprefix(ENV_PREFIX))
        if is_known(key):
            read.take(name, key, partial(str, text))
        else:
            read.refuse(name, "unknown variable", partial(_hint, name, key))
    return read


def _hint(name: str, key: Sequence[str]) -> str:
    renamed = RENAMED.get(".".join(key))
    if renamed is not None:
        return f", did you mean {variable_of(tuple(renamed.split('.')))}?"
    return hint(name, [*_OF_SOURCES, *map(variable_of, known_keys())])
