"""A call that is under way: its deadline, its attempts, and what they say of it."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Optional

from ._command import Command
from ._connection import Failure, Request
from ._pool import Pool
from .errors import CallError, Outcome, call_error, outcome_of

# The pause before a repeat is drawn from 0 to a bound, which doubles up to the last one.
FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 2.0


def check(command: Command[Any], key: Optional[str], timeout: Optional[float]) -> None:
    """Raises the errors of a call that the encoder does not find."""
    if key is not None and not isinstance(key, str):
        kind = type(key).__name__
        raise TypeError(f"{command.name}: the id of a chat or user is a str, this one is a {kind}")
    if timeout is not None:
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout: expected seconds, found a {type(timeout).__name__}")
        if timeout != timeout:
            raise ValueError("timeout: expected seconds, found a NaN")


class Call:
    """A call that is under way, and what is known of its attempts."""

    __slots__ = (
        "attempts",
        "begun",
        "body",
        "bound",
        "command",
        "deadline",
        "key",
        "may_repeat",
        "moves",
        "pausing",
        "pool",
        "request",
        "unknown",
    )

    def __init__(
        self, command: Command[Any], body: bytes, key: Optional[str], deadline: float, keyed: bool
    ) -> None:
        self.command = command
        self.body = body
        self.key = key
        self.deadline = deadline
        self.may_repeat = command.is_read or keyed
        self.request: Optional[Request] = None
        self.attempts = 0
        self.bound = FIRST_PAUSE_S
        # The error of an attempt that may have been applied.
        self.unknown: Optional[CallError] = None
        self.moves = 0
        self.begun = 0.0
        self.pool: Optional[Pool] = None
        self.pausing: Optional[asyncio.Future[None]] = None

    def pause(self) -> float:
        seconds = random.uniform(0, self.bound)
        self.bound = min(2 * self.bound, LAST_PAUSE_S)
        return seconds

    def error(self, failure: Failure) -> CallError:
        """What a failed attempt says of the call."""
        command = self.command
        if failure.status:
            outcome = outcome_of(failure.status, failure.message)
        elif failure.is_sent and not command.is_read:
            outcome = Outcome.UNKNOWN
        else:
            outcome = Outcome.NOT_APPLIED
        error = call_error(outcome, command.name, failure.status, failure.name, failure.message)
        if outcome is Outcome.UNKNOWN:
            self.unknown = error
        return error

    def final(self, error: CallError) -> CallError:
        """The error of the call: the last one, unless it would deny what is not known."""
        is_denied = error.outcome is Outcome.NOT_APPLIED or error.status in (401, 403)
        return self.unknown if self.unknown is not None and is_denied else error
