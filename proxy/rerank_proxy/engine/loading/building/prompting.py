"""Choose how a cross-encoder's pairs are formatted, and refuse settings that do not fit that."""

from typing import Final

from rerank_proxy.engine.encoding.prompts import Prompt, PromptEncoder
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.errors import ModelLoadError, NoInstructionError
from rerank_proxy.engine.loading.reading import chat_template
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.reading.templates import TEMPLATES
from rerank_proxy.settings import ModelSettings

_ACTIVATIONS: Final = ("Sigmoid", "Identity")
"""Those of sentence-transformers between which the setting `activation` chooses."""

_LEAST_TEXT: Final = 4
"""Tokens of query and text together for which a template has to leave room."""


def prompt_encoder(
    profile: Profile,
    settings: ModelSettings,
    tokenizer: Tokenizer,
    model_type: str,
    max_length: int,
    truncation: Truncation,
) -> PromptEncoder | None:
    """Return what puts pairs into the model's template; None for a model that reads plain pairs.

    Raises:
        ModelLoadError: The template cannot be used, or leaves no room for texts.
    """
    prompt = _prompt(profile, tokenizer, model_type)
    if prompt is None:
        refuse_prompt_settings(settings)
        return None
    if not tokenizer.transformers.is_fast:
        raise ModelLoadError(
            f"[{profile.directory}]: its tokenizer is written in Python, which a template cannot be used "
            "with; save it as a fast one (tokenizer.json)"
        )
    try:
        encoder = PromptEncoder(tokenizer, prompt, max_length, truncation, settings.instruction)
    except NoInstructionError as error:
        raise ModelLoadError(f"[{settings.source}]: {error}: remove its [instruction]") from None
    if encoder.template_tokens + _LEAST_TEXT > max_length:
        raise ModelLoadError(
            f"[{settings.source}]: its template has {encoder.template_tokens} tokens; max_length "
            f"{max_length} leaves no room for query and text"
        )
    return encoder


def _prompt(profile: Profile, tokenizer: Tokenizer, model_type: str) -> Prompt | None:
    if profile.template is not None:
        template = TEMPLATES[profile.template]
        prompt = template.prompt
        first = tokenizer.transformers.bos_token_id if template.begins else None
        if first == tokenizer.transformers.pad_token_id:
            first = None  # as FlagEmbedding does
        return Prompt(prompt.plain, prompt.instructed, prompt.instruction, first)
    if profile.messages is None:
        return None
    try:
        return chat_template.derive(tokenizer, model_type, profile.messages, profile.query_prompt or None)
    except ModelLoadError as error:
        raise ModelLoadError(f"[{profile.directory}]: {error}") from error.__cause__


def refuse_prompt_settings(settings: ModelSettings) -> None:
    """Refuse settings of templates for a model that has none.

    Raises:
        ModelLoadError: There are such settings.
    """
    for name in ("template", "instruction", "cutoff_layer"):
        if getattr(settings, name) is not None:
            raise ModelLoadError(
                f"[{settings.source}] reads query and text without a template: remove its [{name}]"
            )


def check_activation(profile: Profile, settings: ModelSettings) -> None:
    """Refuse a checkpoint that names an activation for which there is no setting, unless there is one.

    Raises:
        ModelLoadError: It does.
    """
    named = profile.activation
    known = named is None or (named.startswith("torch.") and named.rsplit(".", 1)[-1] in _ACTIVATIONS)
    if not known and settings.activation is None:
        raise ModelLoadError(
            f"[{profile.directory}] applies [{named}] to its logit, which is not supported; set the model's "
            "[activation] to have another one"
        )
