"""Where the keys for the secrets of endpoints come from.

It is imported by the process that relays, and takes no library for that reason.
"""

import base64
import logging
import re
import secrets
from pathlib import Path
from typing import Final

from proxy.inference.registry import files
from proxy.settings import InvalidSettingsError, RegistrySettings, Settings

logger = logging.getLogger(__name__)

KEY_FILE: Final = "registry.key"
_KEY_BYTES: Final = 32
_KEY: Final = re.compile(r"[A-Za-z0-9+/_-]{43}=?")


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


def parse_keys(text: str) -> list[bytes]:
    """The keys of a file, one a line; empty lines and lines that begin with `#` are none.

    Raises:
        ValueError: One is no key, or there is none. The message does not hold it.
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
        raise ValueError(f"line {number} is no key: expected {_KEY_BYTES} random bytes in base64")
    standard = line.rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(standard + "=")


def configured_keys(settings: RegistrySettings) -> list[bytes] | None:
    """The keys that the settings give or name.

    Raises:
        InvalidSettingsError: The file that they name cannot be used.
    """
    if settings.key is not None:
        return parse_keys(settings.key.get_secret_value())
    if settings.key_file is None:
        return None
    try:
        return parse_keys(settings.key_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettingsError(
            f"[registry.key_file]: {settings.key_file}: cannot be read: {error.strerror}"
        ) from None
    except ValueError as error:
        problem = "is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidSettingsError(f"[registry.key_file]: {settings.key_file}: {problem}") from None


def check_registry(settings: Settings) -> None:
    """Whether what the settings say of the registry can be used, without reading it.

    Raises:
        InvalidSettingsError: A file that they name cannot be read, or there is no place to keep anything.
    """
    configured_keys(settings.registry)
    if settings.registry.store == "file":
        files.state_directory(settings)


class OwnKeys:
    """The key file of a single proxy in its state directory, made when it is first needed.

    Raises:
        OSError, ValueError: From both methods: the file cannot be read, or holds no keys.
    """

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory / KEY_FILE

    def read(self) -> list[bytes] | None:
        """None when there is no file."""
        try:
            return parse_keys(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def read_or_make(self) -> list[bytes]:
        """Under the lock of the directory: processes that need one at once get the same."""
        found = self.read()
        if found is not None:
            return found
        key = new_key()
        files.replace(self.path, f"{key}\n".encode("ascii"))
        logger.info("a key for the secrets of inference endpoints was made: %s", self.path)
        return parse_keys(key)
