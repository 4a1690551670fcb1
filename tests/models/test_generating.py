"""Generating rerankers agree with sentence-transformers, or with the code that their authors publish."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import CrossEncoder

from rerank_proxy.engine import ModelFailedError
from tests.models.samples import LONG_QUERY, QUERIES, texts
from tests.support import tiny_generating
from tests.support.engines import running
from tests.support.tiny_generating import MAX_LENGTH, PAIR_TEMPLATE

TOLERANCE = 2e-5
INSTRUCTION = "Find passages about rivers"
DOCUMENTS = [*texts(10), "word " * 600]

Scores = Callable[[str, Sequence[str], str | None], "np.ndarray[Any, Any]"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Models by kind, task and chat template, each built once. Copy one to change it."""
    made: dict[tuple[Any, ...], Path] = {}

    def build(kind: str, task: Any, template: str | None = None, name: str = "model") -> Path:
        key = (kind, task, template, name)
        if key not in made:
            made[key] = tiny_generating.build(kind, task, tmp_path_factory.mktemp(kind) / name, template)
        return made[key]

    return build


def of_sentence_transformers(directory: Path) -> Scores:
    """Scores of `predict`, without padding and without an activation."""
    model = CrossEncoder(str(directory), device="cpu")

    def scores(query: str, documents: Sequence[str], instruction: str | None) -> "np.ndarray[Any, Any]":
        prediction: np.ndarray[Any, Any] = model.predict(
            [(query, text) for text in documents],
            prompt=instruction,
            activation_fn=torch.nn.Identity(),
            batch_size=1,
            show_progress_bar=False,
        )
        return prediction

    return scores


async def agree(
    directory: Path,
    expected: Scores,
    *,
    instructions: Sequence[str | None] = (None,),
    queries: Sequence[str] = QUERIES[:2],
    **settings: Any,
) -> None:
    """Check the scores of all documents; the settings' instruction and that of a call have one effect."""
    for instruction in instructions:
        model = {"source": directory, "truncation": "second", **settings}
        told = model if instruction is None else {**model, "instruction": instruction}
        async with running({"m": model, "told": told}) as engine:
            for query in queries:
                wanted = expected(query, DOCUMENTS, instruction)
                given = await engine.scores("m", query, DOCUMENTS, instruction=instruction)
                np.testing.assert_allclose(given.values, wanted, rtol=0, atol=TOLERANCE)
                told_by_settings = await engine.scores("told", query, DOCUMENTS)
                np.testing.assert_allclose(told_by_settings.values, given.values, rtol=0, atol=TOLERANCE)
                assert given.truncated > 0
                assert np.ptp(wanted) > 0.1, "scores that hardly differ prove nothing"


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "gemma2"])
async def test_a_classifier_with_a_chat_template(built: Callable[..., Path], kind: str) -> None:
    directory = built(kind, "SequenceClassification", PAIR_TEMPLATE)
    await agree(directory, of_sentence_transformers(directory), instructions=[None, INSTRUCTION])


@pytest.mark.parametrize("kind", tiny_generating.KINDS)
async def test_logit_score_with_a_chat_template(
    built: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    directory = tiny_generating.build(kind, "CausalLM", tmp_path, PAIR_TEMPLATE)
    text = {"method": "forward", "method_output_name": "logits"}
    tiny_generating.save_modules(
        directory,
        {"true_token_id": 20, "false_token_id": 21},
        modality_config={"text": text, "message": {**text, "format": "flat"}},
    )
    await agree(directory, of_sentence_transformers(directory), instructions=[None, INSTRUCTION])


@pytest.mark.parametrize("no", [None, 31])
async def test_logit_score_of_plain_pairs(tmp_path: Path, no: int | None) -> None:
    directory = tiny_generating.build("llama", "CausalLM", tmp_path)
    tiny_generating.save_modules(directory, {"true_token_id": 30, "false_token_id": no})
    documents = [text for text in texts(40) if len(text) < 200]
    expected = of_sentence_transformers(directory)
    async with running({"m": {"source": directory, "truncation": "longest_first"}}) as engine:
        for query in (*QUERIES[:1], LONG_QUERY):
            given = await engine.scores("m", query, documents)
            np.testing.assert_allclose(given.values, expected(query, documents, None), atol=TOLERANCE)


async def test_a_generating_model_without_modules_whose_template_is_a_rerankers(
    built: Callable[..., Path],
) -> None:
    """sentence-transformers asks it for yes and no."""
    directory = built("qwen3", "CausalLM", PAIR_TEMPLATE)
    await agree(directory, of_sentence_transformers(directory))


def last_logits(directory: Path, rows: Sequence[Sequence[int]]) -> "np.ndarray[Any, Any]":
    """Return all logits at the end of each row, shape (rows, vocabulary)."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(directory)
    model.eval()
    with torch.inference_mode():
        return np.stack([model(torch.tensor([row])).logits[0, -1].numpy() for row in rows])


def tokenizer_of(directory: Path) -> Callable[[str], list[int]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    return lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"])


def qwen3_rows(directory: Path, query: str, documents: Sequence[str], instruction: str | None) -> Any:
    """As the README of Qwen3-Embedding formats pairs, in rows of `MAX_LENGTH` tokens."""
    ids = tokenizer_of(directory)
    judge = (
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".'
    )
    prefix = ids(f"<|im_start|>system\n{judge}<|im_end|>\n<|im_start|>user\n")
    suffix = ids("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    task = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    room = MAX_LENGTH - len(prefix) - len(suffix)
    bodies = [ids(f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {text}") for text in documents]
    return [[*prefix, *body[:room], *suffix] for body in bodies]


def mxbai_rows(directory: Path, query: str, documents: Sequence[str], instruction: str | None) -> Any:
    """As `MxbaiRerankV2.prepare_inputs` of mxbai-rerank does."""
    ids = tokenizer_of(directory)
    system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    prefix = ids(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
    task = ids(
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your "
        "binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    end = [*ids("\n"), *task, *ids("<|im_end|>\n<|im_start|>assistant\n")]
    start = [
        *prefix,
        *ids(f"instruction: {instruction}\nquery: {query}" if instruction else f"query: {query}"),
    ]
    room = MAX_LENGTH - len(start) - len(end)
    return [[*start, *[*ids("\n"), *ids(f"document: {text}")][:room], *end] for text in documents]


def bge_rows(directory: Path, query: str, documents: Sequence[str], instruction: str | None) -> Any:
    """As `BaseLLMReranker` of FlagEmbedding does."""
    ids = tokenizer_of(directory)
    judge = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
        "providing a prediction of either 'Yes' or 'No'."
    )
    first = transformers.AutoTokenizer.from_pretrained(directory).bos_token_id
    start, end = [first, *ids(f"A: {query}")], [*ids("\n"), *ids(instruction or judge)]
    room = MAX_LENGTH - len(start) - len(end)
    return [[*start, *[*ids("\n"), *ids(f"B: {text}")][:room], *end] for text in documents]


PUBLISHED: dict[str, tuple[str, str, Any, str, str | None]] = {
    "qwen3-reranker": ("qwen3", "Qwen3-Reranker-0.6B", qwen3_rows, "yes", "no"),
    "mxbai-rerank-v2": ("qwen2", "mxbai-rerank-base-v2", mxbai_rows, "1", "0"),
    "bge-reranker-v2-gemma": ("gemma", "bge-reranker-v2-gemma", bge_rows, "Yes", None),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("known_by", ["setting", "name"])
async def test_published_generating_rerankers(built: Callable[..., Path], name: str, known_by: str) -> None:
    kind, model_name, rows_of, yes, no = PUBLISHED[name]
    named = known_by == "name"
    directory = built(kind, "CausalLM", tiny_generating.CHAT_TEMPLATE, model_name if named else "a-copy")
    ids = tokenizer_of(directory)

    def expected(query: str, documents: Sequence[str], instruction: str | None) -> Any:
        logits = last_logits(directory, rows_of(directory, query, documents, instruction))
        return logits[:, ids(yes)[0]] - (logits[:, ids(no)[0]] if no is not None else 0)

    await agree(
        directory,
        expected,
        instructions=[None] if named else [None, INSTRUCTION],
        queries=QUERIES[:1] if named else QUERIES[:2],
        max_length=MAX_LENGTH,
        **({} if named else {"template": name}),
    )


async def test_a_published_format_with_the_head_of_a_classifier(built: Callable[..., Path]) -> None:
    """Conversions of published rerankers keep the format, and not the way to say it."""
    template = tiny_generating.CHAT_TEMPLATE
    directory = built("qwen3", "SequenceClassification", template, "Qwen3-Reranker-0.6B-seq-cls")
    family: Any = transformers.AutoModelForSequenceClassification
    model = family.from_pretrained(directory)
    model.eval()

    def expected(query: str, documents: Sequence[str], instruction: str | None) -> Any:
        rows = qwen3_rows(directory, query, documents, instruction)
        with torch.inference_mode():
            return np.array([model(torch.tensor([row])).logits.item() for row in rows])

    await agree(directory, expected, queries=QUERIES[:1], max_length=MAX_LENGTH)


async def test_sigmoid_of_the_difference_is_the_probability_of_yes(built: Callable[..., Path]) -> None:
    directory = built("qwen3", "CausalLM", None, "Qwen3-Reranker-0.6B")
    ids = tokenizer_of(directory)
    rows = qwen3_rows(directory, "rivers", DOCUMENTS, None)
    logits = last_logits(directory, rows)[:, [ids("no")[0], ids("yes")[0]]]
    model = {"source": directory, "activation": "sigmoid", "truncation": "second", "max_length": MAX_LENGTH}
    async with running({"m": model}) as engine:
        given = await engine.scores("m", "rivers", DOCUMENTS)
    expected = torch.softmax(torch.tensor(logits), dim=1)[:, 1]
    np.testing.assert_allclose(given.values, expected.numpy(), rtol=0, atol=TOLERANCE)


async def refusal(directory: Path, **settings: Any) -> str:
    async with running({"m": {"source": directory, **settings}}) as engine:
        with pytest.raises(ModelFailedError) as failed:
            await engine.scores("m", "rivers", ["a text"])
    assert "\n" not in str(failed.value)
    return str(failed.value)


async def test_a_generating_model_of_no_known_format_is_refused(built: Callable[..., Path]) -> None:
    directory = built("qwen3", "CausalLM", tiny_generating.CHAT_TEMPLATE)
    assert "set the model's [template] to its format (qwen3-reranker, " in await refusal(directory)


async def test_a_chat_template_that_loses_the_pair_is_refused(built: Callable[..., Path]) -> None:
    directory = built("qwen3", "SequenceClassification", tiny_generating.CHAT_TEMPLATE)
    said = await refusal(directory)
    assert "its chat template does not carry a query and a document as they are" in said
    assert "[template] setting" in said
