"""Who may ask the admin listener what.

The status of `/live` and `/ready` is for everyone: the kubelet and load balancers have no token, and it tells
nothing. Everything else names models and nodes, or counts what callers do. It takes a token where one is set.
Without one it is only for those who can reach a loopback address, unless `admin.open` says that the network
admits no others.

Browsers are a way around a loopback address: a page from anywhere runs on this machine. One of another origin
says so in `Sec-Fetch-Site` and `Origin`. One whose own name was made to resolve to 127.0.0.1 (DNS rebinding)
is of the same origin, and shows that name in `Host`.
"""

import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.settings import AdminSettings

CHALLENGE: Final = 'Bearer realm="rerank-proxy admin"'
"""The `WWW-Authenticate` of a 401 (RFC 6750, section 3)."""

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/?#@\s]+))(?::\d{0,5})?")
_FOREIGN_SITES: Final = ("cross-site", "same-site")


class Fields(Protocol):
    """The header fields of a request; names in any case."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one listener.

    Attributes:
        token: What has to be shown; None if nothing has to be.
        loopback: Only this machine can connect.
        open: Without a token, others may connect too.
        hosts: Names that `Host` may have besides addresses and `localhost`, in lower case.
        playground: Whether searches are answered; None, where a token or the loopback address guards them.
    """

    token: bytes | None = None
    loopback: bool = True
    open: bool = False
    hosts: frozenset[str] = frozenset()
    playground: bool | None = None

    @property
    def closed(self) -> bool:
        """Return whether everyone is told no more than the status."""
        return self.token is None and not self.loopback and not self.open

    @property
    def _searches(self) -> bool:
        guarded = self.token is not None or self.loopback
        return guarded if self.playground is None else self.playground

    def refusal(
        self, fields: Fields, *, shell: bool = False, searches: bool = False
    ) -> ElasticsearchError | None:
        """Return why a request is told the status alone; None if it is answered.

        Args:
            shell: It asks for a file of the pages, which takes no token: with one set, the page asks for it.
            searches: It asks for a search.
        """
        refusal = self._of_who_asks(fields, shell=shell)
        return _NO_PLAYGROUND if refusal is None and searches and not self._searches else refusal

    def _of_who_asks(self, fields: Fields, *, shell: bool) -> ElasticsearchError | None:
        if _is_cross_site(fields):
            return _forbidden("the request comes from a page of another site")
        if self.token is not None:
            return None if shell or self._shows_token(fields) else _UNAUTHORISED
        if self.closed:
            return _CLOSED
        if (self.loopback or self.hosts) and not self._knows_host(fields):
            return _forbidden(
                "the request names a host that is neither an address nor localhost; add it to [admin.hosts] "
                "if it is this machine's"
            )
        return None

    def _shows_token(self, fields: Fields) -> bool:
        given = fields.getall("Authorization", ())
        if self.token is None or len(given) != 1:
            return False
        scheme, _, shown = given[0].partition(" ")
        known = hmac.compare_digest(shown.strip(" ").encode("utf-8", "replace"), self.token)
        return known and scheme.lower() == "bearer"

    def _knows_host(self, fields: Fields) -> bool:
        """Return whether all that `Host` says is known. Browsers never leave it out; old programs do."""
        return all(self._is_known(host) for host in fields.getall("Host", ()))

    def _is_known(self, host: str) -> bool:
        name = host_of(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self.hosts
        return True


def access_of(settings: AdminSettings, bound: Iterable[str]) -> Access:
    """Return the rules of a listener.

    Args:
        bound: The addresses that it listens on.
    """
    return Access(
        token=None if settings.token is None else settings.token.get_secret_value().encode(),
        loopback=all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in bound),
        open=settings.open,
        playground=settings.playground,
        hosts=frozenset(host.lower().removesuffix(".") for host in settings.hosts),
    )


def host_of(authority: str) -> str | None:
    """Return the host of what `Host` says, in lower case without a last dot; None if it is malformed."""
    match = _HOST.fullmatch(authority.strip())
    if match is None:
        return None
    return (match[1] or match[2]).lower().removesuffix(".")


def _is_cross_site(fields: Fields) -> bool:
    """Return whether a page of another origin asks. A link that a person follows is no such request."""
    sites = fields.getall("Sec-Fetch-Site", ())
    if any(site.strip().lower() in _FOREIGN_SITES for site in sites) and not _is_navigation(fields):
        return True
    own = [host.strip().lower() for host in fields.getall("Host", ())]
    origins = [origin.lower().partition("://") for origin in fields.getall("Origin", ())]
    return any(not separator or host not in own for _, separator, host in origins)


def _is_navigation(fields: Fields) -> bool:
    mode, target = fields.getall("Sec-Fetch-Mode", ()), fields.getall("Sec-Fetch-Dest", ())
    return list(mode) == ["navigate"] and list(target) == ["document"]


def _forbidden(reason: str) -> ElasticsearchError:
    return error(403, "security_exception", reason)


_UNAUTHORISED: Final = error(
    401,
    "security_exception",
    "the admin port asks for the token of [admin.token]: send it as [Authorization: Bearer TOKEN]",
)
_NO_PLAYGROUND: Final = error(
    403,
    "security_exception",
    "the admin port does not search: without a token, and elsewhere than on a loopback address, the "
    "playground needs [admin.playground: true]",
)
_CLOSED: Final = error(
    403,
    "security_exception",
    "the admin port can be reached from other machines and no token is set, so only the status of /live "
    "and /ready is answered: set [admin.token] or [admin.token_file], or [admin.open: true] if the "
    "network admits only those who may read this",
)
