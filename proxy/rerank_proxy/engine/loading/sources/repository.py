"""Model repositories: Elasticsearch's model packages behind a URL, as `xpack.ml.model_repository` names one.

Packages that come over HTTP are kept. A package is complete when it has metadata: they are written last.
"""

import logging
import os
from collections.abc import Iterator
from hashlib import blake2b
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, url2pathname, urlopen

from filelock import FileLock
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages import package as packages
from rerank_proxy.engine.loading.packages.package import METADATA_SUFFIX, Metadata, Package
from rerank_proxy.engine.loading.packages.vocabulary import MAX_VOCABULARY_BYTES
from rerank_proxy.engine.loading.packages.writing import FILE_MODE
from rerank_proxy.engine.loading.sources.progress import shown
from rerank_proxy.files.atomic import remove_half_written, replace
from rerank_proxy.http.connection_faults import connection_fault

_log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 60.0
"""Seconds for a connection, and between two pieces of an answer."""

_PIECE_BYTES: Final = 1024 * 1024
_ATTEMPTS: Final = 3
"""Tries of a download that breaks off, each from where the one before ended."""

_OR_A_DIRECTORY: Final = "or give a directory that holds the package's three files"


def is_repository(source: str) -> bool:
    """Return whether the source of a model is the URL of a repository."""
    return "://" in source


def default_artifacts_dir() -> Path:
    """Return where packages are kept unless the settings say otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache or "~/.cache").expanduser() / "rerank-proxy" / "models"


def fetch(url: str, name: str, artifacts_dir: Path, *, offline: bool) -> Package:
    """Fetch the package of a name, unless its files are on this machine already.

    Args:
        artifacts_dir: Where packages from other machines are kept.
        offline: Take the package that is kept there.

    Raises:
        ModelLoadError: It cannot be fetched, or is damaged.
    """
    if urlsplit(url).scheme == "file":
        return _from_file(url, name)
    kept = artifacts_dir / _folder(url)
    if offline:
        if not (kept / (name + METADATA_SUFFIX)).is_file():
            raise ModelLoadError(
                f"package [{name}] of [{url}] is not in [{artifacts_dir}] while engine.offline is set; "
                f"fetch it once without, {_OR_A_DIRECTORY}"
            )
        return packages.read(kept, name)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with FileLock(kept / f"{name}.lock"):  # other processes may fetch the same
            return _Download(url.rstrip("/"), name, kept).package()
    except (OSError, NotImplementedError) as error:  # the latter from file systems without locks
        reason = getattr(error, "strerror", None) or error
        raise ModelLoadError(
            f"package [{name}] of [{url}] cannot be kept in [{kept}] ({reason}); set "
            "engine.artifacts_dir to a directory that can be written"
        ) from error


def _from_file(url: str, name: str) -> Package:
    directory = Path(url2pathname(urlsplit(url).path))
    if not directory.is_dir():
        raise ModelLoadError(f"[{url}]: there is no directory [{directory}]; check the path")
    if name not in packages.names_in(directory):
        raise ModelLoadError(_no_such_package(url, name, packages.names_in(directory)))
    return packages.read(directory, name)


def _no_such_package(url: str, name: str, others: list[str] | None = None) -> str:
    found = f" It has: {', '.join(others)}." if others else ""
    return (
        f"[{url}] has no {name}{METADATA_SUFFIX}.{found} Name the package with the model's [package] setting"
    )


def _folder(url: str) -> str:
    """Return a name for people that tells one repository from another."""
    digest = blake2b(url.rstrip("/").encode(), digest_size=6).hexdigest()
    return f"{urlsplit(url).hostname}-{digest}"


class _UnreachableError(ModelLoadError):
    """There was no answer, or one with a failure of the server."""


class _Download:
    """Fetches a package from a repository to a directory."""

    def __init__(self, url: str, name: str, directory: Path) -> None:
        self._url = url
        self._name = name
        self._directory = directory

    def package(self) -> Package:
        """Fetch what is missing or damaged. Without an answer, return the package that is already here."""
        path = self._directory / (self._name + METADATA_SUFFIX)
        try:
            content = self._small(path.name, packages.MAX_METADATA_BYTES)
        except _UnreachableError as error:
            if not path.is_file():
                raise
            _log.warning("taking the copy of package [%s] that is already here: %s", self._name, error)
            return packages.read(self._directory, self._name)
        metadata = packages.decode(content, Metadata, f"{self._url}/{path.name}")
        package = packages.package_of(self._directory, self._name, metadata, f"{self._url}/{path.name}")
        if metadata.size is None or metadata.sha256 is None:
            raise ModelLoadError(
                f"[{self._url}/{path.name}] has no size or no sha256 of the model, which would be run "
                "unchecked: complete it"
            )
        if not self._has_model(package):
            self._fetch_model(package, metadata.size)
        if not (package.vocabulary_path.is_file() and path.is_file() and path.read_bytes() == content):
            vocabulary = self._small(package.vocabulary_path.name, MAX_VOCABULARY_BYTES)
            for file, data in ((package.vocabulary_path, vocabulary), (path, content)):
                remove_half_written(file)
                replace(file, data, FILE_MODE)
        return package

    def _has_model(self, package: Package) -> bool:
        if not package.model_path.is_file():
            return False
        try:
            return bool(package.sha256)
        except ModelLoadError as error:
            _log.warning("fetching package [%s] again: %s", self._name, error)
            return False

    def _fetch_model(self, package: Package, size: int) -> None:
        name = package.model_path.name
        # Named with its hash, so that a download does not go on with the rest of another version.
        part = package.model_path.with_name(f"{name}.{package.metadata.sha256}.part")
        retrying = Retrying(
            retry=retry_if_exception_type(_UnreachableError), stop=stop_after_attempt(_ATTEMPTS), reraise=True
        )
        retrying(self._rest, name, part, size)
        try:
            packages.check_model(part, package.metadata)
        except ModelLoadError as error:
            part.unlink()
            raise ModelLoadError(f"{error}: the files of [{self._url}] do not belong together") from None
        os.replace(part, package.model_path)
        for other in self._directory.glob(f"{name}.*.part"):
            other.unlink()

    def _rest(self, name: str, part: Path, size: int) -> None:
        """Fetch the rest of the file."""
        start = part.stat().st_size if part.is_file() else 0
        if start > size:
            part.unlink()
            start = 0
        if start == size:
            return
        with self._get(name, start) as response:
            if start and response.status != 206:
                start = 0  # It does not support ranges and begins anew.
            with part.open("ab" if start else "wb") as file, shown(name, start, size) as progress:
                for piece in self._pieces(response, name, size - start):
                    file.write(piece)
                    progress.add(len(piece))
        if (end := part.stat().st_size) != size:
            raise _UnreachableError(
                f"the download of [{self._url}/{name}] broke off at {end} of {size} bytes; check the "
                "network, and try again: it goes on from there"
            )

    def _small(self, name: str, limit: int) -> bytes:
        with self._get(name, 0) as response:
            return b"".join(self._pieces(response, name, limit))

    def _get(self, name: str, start: int) -> HTTPResponse:
        url = f"{self._url}/{quote(name)}"
        request = Request(url, headers={"Accept-Encoding": "identity"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response: HTTPResponse = urlopen(request, timeout=_TIMEOUT_S)
        except HTTPError as error:
            error.close()
            if error.code == 404 and name.endswith(METADATA_SUFFIX):
                raise ModelLoadError(_no_such_package(self._url, self._name)) from None
            kind = _UnreachableError if error.code >= 500 else ModelLoadError
            raise kind(
                f"[{url}] was answered {error.code}; check the repository, {_OR_A_DIRECTORY}"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(url, error) from error
        return response

    def _pieces(self, response: HTTPResponse, name: str, limit: int) -> Iterator[bytes]:
        """Yield the body, up to where it breaks off. More than `limit` bytes are refused."""
        read = 0
        while True:
            try:
                piece = response.read(_PIECE_BYTES)
            except (OSError, HTTPException) as error:
                raise self._unreachable(f"{self._url}/{name}", error) from error
            if not piece:
                return
            read += len(piece)
            if read > limit:
                raise ModelLoadError(
                    f"[{self._url}/{name}] is larger than the {limit} bytes that it may have; "
                    "check the repository"
                )
            yield piece

    @staticmethod
    def _unreachable(url: str, error: Exception) -> _UnreachableError:
        reason = connection_fault(error, f"{_TIMEOUT_S:g} s").words
        return _UnreachableError(
            f"[{url}] cannot be fetched ({reason}); check the network, {_OR_A_DIRECTORY}"
        )
