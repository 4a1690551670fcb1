"""Tells addresses of the public internet from special ones.

The tables are those of IANA's registries of special-purpose addresses (RFC 6890 and what came after it), as
of 2025. They are written out because `ipaddress` answers differently from one version of Python to the next,
and takes what is deprecated (site-local, IPv4-compatible, the relays of 6to4) for public.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

SPECIAL_V4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared address space of carriers
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, the metadata of clouds among them
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # protocol assignments: DS-Lite, the dummy address, anycast of PCP and TURN
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112, answered by whichever node is nearest
            "192.52.193.0/24",  # AMT, likewise
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "192.168.0.0/16",  # private use
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and limited broadcast
        ),
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All else is unallocated, local, multicast or special: `::`, `::1`, `::a.b.c.d`, `::ffff:0:a.b.c.d`,
`64:ff9b:1::/48`, `100::/64`, `100:0:0:1::/64`, `5f00::/16`, `fc00::/7`, `fe80::/10`, `fec0::/10`, `ff00::/8`.
"""
SPECIAL_V6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, AMT, AS112, ORCHID, drones
            "2001:db8::/32",  # documentation
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_EMBEDDING: Final[Mapping[ipaddress.IPv6Network, Callable[[int], int]]] = {
    ipaddress.IPv6Network("::ffff:0:0/96"): lambda value: value & 0xFFFFFFFF,  # IPv4-mapped
    ipaddress.IPv6Network("64:ff9b::/96"): lambda value: value & 0xFFFFFFFF,  # NAT64
    ipaddress.IPv6Network("2002::/16"): lambda value: value >> 80 & 0xFFFFFFFF,  # 6to4
}
"""Networks whose addresses hold an IPv4 address that they lead to, and how it is taken out."""
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE | re.DOTALL)


def is_public(address: IpAddress) -> bool:
    """Return whether the address is one of the public internet, and so is any that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_V4)
    if address.scope_id is not None:
        return False
    for network, embedded in _EMBEDDING.items():
        if address in network:
            return is_public(ipaddress.IPv4Address(embedded(int(address))))
    return address in _GLOBAL_UNICAST and not any(address in network for network in SPECIAL_V6)


def literal(host: str) -> IpAddress | None:
    """Return the address that a host is written as, None for a name.

    Raises:
        ValueError: A system's resolver may take the text for an address (`0x7f.1`, `127.1`, `2130706433`,
            `010.0.0.1`), and another reader for another one or for a name.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        if _NUMERIC.fullmatch(host) or ":" in host or "%" in host:
            raise
        return None
