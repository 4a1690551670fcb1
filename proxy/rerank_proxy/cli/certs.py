"""Run the command `certs`."""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rerank_proxy.cli.options import CommandError
from rerank_proxy.files.atomic import replace, target
from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.state import make_private_directory

AUTHORITY: Final = "ca.crt"
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
_PUBLIC: Final = 0o644
_PRIVATE: Final = 0o600
_PLAIN: Final = re.compile(r"/[\w./-]*")


def default_names() -> tuple[str, ...]:
    """Return the names by which this machine is called."""
    return tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname())))


@dataclass(frozen=True, slots=True)
class Certs:
    """What was made.

    Attributes:
        fingerprint: SHA-256 of the authority's certificate, in hexadecimal with colons.
    """

    authority: Path
    certificate: Path
    key: Path
    names: Sequence[str]
    days: int
    fingerprint: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        files = {name: str(getattr(self, name).absolute()) for name in ("authority", "certificate", "key")}
        return {**files, "names": list(self.names), "days": self.days, "fingerprint": self.fingerprint}

    def lines(self) -> Iterator[str]:
        """Yield what to tell people, line by line."""
        yield from (f"wrote {path}" for path in (self.authority, self.certificate, self.key))
        yield f"for {', '.join(self.names)}; valid for {self.days} days; for development, not for production"
        yield ""
        yield "Settings of the proxy:"
        yield f"  tls: {{cert: {_yaml(self.certificate.absolute())}, key: {_yaml(self.key.absolute())}}}"
        yield "Clients trust the file of the authority (ca_certs, cafile, CACert):"
        yield f"  {self.authority.absolute()}"
        yield "or its SHA-256 fingerprint (ssl_assert_fingerprint, caFingerprint, CertificateFingerprint):"
        yield f"  {self.fingerprint}"


def make_certs(directory: Path, names: Sequence[str], days: int, *, overwrite: bool) -> Certs:
    """Write an authority, a certificate and its key.

    Raises:
        CommandError: A name is none, there are files already, or they cannot be written.
    """
    from rerank_proxy.tls.development import make_development
    from rerank_proxy.tls.pem import colons

    paths = [directory / name for name in (AUTHORITY, CERTIFICATE, KEY)]
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there and not overwrite:
        raise CommandError(f"there is already {', '.join(there)}; --overwrite replaces it")
    try:
        made = make_development(names, days)
    except (ValueError, UnicodeError) as error:
        raise CommandError(f"a certificate cannot be for {', '.join(names)}: {error}") from None
    contents = (made.authority, made.chain, made.key)
    try:
        make_private_directory(directory)
        for path in paths:
            target(path)  # all or nothing: what is written has to fit together
        for path, content, mode in zip(paths, contents, (_PUBLIC, _PUBLIC, _PRIVATE), strict=True):
            replace(path, content, mode)
    except OSError as error:
        raise CommandError(f"{directory}: cannot be written: {error.strerror}") from None
    except UnfitFileError as error:
        raise CommandError(f"{directory}: {error}") from None
    authority, certificate, key = paths
    return Certs(authority, certificate, key, names, days, colons(made.fingerprint))


def _yaml(path: Path) -> str:
    """Return a path as YAML has it within braces: where it may be taken for more than a name, in quotes."""
    return str(path) if _PLAIN.fullmatch(str(path)) else json.dumps(str(path), ensure_ascii=False)
