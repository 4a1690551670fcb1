"""Run the command `evaluate`: options to a plan, progress to the terminal, results to files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from rerank_proxy.cli.output import print_json, print_line, print_table
from rerank_proxy.cli.progress import Bars
from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.cli.searcher import searcher_of
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.relevance.clicks import ClickModel
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.evaluation.material import Material, material_of
from rerank_proxy.relevance.evaluation.results import Unjudged
from rerank_proxy.relevance.evaluation.running import Evaluation, Plan, evaluate
from rerank_proxy.relevance.extras import need
from rerank_proxy.relevance.measures import checked
from rerank_proxy.relevance.report.document import document_of
from rerank_proxy.relevance.report.files import write_report
from rerank_proxy.relevance.report.tables import Column, columns_of, rows_of
from rerank_proxy.relevance.report.words import headline_of, notes_of, windows_of
from rerank_proxy.relevance.statistics import SEED
from rerank_proxy.relevance.systems import BM25, Wanted, systems_of

DEFAULT_MEASURES: Final = ("nDCG@10", "RR@10", "R@10")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the command, by the names of its parameters."""

    queries: Path | None
    judgments: Path | None
    clicks: Path | None
    click_eta: float
    click_max_weight: float
    click_min: int
    limit: int | None
    index: str
    systems: Sequence[str]
    endpoints: Sequence[str]
    field: str | None
    windows: tuple[int, ...]
    first_stage: str | None
    baseline: str | None
    measures: Sequence[str]
    unjudged: Unjudged
    out: Path
    concurrency: int
    timed: int
    cold: bool
    fresh: bool
    seed: int | None
    as_json: bool


@dataclass
class EvaluateCommand:
    """An evaluation that a command line asks for."""

    plan: Plan
    material: Material
    searcher: Searcher
    as_json: bool
    evaluation: Evaluation | None = None

    @classmethod
    def of(cls, options: Options, proxy: ProxyOptions) -> "EvaluateCommand":
        """Make the plan, and read queries and judgments.

        Raises:
            CommandError, RelevanceError: Something on the command line, or in the files that it names, is
                wrong.
        """
        need("evaluate", "an evaluation")
        names = checked(options.measures or DEFAULT_MEASURES)
        chosen = systems_of(_wanted(options))
        known = [each.name for each in chosen]
        if options.baseline is not None and options.baseline not in known:
            raise RelevanceError(f"--baseline {options.baseline}: there are {', '.join(known)}")
        model = ClickModel(
            eta=options.click_eta, max_weight=options.click_max_weight, min_clicks=options.click_min
        )
        files = (options.queries, options.judgments, options.clicks)
        material = material_of(*files, model, options.limit)
        plan = Plan(
            index=options.index,
            systems=chosen,
            measures=names,
            baseline=options.baseline or known[0],
            directory=options.out,
            timed=options.timed,
            cold=options.cold,
            fresh=options.fresh,
            seed=SEED if options.seed is None else options.seed,
            unjudged=options.unjudged,
        )
        searcher = searcher_of(proxy, concurrency=options.concurrency)
        return cls(plan, material, searcher, options.as_json)

    async def run(self) -> None:
        """Ask, and compute.

        Raises:
            RelevanceError: The server cannot be reached, or answers nothing.
        """
        with Bars() as progress:
            self.evaluation = await evaluate(self.plan, self.material, self.searcher, progress)

    def show(self) -> bool:
        """Write the report's files, print its tables, and return whether all systems have figures.

        Raises:
            RelevanceError: A file cannot be written.
        """
        assert self.evaluation is not None, "run it first"
        document = document_of(self.evaluation)
        made = write_report(self.evaluation, document, self.plan.directory)
        if self.as_json:
            print_json(document)
        else:
            self._print(self.evaluation, made)
        return all(each.has_figures for each in self.evaluation.results.all)

    def _print(self, evaluation: Evaluation, made: Sequence[Path]) -> None:
        print_table(table_of(columns_of(evaluation), rows_of(evaluation)))
        said = (headline_of(evaluation), *windows_of(evaluation), *notes_of(evaluation))
        for line in said:
            print_line(line)
        for file in made:
            print_line(f"wrote {file}")

    def stopped(self) -> str:
        """Return what a user reads who has stopped it."""
        return f"stopped; what was answered is in {self.plan.directory}: the same command goes on there"


def table_of(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table for a terminal."""
    table = Table()
    for column in columns:
        table.add_column(column.short, justify="left" if column.is_text else "right")
    for row in rows:
        table.add_row(*map(printable, row))
    return table


def _wanted(options: Options) -> Wanted:
    systems = options.systems or ([BM25] if options.field is not None else [])
    return Wanted(systems, options.endpoints, options.field, options.windows, options.first_stage)
