"""Run the command `train`: options to a plan, progress to the terminal, results to files."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import click

from rerank_proxy.cli.options import load_settings
from rerank_proxy.cli.output import print_json, print_line
from rerank_proxy.cli.progress import Bars
from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.cli.searcher import searcher_of
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.relevance.clicks import ClickModel
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.evaluation.material import material_of
from rerank_proxy.relevance.extras import need
from rerank_proxy.relevance.formats.reading import read_queries
from rerank_proxy.relevance.judgments import Judgments, Query
from rerank_proxy.relevance.numbers import number
from rerank_proxy.relevance.systems import first_stage
from rerank_proxy.relevance.training.assessing import MEASURES, TRAINED
from rerank_proxy.relevance.training.bases import kind_of
from rerank_proxy.relevance.training.choice import Recipe
from rerank_proxy.relevance.training.collecting import Asked, collect, practise
from rerank_proxy.relevance.training.losses import LossName
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.results import CARD, check_free, write
from rerank_proxy.relevance.training.running import (
    Outcome,
    Plan,
    judged_by_teacher,
    learns_pairs_of_titles,
    run,
)

_KEPT: Final = "scores.jsonl"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the command, by the names of its parameters."""

    queries: Path | None
    judgments: Path | None
    clicks: Path | None
    teacher: str | None
    index: str
    field: str
    title_field: str | None
    first_stage: str | None
    window: int
    concurrency: int
    recipe: Recipe | Literal["auto"]
    base: str | None
    endpoint: str | None
    out: Path
    overwrite: bool
    work: Path | None
    folds: int
    held_out: float
    epochs: int | None
    batch: int | None
    rate: float | None
    loss: LossName | Literal["auto"]
    titles: int
    seed: int
    device: str
    as_json: bool

    @property
    def text_field(self) -> str:
        """What the model reads."""
        return self.field.partition(",")[0].strip()


@dataclass
class TrainCommand:
    """A training that a command line asks for."""

    plan: Plan
    asked: Asked
    queries: Mapping[str, Query]
    judgments: Judgments
    searcher: Searcher
    out: Path
    as_json: bool
    keeps_work: bool
    material: Material | None = field(default=None)
    outcome: Outcome | None = field(default=None)

    @classmethod
    def of(cls, options: Options, proxy: ProxyOptions) -> "TrainCommand":
        """Make the plan, and read queries and judgments.

        Raises:
            CommandError, RelevanceError: Something on the command line, or in the files that it names, is
                wrong.
        """
        need("evaluate" if options.base is None else "train", "a training")
        options = replace(options, out=options.out.absolute())
        if "=" in options.out.name:
            raise RelevanceError(
                f"--out {options.out}: its name is the model's and the endpoint's, which have no = in them"
            )
        check_free(options.out, overwrite=options.overwrite)
        queries, judgments = _read(options)
        plan = _plan(options, proxy)
        asked = Asked(
            plan.index,
            plan.field,
            plan.first,
            plan.window,
            base=options.endpoint if options.base is None else None,
            teacher=options.teacher,
            title=options.title_field,
            titles=options.titles,
            seed=options.seed,
        )
        searcher = searcher_of(proxy, concurrency=options.concurrency)
        keeps_work = options.work is not None
        return cls(plan, asked, queries, judgments, searcher, options.out, options.as_json, keeps_work)

    async def collect(self) -> None:
        """Ask the proxy for everything.

        Raises:
            RelevanceError: It does not answer, or not as is needed.
        """
        with Bars() as progress:
            async with self.searcher:
                kept = self.plan.work / _KEPT
                found = await collect(self.searcher, self.asked, self.queries, self.judgments, kept, progress)
                if not self.judgments:
                    found = replace(found, judgments=judged_by_teacher(found))
                if learns_pairs_of_titles(self.plan, found):
                    found = await practise(self.searcher, self.asked, found, kept, progress)
        self.material = found

    def train(self) -> None:
        """Train, and measure.

        Raises:
            RelevanceError: There is too little to train on.
        """
        assert self.material is not None, "collect first"
        with Bars() as progress:
            self.outcome = run(
                self.plan, self.material, progress, lambda line: click.echo(printable(line), err=True)
            )

    def write(self) -> bool:
        """Write the result, print what it is worth, and return whether it is better.

        Raises:
            RelevanceError: A file cannot be written.
        """
        assert self.outcome is not None, "train first"
        figures = write(self.outcome, self.out, by_teacher=not self.judgments)
        if not self.keeps_work:
            shutil.rmtree(self.plan.work, ignore_errors=True)
        if self.as_json:
            print_json(figures)
        else:
            for line in _lines(self.outcome):
                print_line(line)
            print_line(f"wrote {self.out}; {self.out / CARD} says what it is and how it is used")
        return self.outcome.assessment.better

    def stopped(self) -> str:
        """Return what a user reads who has stopped it."""
        if not self.plan.work.exists():
            return "stopped before anything was done"
        return f"stopped; what was done is in {self.plan.work}: the same command goes on there"


def _lines(outcome: Outcome) -> list[str]:
    assessment = outcome.assessment
    width = max(map(len, assessment.figures))
    order = [name for name in assessment.figures if name != TRAINED] + [TRAINED]
    rows = []
    for name in order:
        figures = "  ".join(f"{each} {number(assessment.figures[name][each].mean)}" for each in MEASURES)
        rows.append(f"{name:<{width}}  {figures}")
    return [*rows, assessment.sentence()]


def _plan(options: Options, proxy: ProxyOptions) -> Plan:
    return Plan(
        recipe=options.recipe,
        base=None if options.base is None else _base(options.base, proxy),
        endpoint=options.endpoint,
        name=options.out.name,
        index=options.index,
        field=options.text_field,
        first=first_stage(options.first_stage, options.field),
        window=options.window,
        seed=options.seed,
        folds=options.folds,
        held_out=options.held_out,
        epochs=options.epochs,
        batch=options.batch,
        rate=options.rate,
        device=_device(options.device) if options.base is not None else "cpu",
        work=options.work or options.out.with_name(f"{options.out.name}.work"),
        loss=options.loss,
        teacher=options.teacher,
    )


def _read(options: Options) -> tuple[Mapping[str, Query], Judgments]:
    if options.judgments is None and options.clicks is None and options.teacher is not None:
        if options.queries is None:
            raise RelevanceError("--teacher without judgments takes --queries")
        return read_queries(options.queries), {}
    pair = material_of(options.queries, options.judgments, options.clicks, ClickModel()).paired
    return pair.queries, pair.judgments


def _base(base: str, proxy: ProxyOptions) -> Path:
    if not Path(base).is_dir():
        models = load_settings(config=proxy.config, secrets_dir=proxy.secrets_dir).models
        if base in models:
            base = models[base].source
    kind_of(Path(base))
    return Path(base)


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise RelevanceError("--device cuda: torch finds no GPU here")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
