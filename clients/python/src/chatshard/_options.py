"""The options of a client, and the addresses of servers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Iterable, Optional, Sequence, Tuple, Union

from ._version import VERSION
from .hooks import Hooks

PORT = 7700
CONNECTIONS_MAX = 16
UNIX = "unix:"


@dataclass(frozen=True)
class Options:
    """What a client needs to know. `AsyncClient` documents the fields."""

    addresses: Tuple[str, ...] = (f"127.0.0.1:{PORT}",)
    token: Optional[str] = field(default=None, repr=False)
    name: str = f"chatshard-python/{VERSION}"
    tls: Optional[ssl.SSLContext] = None
    tls_name: Optional[str] = None
    stale: Optional[float] = None
    connect_timeout: float = 5.0
    call_timeout: float = 10.0
    connections: Optional[int] = None
    waiting_calls: int = 10_000
    keys: bool = True
    hooks: Hooks = field(default_factory=Hooks)
    # How long a connection with requests in flight may be silent, and then a ping on it.
    silence: float = 5.0
    pings: bool = True

    def __post_init__(self) -> None:
        for address in self.addresses:
            if not address.startswith(UNIX):
                host_and_port(address)
        if self.token is not None and not _is_token(self.token):
            raise ValueError("token: visible ASCII characters alone, no blank and no line break")
        if not self.addresses:
            raise ValueError("addresses: name at least one")
        if not (self.connect_timeout > 0 and self.call_timeout > 0):
            raise ValueError("connect_timeout and call_timeout must be over 0 seconds")
        if self.connections is not None and self.connections < 1:
            raise ValueError("connections must be at least 1")
        if self.stale is not None and not 0.001 <= self.stale <= 600:
            raise ValueError("stale must be from 0.001 to 600 seconds")
        if self.waiting_calls < 0:
            raise ValueError("waiting_calls must be at least 0")

    @property
    def stale_ms(self) -> Optional[int]:
        return None if self.stale is None else max(1, int(self.stale * 1000))

    def verifies(self) -> bool:
        """Whether TLS shows who a server is."""
        context = self.tls
        if context is None or context.verify_mode is not ssl.CERT_REQUIRED:
            return False
        return context.check_hostname

    def may_greet(self, address: str) -> bool:
        """Whether a connection may go to an address that a server named: only if the token
        cannot reach a stranger by it."""
        if address in self.addresses:
            return True
        is_tcp = not address.startswith(UNIX)
        return self.token is None or (is_tcp and self.verifies())


def _is_token(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def context_of(tls: Union[bool, ssl.SSLContext, None]) -> Optional[ssl.SSLContext]:
    """The context of the option `tls`. `True` trusts the authorities of the system."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    return ssl.create_default_context() if tls else None


def addresses_of(addresses: Union[str, Sequence[str]]) -> Tuple[str, ...]:
    """The addresses of the option `addresses`."""
    if isinstance(addresses, str):
        return (addresses,)
    kind = type(addresses).__name__
    if not isinstance(addresses, Iterable) or isinstance(addresses, bytes):
        raise TypeError(f"addresses: expected `HOST:PORT` or a list of such, found a {kind}")
    found = tuple(addresses)
    for address in found:
        if not isinstance(address, str):
            raise TypeError(f"addresses: expected `HOST:PORT`, found a {type(address).__name__}")
    return found


def host_and_port(address: str) -> Tuple[str, int]:
    """The parts of `HOST:PORT`. The host of an IPv6 address stands in brackets."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or not host or "/" in host or int(port) > 65535:
        raise ValueError(f"`{address}` is no address: write HOST:PORT or unix:PATH")
    return host.strip("[]"), int(port)
