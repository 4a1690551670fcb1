"""Models on this machine. Knows nothing of Elasticsearch or HTTP.

A call of `Engine.scores` goes through these stages:

1. **Admit** (`engine.py`, `scoring.py`): find the model (`models.py`), make sure that there is memory for the
   texts (`text_memory.py`), and wait until the model is loaded (`model.py`).
2. **Prepare and look up** (`encoding/inputs.py`, `batching/cache.py`): cut texts that are too long, hash
   each, and take the outputs that are remembered, or that replicas share (`shared_cache/`). What another call
   has under way is shared, not run twice (`Scheduler.join`).
3. **Tokenise** (`encoding/`): calls take turns on two threads (`tokenizing.py`). A `Scorer` (`scorers.py`),
   one for each kind of model, has texts encoded as `Row`s (`encode.py`, `tokenizer.py`, `truncate.py`). A
   long text may have a row for each of its windows (`windows.py`), which are jobs of their own
   (`divided_texts.py`).
4. **Queue** (`batching/scheduler.py`): the rows of a call are the jobs of one request, in the lane of their
   model (`batching/jobs.py`). The queue is bounded in tokens, and in time: a call that could not be done by
   its deadline is refused (`guesses.py`, `batching/pace.py`).
5. **Batch** (`batching/batch_builder.py`): choose the jobs that run together, of one request or of several.
   Requests have their turns as if they shared the device equally (`batching/shares.py`).
6. **Run** (`batching/runner.py`): a batch goes to the worker with the least to do (`batching/places.py`).
   Each worker (`batching/worker.py`) lays the rows of its batches end to end as a `Batch` (`rows.py`), and
   has a `Backend` (`backends/protocol.py`) score them. Outputs are remembered.
7. **Score** (`scorers.py`, `late_interaction.py`, `sparse.py` of `encoding/`): from outputs to one relevance
   score per text, in input order. What takes long is done in steps, on the threads that tokenise.

Models are loaded in `loading/`: find or download the files, inspect them, build scorer and backend, run a
first batch. `hangs/` watches loads, batches and tokenising.

Rooms import one another in one direction only: `loading`, `batching` → `encoding`, `backends` → `hangs` →
`rows.py`, `errors.py`. A `Backend` is one of `backends/` or runs the model of a plug-in, which
`ModelSettings.backend` names.

Importing this package is cheap: torch and transformers are imported when a model is loaded.
"""

from rerank_proxy.engine.encoding.prompts import MAX_INSTRUCTION
from rerank_proxy.engine.engine import Engine
from rerank_proxy.engine.errors import (
    DeadlineExceededError,
    DeadlineUnreachableError,
    EngineClosedError,
    EngineError,
    InferenceError,
    InputTooLargeError,
    ModelFailedError,
    NoInstructionError,
    QueueFullError,
    UnknownModelError,
)
from rerank_proxy.engine.model import ModelStatus
from rerank_proxy.engine.reservations import Reservation
from rerank_proxy.engine.scoring import Scores

__all__ = [
    "MAX_INSTRUCTION",
    "DeadlineExceededError",
    "DeadlineUnreachableError",
    "Engine",
    "EngineClosedError",
    "EngineError",
    "InferenceError",
    "InputTooLargeError",
    "ModelFailedError",
    "ModelStatus",
    "NoInstructionError",
    "QueueFullError",
    "Reservation",
    "Scores",
    "UnknownModelError",
]
