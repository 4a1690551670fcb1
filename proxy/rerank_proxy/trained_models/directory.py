"""Where uploaded models are kept. What says nothing else blocks: call it on a thread.

```
DIRECTORY/ID/                model packages, whole: they appear and go by one rename
DIRECTORY/.uploads/process-…/ID/
                             models on their way, of one process; what it leaves there, the next one removes
DIRECTORY/.trash/            models on their way out
DIRECTORY/.deployments.json  which deployments are started
DIRECTORY/.failed.json       which models must not be loaded before a client starts them, and why
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

from rerank_proxy.engine.loading import package
from rerank_proxy.engine.loading.package_writing import FILE_MODE, describe, write_vocabulary
from rerank_proxy.engine.loading.tokenization import read_tokenization
from rerank_proxy.engine.loading.vocabulary import Vocabulary
from rerank_proxy.files.atomic import remove_half_written, replace
from rerank_proxy.files.leftovers import OwnedDirectory, remove_leftovers
from rerank_proxy.files.state import make_private_directory
from rerank_proxy.trained_models.requests.config import TrainedModelConfig
from rerank_proxy.trained_models.requests.deployments import Deployment
from rerank_proxy.trained_models.requests.ids import is_id
from rerank_proxy.trained_models.upload import PartialDefinition

logger = logging.getLogger(__name__)

_CONFIG: Final = "trained_model.json"
_VOCABULARY: Final = "vocabulary.json"
_DEPLOYMENTS: Final = ".deployments.json"
_UPLOADS_PREFIX: Final = "process-"
_FAILED: Final = ".failed.json"


class ModelDirectory:
    """The files of all models of one proxy."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all_uploads = path / ".uploads"
        self._own_uploads: OwnedDirectory | None = None
        self._trash = path / ".trash"

    def open(self) -> list[TrainedModelConfig]:
        """Remove what was left half done, and tell which models are whole.

        Raises:
            OSError: The directory cannot be read.
        """
        # Another proxy may run on this directory, and what it receives is its own. The dead belong to none.
        remove_leftovers(self._all_uploads, _UPLOADS_PREFIX)
        remove_half_written(self._path / _DEPLOYMENTS)
        shutil.rmtree(self._trash, ignore_errors=True)
        if not self._path.exists():  # it is made when there is something to keep
            return []
        names = sorted(entry.name for entry in self._path.iterdir() if is_id(entry.name))
        return [config for name in names if (config := self._read(name)) is not None]

    def check(self, config: TrainedModelConfig) -> None:
        """Look for what would keep the engine from running a model with this configuration.

        Raises:
            ModelLoadError: It is not that of a reranker.
        """
        read_tokenization(config.inference_config)

    def size(self, model_id: str) -> int:
        """Bytes of a whole model's program; 0 when it is not there."""
        try:
            return (self.package(model_id) / (model_id + package.MODEL_SUFFIX)).stat().st_size
        except OSError:
            return 0

    def package(self, model_id: str) -> Path:
        """The directory of a whole model, which is the package that bears its id."""
        return self._path / model_id

    def begin(self, model_id: str, max_size: int) -> PartialDefinition:
        """Make room for a model that is uploaded, at once."""
        if self._own_uploads is None:
            self._make(self._all_uploads)
            self._own_uploads = OwnedDirectory(self._all_uploads, _UPLOADS_PREFIX)
        directory = self._uploads / model_id
        directory.mkdir()
        return PartialDefinition(model_id, directory, max_size)

    def close(self) -> None:
        """Forget the uploads that are not whole."""
        if self._own_uploads is not None:
            self._own_uploads.remove()
            self._own_uploads = None

    def put_vocabulary(self, config: TrainedModelConfig, vocabulary: Vocabulary) -> None:
        """Keep the vocabulary of an upload.

        Raises:
            ModelLoadError: It is not one for the model's tokenization.
        """
        kind = read_tokenization(config.inference_config).kind
        write_vocabulary(self._uploads / config.model_id / _VOCABULARY, vocabulary, kind)

    def finish(self, config: TrainedModelConfig, definition: PartialDefinition) -> None:
        """Make a package of a complete upload, vocabulary included."""
        model_id = config.model_id
        whole = self._uploads / model_id / "package"
        shutil.rmtree(whole, ignore_errors=True)  # of a try that failed
        whole.mkdir()
        definition.assemble(whole / (model_id + package.MODEL_SUFFIX))
        shutil.copyfile(
            self._uploads / model_id / _VOCABULARY, whole / (model_id + package.VOCABULARY_SUFFIX)
        )
        about = {"description": config.description, "inference_config": config.inference_config}
        describe(whole, model_id, about)
        replace(whole / _CONFIG, msgspec.json.encode(asdict(config)), FILE_MODE)
        os.replace(whole, self.package(model_id))
        shutil.rmtree(self._uploads / model_id)

    def bury_upload(self, model_id: str) -> Path:
        """Free the id of an upload, at once. What comes back is for `destroy`."""
        return self._bury(self._uploads / model_id)

    def bury(self, model_id: str) -> Path:
        """The same for a whole model."""
        return self._bury(self.package(model_id))

    def destroy(self, grave: Path) -> None:
        """Remove what was buried; it takes its time."""
        shutil.rmtree(grave, ignore_errors=True)

    def read_deployments(self) -> list[Deployment]:
        """Those that were started when the last process ended."""
        path = self._path / _DEPLOYMENTS
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Deployment])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as problem:
            logger.warning("[%s] cannot be read, so no deployment is started again: %s", path, problem)
            return []

    def read_failures(self) -> dict[str, str]:
        """Models that must not be loaded, with the reason."""
        path = self._path / _FAILED
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as problem:
            logger.warning("[%s] cannot be read, so all models are loaded: %s", path, problem)
            return {}

    def write_failures(self, failures: Mapping[str, str]) -> None:
        self._make(self._path)
        replace(self._path / _FAILED, msgspec.json.encode(failures))

    def write_deployments(self, deployments: Iterable[Deployment]) -> None:
        self._make(self._path)
        content = msgspec.json.encode([asdict(deployment) for deployment in deployments])
        replace(self._path / _DEPLOYMENTS, content)

    @property
    def _uploads(self) -> Path:
        """Of this process; made with its first upload."""
        assert self._own_uploads is not None
        return self._own_uploads.path

    def _make(self, directory: Path) -> None:
        """Others need not see what is in it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        make_private_directory(self._path)
        directory.mkdir(exist_ok=True)

    def _read(self, model_id: str) -> TrainedModelConfig | None:
        path = self.package(model_id) / _CONFIG
        try:
            config = msgspec.json.decode(path.read_bytes(), type=TrainedModelConfig)
        except (OSError, msgspec.DecodeError) as problem:
            logger.warning("[%s] is no uploaded model and is not served: %s", path.parent, problem)
            return None
        if config.model_id != model_id:
            logger.warning("[%s] holds model [%s] and is not served", path.parent, config.model_id)
            return None
        return config

    def _bury(self, path: Path) -> Path:
        self._make(self._trash)
        grave = self._trash / uuid.uuid4().hex
        os.replace(path, grave)
        return grave
