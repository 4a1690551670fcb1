"""An Elasticsearch that can render search templates: the minimal distribution lacks the module for it.

Everything but `_render/template` goes to the real one.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pystache
from aiohttp import web

from tests.support.relay import relay

_renderer = pystache.Renderer(escape=lambda text: json.dumps(text)[1:-1])


@dataclass
class Templates:
    """Attributes:
    stored: Sources of stored templates, by id.
    rendered: The body of each request to render.
    """

    url: str = ""
    stored: dict[str, str] = field(default_factory=dict)
    rendered: list[bytes] = field(default_factory=list)

    async def render(self, request: web.Request) -> web.Response:
        """Render as the API is published: `source` or `id`, and `params`."""
        body = await request.read()
        self.rendered.append(body)
        try:
            template = json.loads(body)
        except ValueError:
            return _error(400, "x_content_parse_exception", "[1:1] not a template")
        if unknown := template.keys() - {"id", "source", "params", "explain", "profile"}:
            return _error(
                400, "x_content_parse_exception", f"[1:1] [search_template] unknown field {sorted(unknown)}"
            )
        source = self.stored.get(template["id"]) if "id" in template else template["source"]
        if source is None:
            reason = f"unable to find script [{template['id']}] in cluster state"
            return _error(404, "resource_not_found_exception", reason)
        if not isinstance(source, str):
            source = json.dumps(source)
        output = _renderer.render(source, _with_json(template.get("params", {})))
        return web.Response(body=b'{"template_output":' + output.encode() + b"}", headers=_HEADERS)


_HEADERS = {"X-elastic-product": "Elasticsearch", "content-type": "application/json"}


def _error(status: int, type_: str, reason: str) -> web.Response:
    cause = {"type": type_, "reason": reason}
    body = {"error": {"root_cause": [cause], **cause}, "status": status}
    return web.Response(status=status, body=json.dumps(body).encode(), headers=_HEADERS)


def _with_json(params: Mapping[str, Any]) -> dict[str, Any]:
    return {**params, "toJson": lambda name: "{{{" + "json_" + name + "}}}"} | {
        f"json_{name}": json.dumps(value) for name, value in params.items()
    }


@asynccontextmanager
async def with_templates(url: str) -> AsyncIterator[Templates]:
    """Serve in front of the Elasticsearch at `url`."""
    templates = Templates()
    async with relay(url, {("POST", "/_render/template"): templates.render}) as address:
        templates.url = address
        yield templates
