"""Derive a prompt from the chat template of a checkpoint: what sentence-transformers 6 makes of a pair.

A pair becomes two messages, of the roles `query` and `document`; an instruction is the message of the role
`system` before them. Source: `InputFormatter` in `base/modality.py` of sentence-transformers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rerank_proxy.engine.encoding.prompts import Prompt, Segment, Slot
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import ModelLoadError

Format = Literal["structured", "flat"]

_FLAT_TYPES: Final = ("apertus", "deepseek_v3", "gpt_oss", "seed_oss")
_STRUCTURED_SIGNS: Final = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")
_ROLES: Final = ("query", "document")

_MARKS: Final[Mapping[Slot, str]] = {
    Slot.INSTRUCTION: "MarkOfTheInstruction7303",
    Slot.QUERY: "MarkOfTheQuery7301",
    Slot.TEXT: "MarkOfTheText7302",
}
_PROBES: Final = (
    ("which river?", "The Nile, some say.", "Judge."),
    ("", "", "-"),
    ("  a space \n", "\n two lines \n\n", " a space "),
    ("{{ query }} <|im_end|>", "<think> & 'quotes' \"too\" \\n", "{% if %}"),
    ("a" * 300, "zwölf Boxkämpfer 北京 🙂" * 20, "é" * 40),
)
"""Queries, texts and instructions with which the derived prompt is checked."""

_Render = Callable[[str, str, str | None], str]


@dataclass(frozen=True, slots=True)
class Messages:
    """How a checkpoint wants its chat template to be used."""

    format: Format | None = None
    """None: as the template looks."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Given to the template."""


def derive(tokenizer: Tokenizer, model_type: str, messages: Messages, instruction: str | None) -> Prompt:
    """Return the prompt that the tokenizer's chat template makes of a pair.

    Args:
        instruction: The one that applies where none other is given.

    Raises:
        ModelLoadError: The template does not put the pair into what the model reads, or changes the texts.
    """
    render = _renderer(tokenizer, model_type, messages)
    try:
        for strips in (False, True):
            plain = _derive(render, None, strips=strips)
            if plain is None:
                continue
            told = _derive(render, _MARKS[Slot.INSTRUCTION], strips=strips)
            if told is None and instruction is not None:
                break
            return Prompt((plain,), None if told is None else (told,), instruction, strips=strips)
    except Exception as error:  # A template may raise anything.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(
            f"its chat template fails for a query and a document ({reason[0]}); {_REMEDY}"
        ) from error
    raise ModelLoadError(f"its chat template does not carry a query and a document as they are; {_REMEDY}")


_REMEDY: Final = "name the format of its pairs with the model's [template] setting, if it is a published one"


def names_pairs(template: str) -> bool:
    """Return whether the source of a template names the roles of a pair, as that of a reranker does.

    Templates for conversations that take any role would carry a pair, too, but mean nothing by it.
    """
    return all(re.search(rf"""["']{role}["']""", template) for role in _ROLES)


def _derive(render: _Render, instruction: str | None, *, strips: bool) -> Segment | None:
    """Return the template as one segment; None if it is not what the texts are put into as they are."""
    marked = render(_MARKS[Slot.QUERY], _MARKS[Slot.TEXT], instruction)
    segment = _segment(marked, instructed=instruction is not None)
    if segment is None:
        return None
    for query, text, told in _PROBES:
        given = [each.strip() if strips else each for each in (query, text, told)]
        if _text(segment, *given) != render(query, text, None if instruction is None else told):
            return None
    return segment


def _segment(marked: str, *, instructed: bool) -> Segment | None:
    slots = [Slot.QUERY, Slot.TEXT, *([Slot.INSTRUCTION] if instructed else [])]
    by_mark = {_MARKS[slot]: slot for slot in slots}
    parts = re.split("(" + "|".join(by_mark) + ")", marked)
    segment = tuple(by_mark.get(part, part) for part in parts if part)
    found = [part for part in segment if isinstance(part, Slot)]
    return segment if sorted(map(str, found)) == sorted(map(str, slots)) else None


def _text(segment: Segment, query: str, text: str, instruction: str) -> str:
    values = {Slot.QUERY: query, Slot.TEXT: text, Slot.INSTRUCTION: instruction}
    return "".join(values[part] if isinstance(part, Slot) else part for part in segment)


def _renderer(tokenizer: Tokenizer, model_type: str, messages: Messages) -> _Render:
    form = messages.format or _format(tokenizer.transformers.chat_template, model_type)

    def message(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text if form == "flat" else [{"type": "text", "text": text}]}

    def render(query: str, text: str, instruction: str | None) -> str:
        pair = [message(role, each) for role, each in zip(_ROLES, (query, text), strict=True)]
        system = [] if instruction is None else [message("system", instruction)]
        return str(
            tokenizer.transformers.apply_chat_template([*system, *pair], tokenize=False, **messages.options)
        )

    return render


def _format(template: Any, model_type: str) -> Format:
    """Guess how messages have to look, as sentence-transformers does (`InputFormatter._infer_format`)."""
    if model_type in _FLAT_TYPES:
        return "flat"
    if not isinstance(template, str) or any(sign in template for sign in _STRUCTURED_SIGNS):
        return "structured"
    return "flat"
