"""Run the command `rerank`, which needs the engine and nothing of the proxy around it."""

from collections.abc import Callable, Sequence

import numpy as np

from rerank_proxy.cli.models import engine_log_printed, score, with_progress
from rerank_proxy.cli.options import CommandError
from rerank_proxy.engine import Engine, EngineError
from rerank_proxy.search.ranks.scores import MIN_VALUE, normalize
from rerank_proxy.settings import ModelSettings, Settings
from rerank_proxy.xcontent.java_numbers import print_float


async def rerank_texts(
    settings: Settings, model: str, query: str, texts: Sequence[str], say: Callable[[str], None], *, raw: bool
) -> list[str]:
    """Score texts, and return lines of score and text, best first.

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
    return [f"{print_float(float(shown[place])).decode()}\t{texts[place]}" for place in order]
