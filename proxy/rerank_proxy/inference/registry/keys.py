"""Where the keys for the secrets of endpoints come from.

The process that relays imports this module, which for that reason uses no third-party library.
"""

import base64
import logging
import re
import secrets
from pathlib import Path
from typing import Final

from rerank_proxy.files import atomic
from rerank_proxy.files.regular import UnfitFileError, read_if_exists
from rerank_proxy.files.state import state_directory
from rerank_proxy.settings import InvalidSettingsError, RegistrySettings, Settings

logger = logging.getLogger(__name__)

KEY_FILE: Final = "registry.key"
_KEY_BYTES: Final = 32
_MAX_FILE_BYTES: Final = 64 * 1024
_KEY: Final = re.compile(r"[A-Za-z0-9+/_-]{43}=?")


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


def parse_keys(text: str) -> list[bytes]:
    """Return the keys of a file, one per line, without empty lines and comments, which begin with `#`.

    Raises:
        ValueError: A line is not a key, or there is none. The message does not hold the line.
    """
    lines = [line.strip() for line in text.splitlines()]
    keys = [
        _decode(line, number) for number, line in enumerate(lines, 1) if line and not line.startswith("#")
    ]
    if not keys:
        raise ValueError("holds no key")
    return keys


def _decode(line: str, number: int) -> bytes:
    if not _KEY.fullmatch(line):
        raise ValueError(f"line {number} is not a key: expected {_KEY_BYTES} random bytes in base64")
    standard = line.rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(standard + "=")


def configured_keys(settings: RegistrySettings) -> list[bytes] | None:
    """Return the keys that the settings hold or name; None where they do neither.

    Raises:
        InvalidSettingsError: The file that they name cannot be used.
    """
    if settings.key is not None:
        return parse_keys(settings.key.get_secret_value())
    if settings.key_file is None:
        return None
    try:
        keys = _read(settings.key_file)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnfitFileError as error:
        problem = error.problem
    else:
        if keys is not None:
            return keys
        problem = "cannot be read: No such file or directory"
    raise InvalidSettingsError(f"[registry.key_file]: {settings.key_file}: {problem}")


def _read(path: Path) -> list[bytes] | None:
    """Return the keys of a file; None when there is no file.

    Raises:
        OSError, UnfitFileError: It cannot be read, or holds no keys. The message has nothing of its content.
    """
    found = read_if_exists(path, _MAX_FILE_BYTES)
    try:
        return None if found is None else parse_keys(found.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UnfitFileError(path, "is not text") from None
    except ValueError as error:
        raise UnfitFileError(path, str(error)) from None


def check_registry(settings: Settings) -> None:
    """Check that the settings of the registry can be used, without reading it.

    Raises:
        InvalidSettingsError: A file that they name cannot be read, or there is no directory for the registry.
    """
    configured_keys(settings.registry)
    if settings.registry.store == "file":
        state_directory(settings)


class OwnKeys:
    """The key file in the state directory of a single proxy.

    Raises:
        OSError, UnfitFileError: From both methods: the file cannot be read or written, or holds no keys.
    """

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory / KEY_FILE

    def read(self) -> list[bytes] | None:
        """Return the keys; None when there is no file."""
        return _read(self.path)

    def make(self) -> list[bytes]:
        """Make a key and return it. The caller holds the lock of the directory, and `read` found no file."""
        key = new_key()
        atomic.replace(self.path, f"{key}\n".encode("ascii"))
        logger.info("a key for the secrets of inference endpoints was made: %s", self.path)
        return parse_keys(key)
