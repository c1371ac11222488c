"""What a client calls after each attempt, and when a connection opens or ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Optional

from .errors import CallError, Outcome

log = logging.getLogger("chatshard")


@dataclass(frozen=True)
class Attempt:
    """One attempt of a call, when it has ended."""

    command: str
    """The command, such as `advance`."""
    number: int
    """1 for the first attempt of a call."""
    seconds: float
    """How long it took, with the wait for a place in flight."""
    error: Optional[CallError]
    """Why it failed; `None` if it did not."""

    @property
    def outcome(self) -> Optional[Outcome]:
        """What is known of the request; `None` if it succeeded."""
        return None if self.error is None else self.error.outcome


class Hooks:
    """Override what you need. The methods run on the event loop of the client, so they must not
    block. An error in one is logged, and changes nothing."""

    def after_attempt(self, attempt: Attempt) -> None:
        """An attempt has ended. This runs in the context (`contextvars`) of the call."""

    def connection_opened(self, address: str, shard: int) -> None:
        """A connection is open, on the core of this shard."""

    def connection_ended(self, address: str, reason: str) -> None:
        """A connection has ended."""


class SafeHooks:
    """Calls hooks, and logs their errors."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.wants_attempts = type(hooks).after_attempt is not Hooks.after_attempt

    def after_attempt(self, attempt: Attempt) -> None:
        try:
            self.hooks.after_attempt(attempt)
        except Exception:
            log.exception("the hook after_attempt failed")

    def opened(self, address: str, shard: int) -> None:
        try:
            self.hooks.connection_opened(address, shard)
        except Exception:
            log.exception("the hook connection_opened failed")

    def ended(self, address: str, reason: str) -> None:
        try:
            self.hooks.connection_ended(address, reason)
        except Exception:
            log.exception("the hook connection_ended failed")
