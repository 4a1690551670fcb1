"""Writes a report: `report.html`, `report.md`, `report.json`, and each plot as a file for other pages."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.files import write


def write_report(evaluation: Evaluation, document: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write the report in all forms, and return the files.

    Args:
        document: The report as plain values, as `document_of` makes it.

    Raises:
        RelevanceError: One cannot be written.
    """
    from rerank_proxy.relevance.report.markdown import markdown_of
    from rerank_proxy.relevance.report.page import page_of
    from rerank_proxy.relevance.report.plots import plots_of

    plots = plots_of(evaluation.results)
    made = {
        "report.html": page_of(evaluation, document, plots),
        "report.md": markdown_of(evaluation, document),
        "report.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n",
    }
    made |= {f"{each.name}.svg": each.svg for each in plots}
    for name, text in made.items():
        write(directory / name, text.encode("utf-8", "backslashreplace"))
    return [directory / name for name in made]
