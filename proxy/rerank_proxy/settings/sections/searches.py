"""The sections about searches."""

from pydantic import ByteSize, Field

from rerank_proxy.settings.values import Count, Reloaded, Seconds, Section


class SearchSettings(Section):
    timeout_s: Seconds = Field(
        30.0, description="Seconds that the reranking of one search may take (native's own limit is 30)."
    )
    deadline_s: Reloaded[Seconds] = Field(
        120.0,
        description="Seconds that a reranked search may take altogether: its inner searches and its scores.",
    )
    bound_scores_by_request_timeout: Reloaded[bool] = Field(
        False,
        description="Let the `timeout` of a request, if it is shorter, end the wait for scores with a 429. "
        "Native's does not: it bounds the query phase of the final search, as well as shards can.",
    )
    allow_rerank_failures: Reloaded[bool] = Field(
        False,
        description="Keep the first-stage order of hits when reranking fails, for retrievers that do not "
        "set `allow_rerank_failures` themselves. `false`: the search fails, as native's does.",
    )
    check_privileges: bool = Field(
        True,
        description="Require the privilege `monitor_inference` (or one that includes it) for a reranked "
        "search if upstream has security, as native does. `false`: the privileges for its inner searches "
        "are enough.",
    )
    evaluate_unavailable_retrievers: bool = Field(
        True,
        description="Evaluate `rrf`, `linear` and `pinned` without a reranker here too if upstream does "
        "not know them.",
    )
    chunked_characters: Count = Field(
        1_000_000,
        description="The most characters of a text, from its beginning, that are divided into chunks "
        "(`chunk_rescorer`, `long_document_strategy: chunk`). A text that is cut counts as `truncated` in "
        "`X-Rerank`.",
    )
    show_counts: bool = Field(
        True,
        description="Tell clients in `X-Rerank` and in profiles how many texts were scored, how many scores "
        "were in the cache, and how long it took. `false`: only the outcome, the endpoint and the model. "
        "Metrics count in any case.",
    )
    max_rank_window_size: Reloaded[int] = Field(
        0,
        ge=0,
        description="The largest `rank_window_size` of a reranker, wherever it stands in a search; a larger "
        "one is answered 400. 0: no bound but native's own.",
    )
    max_response: Reloaded[ByteSize] = Field(
        ByteSize(512 * 1024 * 1024), description="The largest answer to an inner search that is accepted."
    )


class AsyncSearchSettings(Section):
    max_searches: Reloaded[Count] = Field(
        1000,
        description="The most asynchronous searches that are kept, including running ones. The oldest "
        "finished one of the caller who has the most makes room for a new one. If all are running, the new "
        "one is answered 429, unless its caller has less than half of them and another one more than half.",
    )
    max_bytes: Reloaded[ByteSize] = Field(
        ByteSize(256 * 1024 * 1024),
        description="The most bytes of kept answers; beyond it the oldest of the caller who has the most are "
        "dropped.",
    )
    max_keep_alive_s: Reloaded[Seconds] = Field(
        5 * 24 * 3600.0,
        description="The longest time that a search is kept; a longer `keep_alive` is shortened to it. No "
        "search outlives the process.",
    )
