"""Makes the dashboard for Grafana, of the panels in `panels.py`. `make docs` writes it to `dashboard.json`.

A row of the dashboard is a title and panels; ids and places follow from their order.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final

from deploy.monitoring.panels import ROWS, Kind, Panel

COLUMNS: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's form."""
    return {
        "uid": "rerank-proxy",
        "title": "rerank-proxy",
        "description": "All proxies of a job: requests, searches, models, Elasticsearch and processes.",
        "tags": ["elasticsearch", "rerank-proxy"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_source(), _variable("job", ""), _variable("instance", 'job=~"$job"')]},
        "panels": list(_placed()),
    }


def _source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }


def _variable(name: str, matcher: str) -> dict[str, Any]:
    query = f"label_values(rerank_proxy_edge_processes{{{matcher}}}, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Yield rows and panels from left to right and from top to bottom."""
    ids, y = count(1), 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {
            "id": next(ids),
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        x, y = 0, y + 1
        height = 4 if all(panel.kind == "stat" for panel in panels) else 8
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            yield {"id": next(ids), "gridPos": place, **_panel(panel)}
            x += panel.width
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    shown = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [_query(panel, *query, number) for number, query in enumerate(panel.queries.items())],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True}
        shown["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return shown


_OPTIONS: Final[Mapping[Kind, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"},
    "table": {"showHeader": True},
    "state-timeline": {"mergeValues": True, "showValue": "auto", "legend": {"showLegend": False}},
}


def _query(panel: Panel, expression: str, legend: str, number: int) -> dict[str, Any]:
    query: dict[str, Any] = {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": expression,
        "legendFormat": legend,
        "range": panel.kind != "table",
        "instant": panel.kind == "table",
        "exemplar": "_bucket" in expression,
    }
    return query | {"format": "table"} if panel.kind == "table" else query


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.thresholds is not None:
        warn, alarm = panel.thresholds
        steps += [{"color": "orange", "value": warn}, {"color": "red", "value": alarm}]
    options = {value: {"text": text, "color": color} for value, (text, color) in panel.names.items()}
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [{"type": "value", "options": options}] if options else [],
    }
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.fill else "none", "group": "A"}
        fill = 25 if panel.fill else 5
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": fill,
            "showPoints": "never",
            "stacking": stacking,
        }
    if panel.unit == "percentunit":
        defaults["max"] = 1
    return defaults


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
