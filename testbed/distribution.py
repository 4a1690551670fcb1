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
    """Where one Elasticsearch lies.

    Attributes:
        home: the directory with `bin`, `lib` and `config`; it is only read.
        java_home: the Java to run it with; None: its own.
        origin: where it came from, for people.
        settings: what this build must or may be told in `elasticsearch.yml`, and another would refuse.
    """

    version: str
    home: Path
    java_home: Path | None
    origin: str
    settings: dict[str, str] = field(default_factory=dict)


def check_digest(path: Path, algorithm: str, expected: str) -> None:
    """Raises: TestbedError: the file is not the one that was meant."""
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, algorithm).hexdigest()
    if actual != expected.lower():
        raise TestbedError(
            f"{path.name} is damaged or not the file that was meant ({algorithm} {actual}, not {expected}): "
            "try again, and if it stays so, look at what serves your downloads"
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
    """As `unpack_zip`. By the system's own `tar`: Python's is safe only from 3.11.4 on, and slow."""
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
    """Let every user list and pass a directory and those below it."""
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
