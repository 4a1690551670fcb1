"""Find a model's files, and tell one set of files from another."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages import package as packages
from rerank_proxy.engine.loading.packages.package import Package
from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.sources import repository
from rerank_proxy.engine.loading.sources.progress import hub_progress
from rerank_proxy.observe.log import adopt_libraries
from rerank_proxy.settings import EngineSettings, ModelSettings

_log = logging.getLogger(__name__)

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_DESCRIPTIONS: Final = ("*.json", "*.txt", "*.model", "*.jinja", "artifact.metadata")
_CODE: Final = "*.py"
_SAFE_WEIGHTS: Final = "*.safetensors"
_TORCH_WEIGHTS: Final = "*.bin"
_ONNX: Final = (
    "onnx/model.onnx",
    "onnx/model.onnx_data",
    "model.onnx",
    "model.onnx_data",
    "*/model.safetensors",  # weights of modules behind the transformer
)
_OTHER_RUNTIMES: Final = ("onnx/*", "openvino/*")


def locate(name: str, settings: ModelSettings, engine: EngineSettings) -> Path | Package:
    """Return a model's directory or package, downloaded if need be.

    A directory may have a package beside a model of transformers, which is taken unless a package is named.

    Args:
        name: Of the model; its package has this name unless the settings give another.

    Raises:
        ModelLoadError: It is not there, or cannot be downloaded.
    """
    package_name = settings.package or name.removeprefix(".")
    if repository.is_repository(settings.source):
        directory = engine.artifacts_dir or repository.default_artifacts_dir()
        return repository.fetch(settings.source, package_name, directory.expanduser(), offline=engine.offline)
    directory = resolve(
        settings.source,
        settings.revision,
        settings.backend,
        offline=engine.offline,
        code=settings.trust_remote_code,
    )
    there = packages.names_in(directory)
    of_transformers = any((directory / file).is_file() for file in ("config.json", "modules.json"))
    if settings.package is None and (of_transformers or not there):
        return directory
    if settings.package is None and len(there) == 1:
        package_name = there[0]
    if package_name not in there:
        have = ", ".join(there) or "none"
        raise ModelLoadError(
            f"[{settings.source}] has no package [{package_name}]; it has: {have}. Name one with the model's "
            "[package] setting"
        )
    return packages.read(directory, package_name)


def resolve(
    source: str, revision: str | None, backend: str = "auto", *, offline: bool, code: bool = False
) -> Path:
    """Return the directory that holds the model's files, downloaded from the hub if need be.

    Args:
        backend: The one that is to run them: it has the files downloaded that it reads.
        code: Download Python code, too.

    Raises:
        ModelLoadError: There is no such directory, and the hub does not give the files.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()  # so that all files are of one version when a link is set to another meanwhile
    if path.exists():
        raise ModelLoadError(f"[{source}] is a file; give the directory that holds the model's config.json")
    if not _HUB_ID.fullmatch(source):
        raise ModelLoadError(f"there is no directory [{source}]; check the path (in a container: the mount)")
    return _from_hub(source, revision, backend, offline=offline, code=code)


def _from_hub(repository: str, revision: str | None, backend: str, *, offline: bool, code: bool) -> Path:
    # Imported here: it takes a while, and models in directories do not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    def fetch(weights: Sequence[str], ignored: Sequence[str]) -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                local_files_only=offline,
                allow_patterns=[*_DESCRIPTIONS, *weights, *([_CODE] if code else [])],
                ignore_patterns=list(ignored),
                tqdm_class=hub_progress(repository),
            )
        )

    def fetch_first() -> Path:
        """Fetch the files of the first kind of weights that the repository has."""
        kinds = [_ONNX] if backend == "onnx" else [(_SAFE_WEIGHTS,), (_TORCH_WEIGHTS,), _ONNX]
        for weights in kinds[:-1]:
            directory = fetch(weights, _OTHER_RUNTIMES)
            if any(directory.rglob(*weights)):
                return directory
        return fetch(kinds[-1], ())

    adopt_libraries()
    if not offline:
        _log.info("looking for [%s] on the model hub; a first download takes a while", repository)
    try:
        return fetch_first()
    except (OSError, ValueError, HFValidationError) as error:
        raise ModelLoadError(_hub_problem(repository, revision, error, offline=offline)) from error


def _hub_problem(repository: str, revision: str | None, error: Exception, *, offline: bool) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name = f"[{repository}]" + (f" at revision [{revision}]" if revision else "")
    no_directory = f"there is no directory [{repository}], and "
    if offline:
        return (
            f"{no_directory}the local hub cache does not hold {name} while engine.offline is set; "
            "download it once with `hf download`, or give a directory"
        )
    if isinstance(error, GatedRepoError):
        return f"the hub gives {name} to approved users only; ask for access there and set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"the hub's [{repository}] has no revision [{revision}]; give a branch, tag or commit it has"
    if isinstance(error, RepositoryNotFoundError):
        return f"{no_directory}the hub has no {name}; check the spelling, or set HF_TOKEN if it is private"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{no_directory}{name} could not be fetched from the hub ({reason}); check the network, "
        "or give a directory"
    )


def fingerprint(directory: Path, parameters: Mapping[str, object]) -> str:
    """Return a SHA-256 in hex over everything that determines a score: the model's files and how it is run.

    Files count by name and content, not by date, so that copies of a model have one fingerprint, and a
    changed file of the same size another. Reading them costs little beside loading them.
    """
    return _fingerprint(directory, parameters, _files(directory))


def fingerprint_of(directory: Path, parameters: Mapping[str, object], weights: Iterable[Path]) -> str:
    """Return such a fingerprint of a model whose weights are in other files than usual."""
    descriptions = (path for pattern in _DESCRIPTIONS for path in _matching(directory, pattern))
    modules = directory.glob(f"*/{_SAFE_WEIGHTS}")
    return _fingerprint(directory, parameters, {*descriptions, *modules, *weights})


def fingerprint_of_all(directory: Path, parameters: Mapping[str, object]) -> str:
    """Return a fingerprint over all files of a model, where it is not known which of them matter."""
    return _fingerprint(directory, parameters, (path for path in directory.rglob("*") if path.is_file()))


def _fingerprint(directory: Path, parameters: Mapping[str, object], files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(parameters.items()):
        digest.update(f"{key}={value!r}\0".encode())
    for path in sorted(files):
        with model_files.opened(path) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(directory).as_posix()}={content}\0".encode())
    return digest.hexdigest()


def _files(directory: Path) -> Iterator[Path]:
    """Yield weights, descriptions and code, at the top and one level below: in modules."""
    for pattern in (*_DESCRIPTIONS, _CODE, _SAFE_WEIGHTS, _TORCH_WEIGHTS):
        yield from _matching(directory, pattern)


def _matching(directory: Path, pattern: str) -> Iterator[Path]:
    yield from (path for path in directory.glob(pattern) if path.is_file())
    yield from (path for path in directory.glob(f"*/{pattern}") if path.is_file())
