"""The directory of uploaded models. Methods block, unless they say otherwise: call them on a thread.

```
DIRECTORY/ID/                a complete model package: it appears and disappears by one rename
DIRECTORY/.uploads/process-…/ID/
                             an upload to one process; what a process leaves there, the next one removes
DIRECTORY/.trash/            pending deletions
DIRECTORY/.deployments.json  the deployments that are started
DIRECTORY/.failed.json       models that must not be loaded before a client starts them, and why
```
"""

import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from rerank_proxy.engine.loading.packages import package
from rerank_proxy.engine.loading.packages.tokenization import read_tokenization
from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from rerank_proxy.engine.loading.packages.writing import FILE_MODE, describe, write_vocabulary
from rerank_proxy.files.atomic import remove_half_written, replace
from rerank_proxy.files.leftovers import OwnedDirectory, remove_leftovers
from rerank_proxy.files.state import make_private_directory
from rerank_proxy.trained_models.definition import PartialDefinition
from rerank_proxy.trained_models.deployment import Deployment
from rerank_proxy.trained_models.model_config import TrainedModelConfig
from rerank_proxy.trained_models.requests.ids import is_id

logger = logging.getLogger(__name__)

_CONFIG: Final = "trained_model.json"
_VOCABULARY: Final = "vocabulary.json"
_DEPLOYMENTS: Final = ".deployments.json"
_UPLOADS_PREFIX: Final = "process-"
_FAILED: Final = ".failed.json"


class ModelDirectory:
    """The files of all models of one proxy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._all_uploads = path / ".uploads"
        self._own_uploads: OwnedDirectory | None = None
        self._pending_deletions = path / ".trash"

    def open(self) -> list[TrainedModelConfig]:
        """Remove what was left half done, and return the configurations of the complete models.

        Raises:
            OSError: The directory cannot be read.
        """
        # Another proxy may run on this directory: its uploads stay. Those of processes that have ended go.
        remove_leftovers(self._all_uploads, _UPLOADS_PREFIX)
        remove_half_written(self.path / _DEPLOYMENTS)
        shutil.rmtree(self._pending_deletions, ignore_errors=True)
        if not self.path.exists():  # it is made when there is something to keep in it
            return []
        names = sorted(entry.name for entry in self.path.iterdir() if is_id(entry.name))
        return [config for name in names if (config := self._read(name)) is not None]

    def check(self, config: TrainedModelConfig) -> None:
        """Check that the engine could run a model with this configuration.

        Raises:
            ModelLoadError: It is not the configuration of a reranker.
        """
        read_tokenization(config.inference_config)

    def size(self, model_id: str) -> int:
        """Return the size of a complete model's program in bytes; 0 if it is not there."""
        try:
            return (self.package(model_id) / (model_id + package.MODEL_SUFFIX)).stat().st_size
        except OSError:
            return 0

    def package(self, model_id: str) -> Path:
        """Return the directory of a complete model, which is a package named after its id."""
        return self.path / model_id

    def begin(self, model_id: str, max_size: int) -> PartialDefinition:
        """Make a directory for an upload, without blocking for long."""
        if self._own_uploads is None:
            self._make(self._all_uploads)
            self._own_uploads = OwnedDirectory(self._all_uploads, _UPLOADS_PREFIX)
        directory = self._uploads / model_id
        directory.mkdir()
        return PartialDefinition(model_id, directory, max_size)

    def close(self) -> None:
        """Remove the uploads that are not complete."""
        if self._own_uploads is not None:
            self._own_uploads.remove()
            self._own_uploads = None

    def put_vocabulary(self, config: TrainedModelConfig, vocabulary: Vocabulary) -> None:
        """Keep the vocabulary of an upload.

        Raises:
            ModelLoadError: It does not fit the model's tokenization.
        """
        kind = read_tokenization(config.inference_config).kind
        write_vocabulary(self._uploads / config.model_id / _VOCABULARY, vocabulary, kind)

    def finish(self, config: TrainedModelConfig, definition: PartialDefinition) -> None:
        """Make a package of an upload whose program and vocabulary are complete."""
        model_id = config.model_id
        made = self._uploads / model_id / "package"
        shutil.rmtree(made, ignore_errors=True)  # of an attempt that failed
        made.mkdir()
        definition.assemble(made / (model_id + package.MODEL_SUFFIX))
        shutil.copyfile(self._uploads / model_id / _VOCABULARY, made / (model_id + package.VOCABULARY_SUFFIX))
        about = {"description": config.description, "inference_config": config.inference_config}
        describe(made, model_id, about)
        replace(made / _CONFIG, msgspec.json.encode(asdict(config)), FILE_MODE)
        os.replace(made, self.package(model_id))
        shutil.rmtree(self._uploads / model_id)

    def detach_upload(self, model_id: str) -> Path:
        """Free the id of an upload, without blocking for long. Return its pending deletion."""
        return self._detach(self._uploads / model_id)

    def detach(self, model_id: str) -> Path:
        """Free the id of a complete model, without blocking for long. Return its pending deletion."""
        return self._detach(self.package(model_id))

    def delete(self, pending: Path) -> None:
        """Carry out a pending deletion, which takes long for a large model."""
        shutil.rmtree(pending, ignore_errors=True)

    def read_deployments(self) -> list[Deployment]:
        """Return the deployments that were started when the last process ended."""
        path = self.path / _DEPLOYMENTS
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Deployment])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as problem:
            logger.warning("cannot read [%s], so no deployment is started again: %s", path, problem)
            return []

    def read_failures(self) -> dict[str, str]:
        """Return the models that must not be loaded, with the reason."""
        path = self.path / _FAILED
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as problem:
            logger.warning("cannot read [%s], so all models are loaded: %s", path, problem)
            return {}

    def write_failures(self, failures: Mapping[str, str]) -> None:
        self._make(self.path)
        replace(self.path / _FAILED, msgspec.json.encode(failures))

    def write_deployments(self, deployments: Iterable[Deployment]) -> None:
        self._make(self.path)
        content = msgspec.json.encode([asdict(deployment) for deployment in deployments])
        replace(self.path / _DEPLOYMENTS, content)

    @property
    def _uploads(self) -> Path:
        """The directory of this process, which `begin` makes."""
        assert self._own_uploads is not None
        return self._own_uploads.path

    def _make(self, directory: Path) -> None:
        """Make a directory that other users cannot look into."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        make_private_directory(self.path)
        directory.mkdir(exist_ok=True)

    def _read(self, model_id: str) -> TrainedModelConfig | None:
        path = self.package(model_id) / _CONFIG
        try:
            config = msgspec.json.decode(path.read_bytes(), type=TrainedModelConfig)
        except (OSError, msgspec.DecodeError) as problem:
            logger.warning("[%s] is not an uploaded model and is not served: %s", path.parent, problem)
            return None
        if config.model_id != model_id:
            logger.warning("[%s] holds model [%s] and is not served", path.parent, config.model_id)
            return None
        return config

    def _detach(self, path: Path) -> Path:
        self._make(self._pending_deletions)
        pending = self._pending_deletions / uuid.uuid4().hex
        os.replace(path, pending)
        return pending
