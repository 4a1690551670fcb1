"""A whole training: the recipe is chosen, carried out, measured on held-out queries, and written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judgments import Judgments, Run
from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.statistics import FEWEST
from rerank_proxy.relevance.templates import Template
from rerank_proxy.relevance.training.assessing import BASE, FIRST, FUSED, TRAINED, Assessment, assess
from rerank_proxy.relevance.training.bases import Kind, kind_of, without_chatter
from rerank_proxy.relevance.training.choice import Amount, Choice, Recipe, choose
from rerank_proxy.relevance.training.fusing import fit
from rerank_proxy.relevance.training.learning import Learn, Learned, Ready, Scores, with_weight
from rerank_proxy.relevance.training.losses import Loss, LossName, choose_loss
from rerank_proxy.relevance.training.material import Material, reordered
from rerank_proxy.relevance.training.splitting import Part, folds, held_out, same_text

WHY_LEFT_OUT: Final = "for which the first stage finds nothing, or no relevant document has a text"
_DEV: Final = 0.2
"""The share of the training queries that decide when a long training ends."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted.

    Attributes:
        recipe: `auto` chooses by the amount of data.
        base: The directory of the model that training starts from; None for a fusion of an endpoint's scores.
        endpoint: The endpoint that is compared with in a fusion, and asked by the search it results in.
        name: The endpoint of the trained model in the template of the search.
        folds: In how many parts queries are divided where training takes seconds, so that all are measured.
        held_out: The share of the queries that is kept back where training takes long.
        epochs, batch, rate: Of a long training; None for what is usual for the recipe.
        loss: What tunes a cross-encoder; `auto` chooses by the judgments.
        teacher: The endpoint whose scores are learned, if there is one.
        device: `cpu` or `cuda`.
        work: Folder for checkpoints and what was encoded.
    """

    recipe: Recipe | Literal["auto"]
    base: Path | None
    endpoint: str | None
    name: str
    index: str
    field: str
    first: Template
    window: int
    seed: int
    folds: int
    held_out: float
    epochs: int | None
    batch: int | None
    rate: float | None
    device: str
    work: Path
    loss: LossName | Literal["auto"] = "auto"
    teacher: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to.

    Attributes:
        ready: The model, and the weight of the first stage.
        parts: How queries were divided to measure it: each part's model was measured with its `held_out`.
        refitted: True if the model itself was trained with all queries, after those of the parts.
        loss: What has tuned a cross-encoder; None for another recipe.
    """

    plan: Plan
    material: Material
    choice: Choice
    assessment: Assessment
    ready: Ready
    parts: Sequence[Part]
    refitted: bool
    loss: Loss | None = None

    @property
    def titles(self) -> int:
        """How many titles were learned from."""
        return titles_of(self.choice.recipe, self.material)


class Given:
    """Scores that an endpoint has given: a model that is not trained."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores

    def scores(self, queries: Sequence[str]) -> Scores:
        return {query: self._scores[query] for query in queries}

    def save(self, directory: Path) -> None:
        """Write nothing: the model is where it was."""


def amount_of(material: Material, kind: Kind | None, *, accelerated: bool) -> Amount:
    """Count what there is to train on. Queries with the same text are one: they are never kept apart."""
    judged = trainable(material)
    scored = sum(map(len, material.teacher.values()))
    different = len({same_text(material.queries[name].text) for name in judged})
    return Amount(different, material.pairs(judged), scored, kind, accelerated, len(material.titles))


def trainable(material: Material) -> list[str]:
    """Return the queries for which the first stage finds something, and that have a relevant document."""
    return [name for name in material.queries if material.window(name) and material.relevant(name)]


def judged_by_teacher(material: Material) -> Judgments:
    """Return grades that follow a teacher's order: 3 for its best document, 2 for two more, 1 up to a tenth.

    For queries without judgments: what is measured then is how far a model agrees with the teacher.
    """
    found: dict[str, dict[str, int]] = {}
    for query, scores in material.teacher.items():
        window = [name for name in material.window(query) if name in scores]
        order = sorted(window, key=lambda name: -scores[name])
        tenth = max(3, len(order) // 10)
        found[query] = {
            name: 3 if not place else 2 if place < 3 else 1 for place, name in enumerate(order[:tenth])
        }
    return found


def chosen(plan: Plan, material: Material) -> Choice:
    """Choose the recipe that the material carries, or check the one that is wanted.

    Raises:
        RelevanceError: There is too little data, or the base does not fit.
    """
    kind = kind_of(plan.base) if plan.base is not None else None
    return choose(plan.recipe, amount_of(material, kind, accelerated=plan.device != "cpu"))


def titles_of(recipe: Recipe, material: Material) -> int:
    """Return how many titles a recipe learns from."""
    if recipe == "bi-encoder":
        return 0 if material.teacher else len(material.titles)
    return len(material.practice.queries) if material.practice is not None else 0


def learns_pairs_of_titles(plan: Plan, material: Material) -> bool:
    """Tell whether titles are queries whose windows a teacher scores, and which are to be searched for."""
    if not material.titles or chosen(plan, material).recipe != "cross-encoder" or plan.base is None:
        return False
    return plan.teacher is not None or kind_of(plan.base) == "bi-encoder"


def run(plan: Plan, material: Material, progress: Progress, say: Callable[[str], None]) -> Outcome:
    """Train.

    Args:
        say: Called with lines for people.

    Raises:
        RelevanceError: There is too little data, or the base does not fit.
    """
    kind = kind_of(plan.base) if plan.base is not None else None
    choice = chosen(plan, material)
    say(f"recipe {choice.recipe}: {choice.reason}")
    used = trainable(material)
    left_out = len(material.queries) - len(used)
    if left_out:
        say(f"left out: {left_out} of {len(material.queries)} queries, {WHY_LEFT_OUT}")
    material = replace(material, queries={name: material.queries[name] for name in used}, left_out=left_out)
    if material.titles and not titles_of(choice.recipe, material):
        say(
            "titles are not learned from here: the recipes that do are a bi-encoder without a --teacher, and "
            "a cross-encoder with one, or that starts from a bi-encoder"
        )
    plan.work.mkdir(parents=True, exist_ok=True)
    before, learn = _starts(plan, kind, choice.recipe, material, progress)
    if choice.recipe in ("fusion", "head"):
        return _cross_fitted(plan, material, choice, before, _told(learn, plan.folds, progress))
    loss = None
    if choice.recipe == "cross-encoder":
        loss = choose_loss(plan.loss, [[*material.relevant(query).values()] for query in used])
        say(f"loss {loss.name}: {loss.reason}")
    return _held_out(plan, material, choice, loss, before, progress)


def _starts(
    plan: Plan, kind: Kind | None, recipe: Recipe, material: Material, progress: Progress
) -> tuple[Learned, Learn]:
    """Return the model before training, and what trains one where that takes seconds."""
    if plan.base is None:
        if not material.base:
            raise RelevanceError("a fusion takes the scores of a model: name it with --endpoint or --base")
        given = Given(material.base)
        return given, lambda train: given
    without_chatter()
    if recipe == "head" or (recipe == "fusion" and kind == "bi-encoder"):
        from rerank_proxy.relevance.training import heads

        base = plan.base
        embedded = heads.embed(material, base, plan.device, plan.work, progress)
        same = heads.unchanged(embedded, base)
        if recipe == "head":
            return same, lambda train: heads.learn(embedded, base, train)
        alone = Given(same.scores(list(material.queries)))
        return alone, lambda train: alone
    from rerank_proxy.relevance.training.networks import BiEncoder, PairEncoder

    network: Learned = (BiEncoder if kind == "bi-encoder" else PairEncoder)(material, plan.base, plan.device)
    scores = Given(network.scores(list(material.queries)))
    return scores, lambda train: scores


def _told(learn: Learn, outer: int, progress: Progress) -> Learn:
    """Return `learn` that tells how many models are done of those that all folds take."""
    trainings = (outer + 1) * 5
    done = 0

    def told(train: Sequence[str]) -> Learned:
        nonlocal done
        model = learn(train)
        done += 1
        progress("training and measuring", min(done, trainings), trainings)
        return model

    return told


def _cross_fitted(plan: Plan, material: Material, choice: Choice, before: Learned, learn: Learn) -> Outcome:
    """Measure each query with a model of the other folds, then train with all of them."""
    parts = folds(material.queries, plan.folds, plan.seed)
    runs: dict[str, dict[str, Any]] = {FIRST: {}, BASE: {}, TRAINED: {}}
    if choice.recipe != "fusion":
        runs[FUSED] = {}
    for part in parts:
        ready = with_weight(material, learn, part.train, plan.seed)
        runs[TRAINED].update(ready.run(material, part.held_out))
        if FUSED in runs:
            weight = fit(material, part.train, before.scores(part.train))
            runs[FUSED].update(Ready(before, weight).run(material, part.held_out))
    every = list(material.queries)
    runs[FIRST].update(_of_first(material, every))
    runs[BASE].update(_alone(material, before, every))
    assessment = _assessed(plan, material, runs)
    ready = with_weight(material, learn, every, plan.seed)
    return Outcome(plan, material, choice, assessment, ready, parts, refitted=True)


def _held_out(
    plan: Plan, material: Material, choice: Choice, loss: Loss | None, before: Learned, progress: Progress
) -> Outcome:
    """Train with a part of the queries, stop by another, and measure with the rest."""
    part = held_out(material.queries, plan.held_out, plan.seed)
    if len(part.held_out) < FEWEST:
        raise RelevanceError(
            f"--held-out {plan.held_out:g} of the queries are {len(part.held_out)}, and fewer than {FEWEST} "
            "show nothing: keep back a larger share"
        )
    inner = held_out({name: material.queries[name] for name in part.train}, _DEV, plan.seed + 1)
    trained = _trained(plan, material, loss, inner, progress)
    ready = Ready(trained, fit(material, inner.held_out, trained.scores(inner.held_out)))
    weight = fit(material, part.train, before.scores(part.train))
    runs: dict[str, Run] = {
        FIRST: _of_first(material, part.held_out),
        BASE: _alone(material, before, part.held_out),
        TRAINED: ready.run(material, part.held_out),
        FUSED: Ready(before, weight).run(material, part.held_out),
    }
    assessment = _assessed(plan, material, runs)
    return Outcome(plan, material, choice, assessment, ready, [part], refitted=False, loss=loss)


def _trained(plan: Plan, material: Material, loss: Loss | None, part: Part, progress: Progress) -> Learned:
    """Train a cross-encoder with a loss, or a bi-encoder without one."""
    from rerank_proxy.relevance.training import bi_encoders, cross_encoders
    from rerank_proxy.relevance.training.trainers import Schedule

    assert plan.base is not None, "the choice of the recipe sees to it"
    epochs, batch, rate = (3, 8, 2e-5) if loss else (2, 32, 3e-5)
    schedule = Schedule(plan.epochs or epochs, plan.batch or batch, plan.rate or rate, plan.seed)
    learn = partial(cross_encoders.learn, loss=loss.name) if loss else bi_encoders.learn
    return learn(
        material,
        plan.base,
        part.train,
        part.held_out,
        device=plan.device,
        schedule=schedule,
        work=plan.work,
        progress=progress,
    )


def _of_first(material: Material, queries: Sequence[str]) -> Run:
    return {query: material.first[query] for query in queries}


def _alone(material: Material, model: Learned, queries: Sequence[str]) -> Run:
    """Rank windows by a model. What an endpoint has scored beyond them is left out."""
    return {query: reordered(material.window(query), of) for query, of in model.scores(queries).items()}


def _assessed(plan: Plan, material: Material, runs: Mapping[str, Run]) -> Assessment:
    return assess(material.judgments, runs, plan.seed)
