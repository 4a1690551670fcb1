"""The command `rerank-proxy train`."""

import asyncio
import sys
from typing import Any, Final

import click

from rerank_proxy.cli.help import Command, grouped
from rerank_proxy.cli.options import CONFIG_OPTIONS, CommandError, die
from rerank_proxy.cli.proxy_options import ProxyOptions, proxy_options
from rerank_proxy.cli.relevance_options import (
    FILE,
    FOLDER,
    concurrency_option,
    first_stage_option,
    index_option,
    judgments_option,
    queries_option,
)
from rerank_proxy.processes.loop import new_event_loop

NOT_BETTER: Final = 3
"""The exit status after a training that brought nothing."""

_EXAMPLE: Final = """
\b
  rerank-proxy train --index films --field plot \\
      --queries queries.tsv --judgments qrels.txt \\
      --base /models/all-MiniLM-L6-v2 --out films-reranker
  rerank-proxy serve --model films=films-reranker \\
      --endpoint films-reranker=films …
"""
_LEARNED: Final = "What is learned from"
_TRAINED: Final = "What is trained, and how"
_learned, _trained = map(grouped, (_LEARNED, _TRAINED))


_OPTIONS: Final[list[click.Parameter]] = [
    queries_option(_LEARNED),
    judgments_option(_LEARNED),
    _learned("--clicks", type=FILE, help="In place of judgments, as evaluate takes them."),
    _learned(
        "--teacher",
        metavar="ID",
        help="An inference endpoint whose scores are learned. Without judgments its order takes their place.",
    ),
    index_option(_LEARNED),
    _learned(
        "--field",
        required=True,
        metavar="FIELD[,FIELD]...",
        help="What the first stage searches; the model reads the first.",
    ),
    _learned(
        "--title-field",
        metavar="FIELD",
        help="The field with a document's title. Titles are queries, too: a bi-encoder learns their texts, "
        "a cross-encoder the scores of what they find.",
    ),
    _learned(
        "--titles",
        type=click.IntRange(1, 1_000_000),
        default=5000,
        show_default=True,
        help="How many titles are learned from, at most. A --teacher of a cross-encoder scores the first "
        "hits of each.",
    ),
    first_stage_option(_LEARNED),
    _learned(
        "--window",
        type=click.IntRange(10, 1000),
        default=50,
        show_default=True,
        help="How many hits of the first stage a reranker gets.",
    ),
    concurrency_option(_LEARNED),
    _trained(
        "--recipe",
        type=click.Choice(["auto", "fusion", "head", "bi-encoder", "cross-encoder"]),
        default="auto",
        show_default=True,
        help="The weights of a fusion of scores, a layer above a bi-encoder, all of one, or a cross-encoder; "
        "auto takes what the amount of data carries.",
    ),
    _trained(
        "--base",
        metavar="MODEL",
        help="What training starts from: a directory, or the name of a model of the settings.",
    ),
    _trained(
        "--endpoint",
        metavar="ID",
        help="For a fusion: the inference endpoint whose scores are fused with the first stage's.",
    ),
    _trained("--out", type=FOLDER, required=True, help="Directory of the model; its name is the model's."),
    _trained("--overwrite", is_flag=True, help="Replace a model of this command in --out."),
    _trained(
        "--work",
        type=FOLDER,
        help="Directory for what a run that is stopped goes on with. [default: OUT.work]",
    ),
    _trained(
        "--folds",
        type=click.IntRange(2, 20),
        default=5,
        show_default=True,
        help="fusion and head are measured with all queries, each by models of the other parts.",
    ),
    _trained(
        "--held-out",
        type=click.FloatRange(0.1, 0.9),
        default=1 / 3,
        help="The share of the queries that a bi-encoder or cross-encoder is measured with, and never sees. "
        "[default: a third]",
    ),
    _trained(
        "--epochs",
        type=click.IntRange(1, 100),
        help="How often a bi-encoder or cross-encoder sees all examples, at most.",
    ),
    _trained(
        "--batch", type=click.IntRange(2, 1024), help="Examples of one step of a bi-encoder or cross-encoder."
    ),
    _trained(
        "--rate", type=click.FloatRange(1e-8, 1e-2), help="Learning rate of a bi-encoder or cross-encoder."
    ),
    _trained(
        "--loss",
        type=click.Choice(["auto", "lambda", "bce"]),
        default="auto",
        show_default=True,
        help="What tunes a cross-encoder: lambda, the order of a query's texts by their grades; bce, each "
        "pair by itself, relevant or not, for searches with min_score; auto goes by the judgments.",
    ),
    _trained(
        "--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of all that is drawn."
    ),
    _trained(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto takes the GPU if there is one.",
    ),
    _trained("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
]


@click.command(cls=Command, epilog=_EXAMPLE, params=[*CONFIG_OPTIONS, *_OPTIONS])
@proxy_options
def train(**options: Any) -> None:
    """Train a reranker on judgments, clicks or the scores of another one, and measure whether it is better.

    The result is a directory of sentence-transformers that `serve --model` takes, with a model card and the
    template of a search. It is measured with queries that it was not trained with. Exits with 0 if it is
    significantly better than the first stage and the model before, with 3 if that is not shown, with 1 or 2
    for faults.

    Nothing is sent to other machines than the proxy. A run that was stopped goes on with the same command.
    """
    from rerank_proxy.relevance.errors import RelevanceError
    from rerank_proxy.relevance.training.bases import stay_on_this_machine

    stay_on_this_machine()
    from rerank_proxy.cli.training import Options, TrainCommand

    try:
        proxy = ProxyOptions.taken(options)
        command = TrainCommand.of(Options(**options), proxy)
    except (CommandError, RelevanceError) as failure:
        die(str(failure), 2)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(command.collect())
        command.train()
        better = command.write()
    except (CommandError, RelevanceError) as failure:
        die(str(failure), 1)
    except KeyboardInterrupt:
        die(command.stopped(), 130)
    sys.exit(0 if better else NOT_BETTER)
