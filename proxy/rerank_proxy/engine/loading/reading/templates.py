"""The formats of query and text that people publish with their rerankers: one table.

Each row says where it is from. What the tokens of a prompt are has to be exactly what that code makes of it,
down to which parts are tokenised together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from rerank_proxy.engine.encoding.prompts import Prompt, Segment, Slot
from rerank_proxy.settings.sections.models import PublishedTemplate

_INSTRUCTION, _QUERY, _TEXT = Slot.INSTRUCTION, Slot.QUERY, Slot.TEXT


@dataclass(frozen=True, slots=True)
class Template:
    """A published format, and how the output is read."""

    prompt: Prompt
    yes: str
    """The token whose logit is the score …"""
    no: str | None
    """… less this one's, if there is one."""
    max_length: int
    """Tokens of a prompt where the settings say nothing."""
    names: re.Pattern[str]
    """The names of the published models and of their conversions."""
    architecture: str
    """Without the task: `Qwen3` of `Qwen3ForCausalLM` and `Qwen3ForSequenceClassification`."""
    begins: bool = False
    """The tokenizer's first token, if it has one, is before all others."""
    layers: bool = False
    """Each layer has a head of its own that gives the score; only the model's own code knows how."""


def _qwen3() -> Template:
    """Return the format under "Reranker Model" in the README of github.com/QwenLM/Qwen3-Embedding."""
    before = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
        'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    body: Segment = ("<Instruct>: ", _INSTRUCTION, "\n<Query>: ", _QUERY, "\n<Document>: ", _TEXT)
    after = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    default = "Given a web search query, retrieve relevant passages that answer the query"
    return Template(
        Prompt(None, ((before,), body, (after,)), default),
        yes="yes",
        no="no",
        max_length=8192,
        names=re.compile(r"qwen3-reranker-.*"),
        architecture="Qwen3",
    )


def _mxbai() -> Template:
    """Return that of `mxbai_rerank_v2.py` of the package mxbai-rerank."""
    before: Segment = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n",
    )
    task: Segment = (
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your "
        "binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:",
    )
    query: Segment = ("query: ", _QUERY)
    rest: tuple[Segment, ...] = (
        ("\n",),
        ("document: ", _TEXT),
        ("\n",),
        task,
        ("<|im_end|>\n<|im_start|>assistant\n",),
    )
    told: Segment = ("instruction: ", _INSTRUCTION, "\n", *query)
    return Template(
        Prompt((before, query, *rest), (before, told, *rest)),
        yes="1",
        no="0",
        max_length=8192,
        names=re.compile(r"mxbai-rerank-(base|large)-v2.*"),
        architecture="Qwen2",
    )


def _bge(
    instruction: str, names: str, architecture: str, *, max_length: int = 1024, layers: bool = False
) -> Template:
    """Return one of `inference/reranker/decoder_only/` of the package FlagEmbedding.

    What FlagEmbedding calls a prompt and puts last is the instruction here.
    """
    segments: tuple[Segment, ...] = (("A: ", _QUERY), ("\n",), ("B: ", _TEXT), ("\n",), (_INSTRUCTION,))
    return Template(
        Prompt(None, segments, instruction),
        yes="Yes",
        no=None,
        max_length=max_length,
        names=re.compile(names),
        architecture=architecture,
        begins=True,
        layers=layers,
    )


_JUDGE: Final = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
    "providing a prediction of either 'Yes' or 'No'."
)
_PREDICT: Final = "Predict whether passage B contains an answer to query A."

TEMPLATES: Final[Mapping[PublishedTemplate, Template]] = {
    "qwen3-reranker": _qwen3(),
    "mxbai-rerank-v2": _mxbai(),
    "bge-reranker-v2-gemma": _bge(_JUDGE, r"bge-reranker-v2-gemma", "Gemma"),
    "bge-reranker-v2-minicpm-layerwise": _bge(
        _JUDGE, r"bge-reranker-v2-minicpm-layerwise", "LayerWiseMiniCPM", layers=True
    ),
    "bge-reranker-v2.5-gemma2-lightweight": _bge(
        _PREDICT, r"bge-reranker-v2\.5-gemma2-lightweight", "CostWiseGemma", layers=True
    ),
}


def by_name(source: str, architecture: str) -> PublishedTemplate | None:
    """Return the template of a published model.

    Args:
        source: A hub id or a directory, whose last part is the name of the model.
        architecture: Of its config.json. A model of another one is none of the published, whatever its name.
    """
    name = PurePath(source).name.lower()
    return next(
        (
            key
            for key, template in TEMPLATES.items()
            if template.names.fullmatch(name) and architecture.startswith(f"{template.architecture}For")
        ),
        None,
    )
