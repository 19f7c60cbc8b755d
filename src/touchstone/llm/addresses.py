"""Which endpoint is local: every address behind its name is on this machine or in a private
network.

A spelling proves nothing: `http://0x5db8d822`, full-width digits and names such as `gpu7` may all
lead to a public address. So hosts are written in one canonical way, names are resolved, every
address is checked, and the client connects to an address that was checked (clients.py), without a
second look-up. Does not know which network is the hospital's: private is what RFC 1918, 4193 and
3927 call so.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from touchstone.errors import UserError

_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")  # a last label that browsers take for an address


def canonical_host(endpoint: str) -> str:
    """Return the host of an endpoint, lower case.

    Raises
    ------
    UserError
        If it is written in any other than the plain way: ASCII letters, digits, `-` and `.`, four
        decimal numbers, or an IPv6 address in brackets.
    """
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if ":" in host:
        return _address(endpoint, host)
    last = host.rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        return _address(endpoint, host)
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise UserError(f"llm.endpoint={_shown(endpoint)}: {_PLAIN}")
    return host


def is_private(address: str) -> bool:
    """Tell whether an IP address is this machine's or in a private network; IPv6 forms of an IPv4
    address count as that.

    Examples
    --------
    >>> is_private("10.1.2.3"), is_private("::ffff:8.8.8.8"), is_private("fd00::1")
    (True, False, True)
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in _PRIVATE if network.version == parsed.version)


def resolve(host: str) -> list[str]:
    """Return every address of a host, IPv4 first; [] where it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return sorted(addresses, key=lambda address: ":" in address)


def local_addresses(endpoint: str) -> list[str]:
    """Return the addresses of an endpoint that is to be local.

    Raises
    ------
    UserError
        If the host is not written plainly, cannot be resolved, or has any address that is not
        private.
    """
    host = canonical_host(endpoint)
    addresses = resolve(host)
    if not addresses:
        raise UserError(
            f"llm.endpoint={_shown(endpoint)} is to be local, and {host} has no address here; "
            "nothing was sent. Name the machine as its network knows it"
        )
    public = [address for address in addresses if not is_private(address)]
    if public:
        raise UserError(
            f"llm.endpoint={_shown(endpoint)} says location=local, but {host} has the address "
            f"{public[0]}, which is neither this machine nor in a private network; nothing was "
            "sent. If it is meant: llm.location=remote"
        )
    return addresses


_PLAIN = (
    "the host is not written plainly; write a name of letters, digits, - and ., an address as "
    "four decimal numbers, or an IPv6 address in brackets"
)


def _address(endpoint: str, host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UserError(f"llm.endpoint={_shown(endpoint)}: {_PLAIN}") from None
    return str(address)


def _shown(endpoint: str) -> str:
    """Return an endpoint as it may be shown: without user and password, in ASCII."""
    plain = re.sub(r"(?<=://)[^/@]*@", "", endpoint)
    return plain.encode("ascii", "backslashreplace").decode()
