"""The sections about models on this machine: those of the settings, uploaded ones, and the engine."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field, model_validator

from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings
from rerank_proxy.settings.values import Count, Device, PackageName, Seconds, Section, check_source

PublishedTemplate = Literal[
    "qwen3-reranker",
    "mxbai-rerank-v2",
    "bge-reranker-v2-gemma",
    "bge-reranker-v2-minicpm-layerwise",
    "bge-reranker-v2.5-gemma2-lightweight",
]
"""Formats of query and text that people publish with their models, by the name of the model."""


class ModelSettings(Section):
    source: Annotated[str, AfterValidator(check_source)] = Field(
        description="A directory, the id of a model on the Hugging Face hub, or the URL (`https`, `http`, "
        "`file`) of a repository of Elasticsearch's model packages.",
        min_length=1,
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    package: PackageName | None = Field(
        None,
        description="The package in a repository, or in a directory of packages. Absent: the model's name "
        "without a leading dot, or the only package of the directory.",
    )
    backend: str = Field(
        "auto",
        min_length=1,
        description="The backend that runs the model. `auto`: `torch`, or `onnx` for a checkpoint that has "
        "an ONNX file and no weights; otherwise the name of a backend of an installed package (entry points "
        "`rerank_proxy.backends`).",
    )
    preload: bool = Field(
        True,
        description="Load the model at the start and keep it loaded. `false`: load it when it is needed.",
    )
    max_length: Count | None = Field(
        None,
        description="The most tokens of a query, a text and the special tokens together; for a "
        "late-interaction model, of a text. Absent: the model's own limit.",
    )
    truncation: Literal["balanced", "longest_first", "second", "first", "none"] | None = Field(
        None,
        description="What is cut when a pair is too long. `balanced`: as Elasticsearch does for Elastic "
        "Rerank; `longest_first`: as sentence-transformers does; `second`: only the text, as Eland does; "
        "`first`: only the query; `none`: nothing. What these two do not cut is refused with a 400, as by "
        "Elasticsearch. Where query and text are encoded apart, each counts by itself. Absent: what the "
        "model package says, otherwise `balanced`.",
    )
    windows: Literal["max", "mean"] | None = Field(
        None,
        description="Divide a text that is too long into windows of tokens, score each with the query, and "
        "take their largest raw score (`max`) or the mean of them (`mean`). Absent: the text is cut.",
    )
    window_overlap: int | None = Field(
        None,
        ge=0,
        description="How many tokens neighbouring windows of a text share, at most half of a window. "
        "Absent: an eighth of `max_length`.",
    )
    max_windows: Count | None = Field(
        None,
        description="The most windows of a text. What is behind the last is cut, and the text counts as "
        "`truncated` in `X-Rerank`. Absent: 32.",
    )
    activation: Literal["identity", "sigmoid"] | None = Field(
        None,
        description="The function that is applied to a cross-encoder's logit. Absent: none (`identity`), as "
        "native Elasticsearch returns the raw logit.",
    )
    truncate_dim: Count | None = Field(
        None,
        description="How many dimensions of a bi-encoder's embeddings are compared, for models that were "
        "trained for fewer (Matryoshka). Absent: what the model says, otherwise all of them.",
    )
    template: PublishedTemplate | None = Field(
        None,
        description="The published format of query and text for a model that says none itself, such as a "
        "generating reranker. Absent: what the model's files or its name say.",
    )
    instruction: str | None = Field(
        None,
        min_length=1,
        max_length=8192,
        description="What a model whose format has a place for an instruction is told to do; an endpoint can "
        "have another one (`task_settings.instruction`). Absent: what the model says.",
    )
    cutoff_layer: Count | None = Field(
        None,
        description="The layer at which a layer-wise reranker is cut off; the fewer, the faster. Absent: its "
        "last one.",
    )
    trust_remote_code: bool = Field(
        False,
        description="Run the Python code that the model's files bring. It can do anything that the proxy "
        "can: read it first, and pin its `revision`. No request of a client can set this.",
    )


class TrainedModelsSettings(Section):
    upload: bool = Field(
        False,
        description="Allow clients to upload models (`_ml/trained_models`), as Eland does. Such a model is "
        "a TorchScript program that runs in the proxy: anyone who may upload one can run code there.",
    )
    max_model_size: ByteSize = Field(
        ByteSize(2 * 1024 * 1024 * 1024), description="The largest program of an uploaded model."
    )
    max_models: Count = Field(32, description="The most uploaded models, including those being uploaded.")
    max_total_size: ByteSize = Field(
        ByteSize(16 * 1024 * 1024 * 1024),
        description="The most bytes of the programs of all uploaded models together, including those being "
        "uploaded.",
    )
    max_uploads: Count = Field(4, description="The most models that may be uploaded at a time.")
    upload_idle_s: Seconds = Field(
        30.0,
        description="Seconds without a further part after which an upload makes room for another that "
        "needs it. One of several uploads of a caller makes room immediately for a caller who has none.",
    )
    upload_timeout_s: Seconds = Field(
        600.0, description="Seconds without a further part after which an upload is removed."
    )


class EngineSettings(Section):
    device: Device = Field(
        "auto",
        description="`cpu`, `mps`, `cuda`, which is every GPU, or some of them (`cuda:1`, `cuda:0,cuda:2`). "
        "Each GPU has its own copy of a model, and its batches run beside those of the others. `auto`: "
        "GPUs of CUDA if there are any.",
    )
    precision: Literal["auto", "fp32", "int8", "bf16", "fp16"] | None = Field(
        None,
        description="Arithmetic of a model's body. One below `fp32` is compared with it when a model is "
        "loaded, and refused where it changes the order of texts. `auto`: the fastest that does not, by "
        "torch or another library, measured once for a model and machine. Absent: `fp32` on CPU, `fp16` "
        "on GPU.",
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of all workers together. 0: as many as this process may use (affinity, "
        "cgroup).",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Batches that run side by side on the CPU, each with its share of the threads. 0: one "
        "for each thread, at most 8.",
    )
    budget_tokens: int = Field(
        0, ge=0, description="The most padded tokens in a batch. 0: 2048 on CPU, 16384 on GPU."
    )
    queue_tokens: Count = Field(
        4_000_000,
        description="The most tokens that may wait for the device; beyond it searches are answered 429.",
    )
    queue_bytes: ByteSize = Field(
        ByteSize(256 * 1024 * 1024),
        description="The most memory for the texts of all calls in progress; beyond it searches are "
        "answered 429.",
    )
    queue_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The part of `queue_tokens` and of `queue_bytes` that one caller may have while others "
        "wait; beyond it its searches are answered 429. Callers, by their credentials, share the device "
        "equally. 1: callers are not told apart.",
    )
    text_characters: Count = Field(
        250_000,
        description="The most characters of a query or a text that are given to a model, from its "
        "beginning. A text that is cut counts as `truncated` in `X-Rerank`.",
    )
    cache_bytes: ByteSize = Field(
        ByteSize(64 * 1024 * 1024),
        description="The most memory for what models gave before: scores by query and text, some 450 bytes "
        "each, and for models that encode texts alone their vectors. Filled only as far as it is used. "
        "0: no cache.",
    )
    cache_scope: Literal["shared", "caller", "none"] = Field(
        "shared",
        description="Who gets scores that were computed before. `shared`: all callers, of whom one can learn "
        "that another has scored the same text for the same query. `caller`: only requests with the same "
        "credentials; those without any are one caller. `none`: each call is computed, in spite of "
        "`cache_bytes` and `shared_cache`. See [security](security.md#what-the-cache-tells).",
    )
    shared_cache: SharedCacheSettings = Field(
        SharedCacheSettings(), description="A second level of the cache, which replicas share."
    )
    idle_unload_s: Seconds = Field(
        900.0,
        description="Seconds without calls after which a model is unloaded, unless something keeps it "
        "loaded.",
    )
    model_memory: ByteSize | None = Field(
        None,
        description="The most memory for the weights of all loaded models together. A model that needs room "
        "has those unloaded that nothing keeps loaded, the least recently used first. Absent: no limit.",
    )
    max_batch_s: Seconds = Field(
        120.0,
        description="Seconds after which a batch counts as hanging: its model is failed, and the reranking "
        "process is restarted. A model whose batches are slow gets up to twenty times as long as they "
        "usually take, but never longer than `max_load_s`. The same limits apply to tokenising.",
    )
    max_load_s: Seconds = Field(
        1800.0,
        description="Seconds after which the loading of a model, without its download, counts as hanging.",
    )
    artifacts_dir: Path | None = Field(
        None,
        description="Where packages from model repositories are kept, and what `precision: auto` has "
        "measured and exported. Absent: `rerank-proxy/models` in `XDG_CACHE_HOME`, or in `~/.cache`.",
    )
    offline: bool = Field(
        False,
        description="Never contact a model hub or repository: what is needed must be in a local cache.",
    )

    @model_validator(mode="after")
    def _callers_told_apart(self) -> "EngineSettings":
        shared = self.shared_cache
        if self.cache_scope == "caller" and shared.url is not None and not shared.has_password:
            raise ValueError(
                "`cache_scope: caller` needs a password in `shared_cache`: replicas tell callers apart by "
                "digests under a key that is made of it"
            )
        return self
