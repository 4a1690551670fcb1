"""Run the command `rerank`, which needs the engine and nothing of the proxy around it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rerank_proxy.cli.models import engine_log_printed, score, with_progress
from rerank_proxy.cli.options import CommandError
from rerank_proxy.cli.report import Say
from rerank_proxy.engine import Engine, EngineError
from rerank_proxy.search.ranks.scores import MIN_VALUE, normalize
from rerank_proxy.settings import ModelSettings, Settings
from rerank_proxy.xcontent.java_numbers import print_float


@dataclass(frozen=True, slots=True)
class Scored:
    """A text by its place, and its score as Elasticsearch prints it."""

    index: int
    score: str


async def rerank_texts(
    settings: Settings, model: str, query: str, texts: Sequence[str], say: Say, *, raw: bool
) -> list[Scored]:
    """Score texts, and return them best first.

    Args:
        say: Called with lines about the progress of loading.

    Raises:
        CommandError: The model cannot be loaded or used.
    """
    chosen = settings.models.get(model, ModelSettings(source=model))
    engine = Engine({model: chosen}, settings.engine)
    with engine_log_printed(say):
        await engine.start()
        try:
            reranked = await with_progress(score(engine, model, query, texts), model, say)
        except EngineError as failure:
            raise CommandError(str(failure)) from None
        finally:
            await engine.close()
    scores = np.asarray(reranked.values, dtype=np.float32)
    shown = scores if raw else np.maximum(normalize(scores.tolist()), np.float32(MIN_VALUE))
    order = np.argsort(-scores, kind="stable")
    return [Scored(int(place), print_float(float(shown[place])).decode()) for place in order]
