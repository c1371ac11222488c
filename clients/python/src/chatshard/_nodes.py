"""The addresses of the nodes, and in which order to try them."""

from __future__ import annotations

from typing import Dict, List, Optional

from ._options import Options

# An address that was silent is the last to try for so many seconds, whoever names it.
AVOIDED_S = 5.0


class Nodes:
    """The addresses of the options, and the one that a server named as the active's."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._named: Optional[str] = None
        self._next = 0
        self._silent: Dict[str, float] = {}

    def is_alone(self) -> bool:
        """Whether there is only one address to try."""
        return len(self._options.addresses) == 1 and self._named is None

    def candidates(self, now: float) -> List[str]:
        """All addresses, the one to try first in front."""
        known = self._options.addresses
        begin = self._next % len(known)
        ordered = [*known[begin:], *known[:begin]]
        if self._named is not None:
            ordered = [self._named, *(one for one in ordered if one != self._named)]
            self._named = None
        self._silent = {one: at for one, at in self._silent.items() if now < at + AVOIDED_S}
        return sorted(ordered, key=lambda address: address in self._silent)

    def leave(self, address: str) -> None:
        """This address could not serve: another one of the options is the next."""
        known = self._options.addresses
        if address in known:
            self._next = known.index(address) + 1

    def stay(self, address: str) -> None:
        """This address serves: begin with it if the connections are lost."""
        known = self._options.addresses
        if address in known:
            self._next = known.index(address)

    def silent(self, address: str, now: float) -> None:
        self._silent[address] = now

    def name(self, address: str) -> bool:
        """A server named the active. Returns whether the client may go there."""
        if not address or not self._options.may_greet(address):
            return False
        self._named = address
        return True
