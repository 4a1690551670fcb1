"""How a model's pairs are formatted, and how the output of one that generates is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.reading.chat_template import Messages, names_pairs
from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.modules import LOGIT_SCORE, HeadModule
from rerank_proxy.engine.loading.reading.templates import TEMPLATES, by_name
from rerank_proxy.engine.loading.reading.transformer_config import TransformerConfig
from rerank_proxy.settings import ModelSettings
from rerank_proxy.settings.sections.models import PublishedTemplate

_MAX_TEMPLATE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Decision:
    """The tokens whose logits at the end of a prompt are the score: ids, or words that are one token each."""

    yes: int | str
    no: int | str | None
    """Its logit is subtracted, if there is one."""
    layers: bool = False
    """The score is that of a head of one layer, and not a token's logit."""


class _LogitScore(msgspec.Struct):
    """The config of a LogitScore."""

    true_token_id: int
    false_token_id: int | None = None
    module_input_name: str = "causal_logits"


class _TokenizerSettings(msgspec.Struct):
    """tokenizer_config.json, as far as it matters here."""

    chat_template: Any = None


@dataclass(frozen=True, slots=True)
class PairFormat:
    """What is known of the format of a model's pairs."""

    template: PublishedTemplate | None
    messages: Messages | None
    says_pairs: bool
    """The chat template is one of a reranker."""

    @classmethod
    def of(
        cls,
        directory: Path,
        transformer: Path,
        how: TransformerConfig,
        settings: ModelSettings,
        architecture: str,
        *,
        saved: bool,
    ) -> "PairFormat":
        """Find the format: by the settings, else by the checkpoint's files, else by its name.

        A chat template counts where the files of sentence-transformers say so. Where there are none,
        sentence-transformers takes one that it finds.

        Args:
            saved: The checkpoint was saved by sentence-transformers.
        """
        if settings.template is not None:
            return cls(settings.template, None, says_pairs=False)
        if saved:
            return cls(None, how.messages, says_pairs=how.messages is not None)
        templates = _chat_templates(transformer)
        if any(map(names_pairs, templates)):
            return cls(None, Messages(), says_pairs=True)
        named = by_name(settings.source, architecture) or by_name(str(directory), architecture)
        return cls(named, Messages() if templates and named is None else None, says_pairs=False)


def read_decision(
    head: tuple[HeadModule, ...], how: TransformerConfig, formats: PairFormat, architecture: str
) -> Decision | None:
    """Return how the output of a model that generates is read; None for all others."""
    if [module.name for module in head] == [LOGIT_SCORE]:
        return _saved_decision(head[0], how)
    if head or not _generates(architecture):
        return None
    if formats.template is not None:
        template = TEMPLATES[formats.template]
        return Decision(template.yes, template.no, template.layers)
    # What sentence-transformers assumes of a model that generates.
    return Decision("yes", "no") if formats.says_pairs else None


def _saved_decision(module: HeadModule, how: TransformerConfig) -> Decision:
    path = module.directory / "config.json"
    try:
        config = msgspec.convert(module.config, _LogitScore)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error}); {COPY_AGAIN}") from error
    if how.task != "text-generation" or config.module_input_name != "causal_logits":
        raise ModelLoadError(
            f"[{path}] reads [{config.module_input_name}] of a transformer for [{how.task}], which is not "
            "supported; it is [causal_logits] for [text-generation]"
        )
    return Decision(config.true_token_id, config.false_token_id)


def _generates(architecture: str) -> bool:
    return architecture.endswith("ForCausalLM")


def _chat_templates(directory: Path) -> list[str]:
    """Return the sources of the chat templates of a checkpoint's tokenizer."""
    jinja = directory / "chat_template.jinja"
    if jinja.exists():
        return [model_files.read(jinja, _MAX_TEMPLATE_BYTES).decode(errors="replace")]
    found = []
    for name in ("chat_template.json", "tokenizer_config.json"):
        saved = (read_json(directory / name, _TokenizerSettings) or _TokenizerSettings()).chat_template
        found += [saved] if isinstance(saved, str) else [str(each) for each in saved or ()]
    return [template for template in found if template]
