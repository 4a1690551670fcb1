"""Cloud IDs, as Elastic Cloud shows them for a deployment: `NAME:` and the address in base64."""

import binascii
from typing import Final

_EXPECTED: Final = "expected a Cloud ID, as Elastic Cloud shows it: NAME:BASE64"
_HTTPS_PORT: Final = 443


def url_of_cloud_id(cloud_id: str) -> str:
    """Return the URL of the Elasticsearch that a Cloud ID names.

    The rules are those of the official clients (`parse_cloud_id` of elastic-transport): the decoded text is
    `DOMAIN[:PORT]$ELASTICSEARCH$KIBANA`, and the host is `ELASTICSEARCH.DOMAIN`.

    Raises:
        ValueError: It is not one, or names no Elasticsearch.
    """
    try:
        decoded = binascii.a2b_base64(cloud_id.partition(":")[2].encode("ascii")).decode("ascii")
    except ValueError:  # UnicodeError and binascii.Error are ValueErrors
        raise ValueError(_EXPECTED) from None
    domain, *names = decoded.split("$")
    domain, has_port, port = domain.partition(":")
    if not _is_host(domain) or (has_port and not _is_port(port)):
        raise ValueError(_EXPECTED)
    if not names or not names[0]:
        raise ValueError("names a domain but no Elasticsearch: copy it again from the deployment's page")
    if not _is_host(names[0]):
        raise ValueError(_EXPECTED)
    number = int(port) if has_port else _HTTPS_PORT
    return f"https://{names[0]}.{domain}" + ("" if number == _HTTPS_PORT else f":{number}")


def _is_host(name: str) -> bool:
    labels = name.split(".")
    return all(0 < len(label) < 64 for label in labels) and all(c.isalnum() or c in ".-_" for c in name)


def _is_port(text: str) -> bool:
    return text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536
