"""An Elasticsearch unpacked on disk, ready to be started."""

import hashlib
import shutil
import stat
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import TestbedError


@dataclass(frozen=True, slots=True)
class Distribution:
    """An Elasticsearch on disk.

    Attributes:
        home: The directory with `bin`, `lib` and `config`; it is only read.
        java_home: The Java to run it with; None for the bundled one.
        origin: Where it came from, for people to read.
        settings: Settings for `elasticsearch.yml` that this build knows and others may refuse.
    """

    version: str
    home: Path
    java_home: Path | None
    origin: str
    settings: dict[str, str] = field(default_factory=dict)


def check_digest(path: Path, algorithm: str, expected: str) -> None:
    """Check the digest of a file.

    Raises:
        TestbedError: It differs from the expected one.
    """
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, algorithm).hexdigest()
    if actual != expected.lower():
        raise TestbedError(
            f"{path.name} is damaged or another file than expected ({algorithm} {actual}, not {expected}): "
            "try again, and if that does not help, check the server or mirror of your downloads"
        )


def unpack_zip(archive: Path, target: Path) -> None:
    """Unpack the archive's one directory as `target`, readable by every user whatever the umask."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            _, _, inside = entry.filename.partition("/")
            path = target / inside
            if entry.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(entry) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            path.chmod(0o755 if entry.external_attr >> 16 & stat.S_IXUSR else 0o644)
    open_to_all(target)


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpack an archive like `unpack_zip`, with the system's `tar`: Python's is slow, and unsafe before
    3.11.4.
    """
    target.mkdir(parents=True, exist_ok=True)
    command = ["tar", "-xzf", str(archive), "-C", str(target), "--strip-components=1", "--no-same-owner"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode != 0:
        raise TestbedError(f"{archive.name} cannot be unpacked: {run.stderr.strip() or run.returncode}")
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o444)
    open_to_all(target)


def open_to_all(directory: Path) -> None:
    """Allow every user to list and enter a directory and those below it."""
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
