"""Whose viewer a connection is: the peer's address, or what a trusted proxy says of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from origin.errors import ConfigError

__all__ = ["TrustedProxies", "address_of_peer", "group_of", "viewer_address"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# What of an IPv6 address is one subscriber's: it has a whole /64 to draw addresses from.
_IPV6_SUBSCRIBER_BITS = 64


class TrustedProxies:
    """The proxies whose ``X-Forwarded-For`` is believed.

    Args:
        entries: addresses, networks (``10.0.0.0/8``) or ``*`` for any peer.

    Raises:
        ConfigError: an entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self.any = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in (text.strip() for text in entries):
            if entry == "*":
                self.any = True
            elif entry:
                try:
                    self._networks.append(ipaddress.ip_network(entry, strict=False))
                except ValueError:
                    raise ConfigError(
                        f"FORWARDED_ALLOW_IPS {entry!r}: must be an address, a network (10.0.0.0/8), or *"
                    ) from None

    def __contains__(self, address: _Address) -> bool:
        return self.any or any(address in network for network in self._networks)


def _parsed(text: str) -> _Address | None:
    """An address as it stands in a header or a peer's name: bare, with a port, or in brackets."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


@lru_cache(maxsize=4_096)
def group_of(text: str) -> str:
    """What counts as one address: an IPv4 address, mapped into IPv6 or not, or the /64 of an IPv6 one."""
    address = _parsed(text)
    if address is None:
        return text
    if address.version == 6:
        return str(ipaddress.ip_network((address, _IPV6_SUBSCRIBER_BITS), strict=False))
    return str(address)


def address_of_peer(peer: object) -> str:
    """The address in a peer's name as ``accept`` gives it; empty for a Unix socket."""
    return str(peer[0]) if isinstance(peer, tuple) else ""


def viewer_address(peer: str, forwarded_for: Sequence[str], trusted: TrustedProxies) -> str:
    """Whose limit a viewer counts against, as ``group_of`` writes it.

    Args:
        peer: the address of the connection's other end; empty for a Unix socket, whose other end is a proxy
            of ours.
        forwarded_for: every ``X-Forwarded-For`` line, in the order they came.
        trusted: whom to believe.
    """
    address = _parsed(peer)
    if forwarded_for and (not peer or (address is not None and address in trusted)):
        # From the right: each proxy appends whom it saw, and what stands left of a stranger is hearsay.
        for candidate in reversed([part for line in forwarded_for for part in line.split(",")]):
            found = _parsed(candidate)
            if found is None:
                break
            address = found
            if found not in trusted or trusted.any:
                break
    return peer if address is None else group_of(str(address))
