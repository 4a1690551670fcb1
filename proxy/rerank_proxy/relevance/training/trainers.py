"""How both trainers of sentence-transformers are run: early stopping, checkpoints, seeds, nothing sent."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.networks import Network, reached

_METRIC: Final = "early_stopping_ndcg"
_EVALUATIONS: Final = 10
"""How often a training is measured, and a checkpoint written."""
_FEWEST: Final = 3
_FINISHED: Final = "finished.pt"
_TORCH_WRITES: Final = "inline_container"
"""The part of torch whose errors are those of files."""
_SHARE: Final = 0.25
"""What measuring may cost beside training, where it would cost much."""
_BACKWARDS: Final = 3
"""What it costs to train with a text, where it costs 1 to score it."""
_PATIENCE: Final = 3
"""How many measurements in a row may bring nothing before a training ends."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast is trained.

    Attributes:
        epochs: At most.
        batch: Examples of one step.
        rate: The highest learning rate; it rises for a tenth of the steps and falls to 0.
        seed: Of the order of examples, and of dropout.
    """

    epochs: int
    batch: int
    rate: float
    seed: int


def _telling(what: str, progress: Progress) -> Any:
    """Return a callback that tells the progress of a training."""

    def told(args: Any, state: Any, control: Any, **more: Any) -> None:
        progress(what, state.global_step, state.max_steps)

    callback = TrainerCallback()
    callback.on_step_end = told
    return callback


def measurements(trained: int, measured: int) -> int:
    """Return how often a training is measured, if measuring is dear.

    Args:
        trained: Texts that the network is trained with.
        measured: Texts that it scores to be measured once.
    """
    affordable = _SHARE * _BACKWARDS * trained / max(measured, 1)
    return min(max(_FEWEST, int(affordable)), _EVALUATIONS)


def arguments(
    schedule: Schedule, rows: int, folder: Path, device: str, measured: int = _EVALUATIONS
) -> dict[str, Any]:
    """Return the arguments that both trainers take.

    Args:
        measured: How often.
    """
    steps = max(1, schedule.epochs * rows // schedule.batch)
    every = max(1, steps // measured)
    return {
        "output_dir": str(folder),
        "num_train_epochs": schedule.epochs,
        "per_device_train_batch_size": schedule.batch,
        "learning_rate": schedule.rate,
        "warmup_steps": steps // 10,
        "seed": schedule.seed,
        "data_seed": schedule.seed,
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{_METRIC}",
        "greater_is_better": True,
        "report_to": [],
        "logging_strategy": "no",
        "disable_tqdm": True,
        "push_to_hub": False,
        "use_cpu": device == "cpu",
        "dataloader_num_workers": 0,
        "restore_callback_states_from_checkpoint": True,
    }


def checkpoints(work: Path, schedule: Schedule, rows: Mapping[str, Sequence[Any]], start: str) -> Path:
    """Return the folder for checkpoints of a training: another one for other examples or another start."""
    asked = json.dumps([repr(schedule), dict(rows), start], ensure_ascii=True).encode()
    return work / f"checkpoints-{hashlib.sha256(asked).hexdigest()[:16]}"


def train(
    make: Callable[..., Any],
    what: str,
    material: Material,
    network: Network,
    dev: Sequence[str],
    folder: Path,
    progress: Progress,
) -> None:
    """Train a network, from its last checkpoint if there is one, and leave it with the best weights.

    Args:
        make: Makes the trainer of an evaluator and callbacks.
        dev: The queries that decide which weights are best, and when there is nothing more to gain.
    """

    def measured(model: Any, folder: str | None, epoch: float, steps: int) -> dict[str, float]:
        return {_METRIC: reached(material, network, dev)}

    trainer = make(
        evaluator=[measured],  # of a list, which may have functions in it, each is called
        callbacks=[EarlyStoppingCallback(early_stopping_patience=_PATIENCE), _telling(what, progress)],
    )
    trainer.remove_callback(PrinterCallback)  # it writes to where figures go as JSON
    finished = folder / _FINISHED
    if finished.exists():
        network.model.load_state_dict(torch.load(finished, weights_only=True, map_location="cpu"))
    else:
        with _told(folder):
            trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
            _keep(network, finished)
    network.model.eval()


def _last_checkpoint(folder: Path) -> str | None:
    """Return the last checkpoint that is whole, and remove those that a kill or a full disk has cut.

    What is written last into a checkpoint is the state of the trainer.
    """
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))) is not None:
        try:
            json.loads((Path(last) / TRAINER_STATE_NAME).read_bytes())
        except (OSError, ValueError):
            shutil.rmtree(last)
        else:
            return str(last)
    return None


def _keep(network: Network, path: Path) -> None:
    """Keep the weights of a training that has ended: a run that is stopped later does not repeat it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(network.model.state_dict(), part)
    part.replace(path)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say in a line what stops a training that is not its own fault: a full disk, or a GPU's memory.

    Raises:
        RelevanceError: One of both.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise RelevanceError(
            "the GPU has too little memory for the training: give a smaller --batch"
        ) from None
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _TORCH_WRITES not in str(error):
            raise
        raise RelevanceError(
            f"{folder}: cannot be written: {str(error).splitlines()[0]}; checkpoints take some times the "
            "size of the model: --work names another place, and the same command goes on"
        ) from None


def seeded(seed: int) -> None:
    """Have everything random begin at a seed, and operations be those that repeat exactly."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
