"""Run the command `certs`."""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

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


def make_certs(directory: Path, names: Sequence[str], days: int, *, overwrite: bool) -> Iterator[str]:
    """Write an authority, a certificate and its key. Yield what to tell the user, line by line.

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
    yield from (f"wrote {path}" for path in paths)
    yield f"for {', '.join(names)}; valid for {days} days; for development, not for production"
    yield ""
    yield "Settings of the proxy:"
    yield f"  tls: {{cert: {_yaml(paths[1].absolute())}, key: {_yaml(paths[2].absolute())}}}"
    yield "Clients trust the file of the authority (ca_certs, cafile, CACert):"
    yield f"  {paths[0].absolute()}"
    yield "or its SHA-256 fingerprint (ssl_assert_fingerprint, caFingerprint, CertificateFingerprint):"
    yield f"  {colons(made.fingerprint)}"


def _yaml(path: Path) -> str:
    """Return a path as YAML has it within braces: where it may be taken for more than a name, in quotes."""
    return str(path) if _PLAIN.fullmatch(str(path)) else json.dumps(str(path), ensure_ascii=False)
