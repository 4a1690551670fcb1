"""`rerank-proxy certs`: certificates for development, that clients and the proxy can use at once."""

import asyncio
import ssl
import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from cryptography import x509

from rerank_proxy.cli import main
from rerank_proxy.settings import ListenerTlsSettings
from rerank_proxy.tls.listening import listener_tls
from tests.support.raw_http import OK, answering, connect, raw_server
from tests.support.tls import fingerprint


def certs(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["certs", *map(str, arguments)])


def test_what_it_prints_serves_what_clients_trust(tmp_path: Path) -> None:
    made = tmp_path / "a: b, {c} #d"  # which YAML would take for more than a name
    result = certs(made)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    settings = yaml.safe_load(lines[lines.index("Settings of the proxy:") + 1])
    owned = listener_tls(ListenerTlsSettings.model_validate(settings["tls"]), "tls")
    assert owned is not None
    assert lines[-1].strip().replace(":", "").lower() == fingerprint(made / "ca.crt")

    async def ask(host: str) -> bytes:
        serve, _ = answering(OK)
        trusting = ssl.create_default_context(cafile=made / "ca.crt")
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # as from Python 3.13 on
        async with (
            raw_server(serve, tls=owned.current) as server,
            connect(server.port, host, tls=trusting) as wire,
        ):
            await wire.send(b"GET / HTTP/1.1\r\n\r\n")
            return (await wire.read_message()).raw

    for host in ("localhost", "127.0.0.1"):
        assert asyncio.run(ask(host)) == OK


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    assert certs(tmp_path, "--name", "es.example").exit_code == 0
    key = tmp_path / "tls.key"
    first = key.read_bytes()
    refused = certs(tmp_path)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"rerank-proxy: there is already {tmp_path}/ca.crt, ")
    assert refused.stderr.endswith("; --overwrite replaces it\n")
    assert key.read_bytes() == first
    assert certs(tmp_path, "--overwrite").exit_code == 0
    assert key.read_bytes() != first


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert certs(made).exit_code == 0
    assert stat.S_IMODE((made / "tls.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_faults_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, status in (((tmp_path / "file" / "x",), 1), ((tmp_path, "--name", "ü" * 70), 1)):
        result = certs(*arguments)
        assert result.exit_code == status
        assert result.stderr.startswith("rerank-proxy: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..b", "a b", "-a", "a" * 64, ".".join(["a" * 60] * 5), "a\nb", "*", "a.*.b", "10.0.0.0/8",
     "es.example:9200", "https://es.example", "[::1]", "fe80::1%eth0"],
)  # fmt: skip
def test_bad_names(tmp_path: Path, name: str) -> None:
    """A certificate for it would fit no URL."""
    result = certs(tmp_path / "made", "--name", name)
    assert result.exit_code == 1
    assert "expected host names or addresses, without scheme, port and brackets" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_names(tmp_path: Path) -> None:
    given = ["es.example.", "*.es.example", "bücher.example", "my_host", "10.0.0.1", "::1"]
    assert certs(tmp_path, *(part for name in given for part in ("--name", name))).exit_code == 0
    certificate = x509.load_pem_x509_certificate((tmp_path / "tls.crt").read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in found] == [
        "es.example", "*.es.example", "xn--bcher-kva.example", "my_host", "10.0.0.1", "::1",
    ]  # fmt: skip


def test_all_or_nothing(tmp_path: Path) -> None:
    """An earlier certificate without its key would be of no use."""
    assert certs(tmp_path).exit_code == 0
    before = (tmp_path / "tls.crt").read_bytes()
    (tmp_path / "tls.key").unlink()
    (tmp_path / "tls.key").symlink_to(tmp_path / "absent" / "key")
    refused = certs(tmp_path, "--overwrite")
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"rerank-proxy: {tmp_path}: tls.key: is a symbolic link")
    assert (tmp_path / "tls.crt").read_bytes() == before
