"""Run the command `export`."""

from pathlib import Path

from rerank_proxy.cli.options import CommandError
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.observe.log_lines import flattened
from rerank_proxy.settings import Settings


def export_model(settings: Settings, model: str, out: Path | None) -> Path:
    """Make the ONNX file of a model: a directory, a hub id, or the name of a model of the settings.

    Raises:
        CommandError: It cannot be made.
    """
    # Imported here: torch and transformers take seconds.
    from rerank_proxy.engine.loading.export import export

    source = settings.models[model].source if model in settings.models else model
    try:
        return export(source, out, offline=settings.engine.offline)
    except ModelLoadError as error:
        raise CommandError(flattened(str(error))) from error
