"""Trials: which searches take part in a comparison, and what of them is remembered for clicks."""

import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Protocol
from urllib.parse import unquote

import msgspec

from rerank_proxy.concurrency.offload import offload
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.concurrency.timers import Timers
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import Applied, Interleaved, Shadow
from rerank_proxy.online.draws import Mode, Part, draw, mode_of
from rerank_proxy.online.memory import ClickMemory, Compared, Shown
from rerank_proxy.search.first_stage import is_comparable, outermost
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.search.run import Run, SearchAnswer
from rerank_proxy.search.timings import Timings
from rerank_proxy.search.trial import Trial
from rerank_proxy.settings import OnlineSettings
from rerank_proxy.upstream.protocol import Upstream, UpstreamRefusedError

logger = logging.getLogger(__name__)

_ALL: Final = "_all"
ShadowOutcome = Literal["scored", "failed", "left_out"]


class TrialCounts(Protocol):
    """Hears of the searches that take part."""

    def search(self, mode: Mode) -> None:
        """Count a search by the part that it has taken."""

    def shadow(self, outcome: ShadowOutcome) -> None:
        """Count a scoring for comparison alone, by what became of it."""


class _Hit(msgspec.Struct):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Answer(msgspec.Struct):
    hits: _Hits


class _UnreadableError(Exception):
    """The hits of an answer cannot be read, as where a document is nested too deep."""


_decode_ids: Final = msgspec.json.Decoder(_Answer).decode


def _hits_of(body: bytes) -> list[_Hit]:
    try:
        return _decode_ids(body).hits.hits
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _UnreadableError from None


class Trials:
    """Says what part each search takes, remembers their answers, and scores in the shadow."""

    def __init__(self, settings: OnlineSettings, memory: ClickMemory, counts: TrialCounts) -> None:
        self._settings = settings
        self._memory = memory
        self._counts = counts
        seed = settings.seed
        self._seed: Final = secrets.token_bytes(32) if seed is None else seed.get_secret_value().encode()
        self._shadows = BackgroundTasks()
        self._timers = Timers()

    def use(self, settings: OnlineSettings) -> None:
        """Use other settings, for searches that begin from now on."""
        self._settings = settings
        bounds = {"max_searches": settings.max_searches, "max_bytes": settings.max_bytes}
        self._memory.use(**bounds, keep_s=settings.keep_s)
        if not settings.enabled:
            self._memory.clear()
        self._forget_in_time()

    @property
    def is_on(self) -> bool:
        """Whether clicks are counted at all."""
        return self._settings.enabled

    async def close(self) -> None:
        """End the scorings that are under way."""
        self._timers.cancel()
        await self._shadows.cancel()

    def begin(self, request: SearchRequest, upstream: Upstream) -> Trial | None:
        """Return the part that a search takes; None if its clicks are not counted.

        They are counted where a reranker is the outermost retriever. What is not comparable is reranked as
        ever.
        """
        settings, reranker = self._settings, outermost(request)
        if not settings.enabled or reranker is None:
            return None
        compares = settings.shadow_share > 0 or settings.interleave_share > 0
        if not compares or not is_comparable(request, reranker):
            return Trial("reranked", reranker)
        index = unquote(request.index or _ALL)
        drawn = draw(self._seed, _identity(request, reranker, upstream.caller))
        mode = mode_of(
            index,
            drawn.share,
            Part(settings.shadow_share, settings.shadow_indices),
            Part(settings.interleave_share, settings.interleave_indices),
        )
        against = settings.interleave_with
        if mode == "interleaved" and against == reranker.inference_id:
            return Trial("reranked", reranker)  # there is nothing to compare
        return Trial(mode, reranker, drawn.coins, against if mode == "interleaved" else None)

    def answered(self, run: Run, trial: Trial, answer: SearchAnswer) -> None:
        """Remember a search that was reranked, and give its answer its id."""
        last = next(reversed(run.outcomes), None)
        if not isinstance(last, Applied):
            return
        request = run.request
        page = trial.page(request.from_, request.page_size, request.final_min_score)
        compared = Compared(trial.mode, last.endpoint, last.model, trial.against)
        answer.search_id = self._memory.remember(compared, page)
        self._forget_in_time()
        if trial.mode == "interleaved":
            answer.outcome = Interleaved(last, trial.against)
        self._counts.search(trial.mode)

    def in_the_shadow(
        self, run: Run, trial: Trial, answer: SearchAnswer, score: Callable[[], Coroutine[Any, Any, Run]]
    ) -> None:
        """Score the window of a search whose answer keeps the first stage's order, once that is sent.

        Args:
            score: Ranks the window of the same search.
        """
        endpoint = trial.reranker.inference_id
        answer.outcome = Shadow(endpoint)
        self._counts.search("shadow")
        if not run.request.page_size:
            return  # there is nothing to click
        if len(self._shadows) >= self._settings.shadow_at_once:
            self._counts.shadow("left_out")
            return
        answer.search_id = id_ = self._memory.new_id()
        scoring = self._score(id_, endpoint, run.request.from_, answer.body, score)
        self._shadows.start(scoring, "shadow scoring")

    def _forget_in_time(self) -> None:
        """Forget what is too old, now and whenever the oldest of the others is.

        So it is decided then, and nothing is kept for longer, also where no search and no click follows.
        """
        left_s = self._memory.tidy()
        if left_s is not None:
            self._timers.start("the oldest", left_s, self._forget_in_time)

    async def _score(
        self,
        id_: str,
        endpoint: str,
        start: int,
        body: bytes,
        score: Callable[[], Coroutine[Any, Any, Run]],
    ) -> None:
        """Remember an answer, and the places that its documents have in the reranker's order."""
        Timings.of_what_goes_on()
        is_scored = False
        try:
            hits = await offload(len(body), _hits_of, body)
            del body  # which may be long, and would be kept for as long as the model takes
            shown = [Shown(hit.index, hit.id, place) for place, hit in enumerate(hits, start + 1)]
            self._memory.remember(Compared("shadow", endpoint, ""), shown, is_scored=False, id_=id_)
            self._forget_in_time()
            with stages.outliving("shadow scoring"):
                run = await score()
            last = next(reversed(run.outcomes), None)
            if run.trial is not None and isinstance(last, Applied):
                places = run.trial.places_after([(doc.index, doc.id) for doc in shown])
                self._memory.scored(id_, last.model, places)
                is_scored = True
        except (ElasticsearchError, UpstreamRefusedError, _UnreadableError):
            pass  # as the count says
        except Exception:
            # A defect ends one scoring, and no answer waits for it.
            logger.exception("a search was not scored in the shadow for an internal error")
        finally:
            if not is_scored:
                self._memory.forget(id_)
            self._counts.shadow("scored" if is_scored else "failed")


def _identity(request: SearchRequest, reranker: TextSimilarityReranker, caller: bytes) -> list[bytes]:
    """Return what makes a search that search on all of its pages: whose it is, where and what for."""
    told = (request.params.get("preference", ""), request.index or "", reranker.inference_id,
            reranker.inference_text)  # fmt: skip
    return [caller, *(each.encode("utf-8", "surrogatepass") for each in told)]
