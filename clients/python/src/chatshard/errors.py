"""The errors of calls. Each says what is known of the request.

```text
ChatshardError
+-- CallError
    +-- RefusedError         nothing was applied, and the same request fails again
    |   +-- InvalidArgumentError, UnauthenticatedError, PermissionDeniedError, NotFoundError,
    |       ConflictError, GoneError, TooLargeError, DisabledError
    +-- NotAppliedError      nothing was applied; the same request may succeed later
    +-- OutcomeUnknownError  the change may or may not have been applied
```
"""

from __future__ import annotations

import enum
from typing import Dict, Type

from ._generated.protocol import ERRORS, NOT_APPLIED

__all__ = [
    "CallError",
    "ChatshardError",
    "ConflictError",
    "DisabledError",
    "GoneError",
    "InvalidArgumentError",
    "NotAppliedError",
    "NotFoundError",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "RefusedError",
    "TooLargeError",
    "UnauthenticatedError",
]


class Outcome(str, enum.Enum):
    """What is known of a request that failed."""

    REFUSED = "refused"
    """Nothing was applied, and the same request fails again."""
    NOT_APPLIED = "not_applied"
    """Nothing was applied. The same request may succeed later."""
    UNKNOWN = "unknown"
    """The change may or may not have been applied."""


class ChatshardError(Exception):
    """The base of all errors of this package."""


class CallError(ChatshardError):
    """A call failed."""

    outcome: Outcome = Outcome.UNKNOWN
    """What is known of the request."""
    command: str
    """The command, such as `advance`."""
    status: int
    """The status of the reply; 0 if there was none."""
    name: str
    """The name of the error, such as `not_found`. Without a reply it is `connection`, `deadline`,
    `closed` or `too_many_waiting`."""
    message: str
    """What happened, for people. It may change: decide by the class or the status."""

    def __init__(self, command: str, status: int, name: str, message: str) -> None:
        super().__init__(command, status, name, message)
        self.command = command
        self.status = status
        self.name = name
        self.message = message

    def __str__(self) -> str:
        known = self.outcome.value.replace("_", " ")
        if self.message.startswith((known, "outcome unknown")):
            known = ""
        status = f"{self.status} " if self.status else ""
        return f"{self.command}: {status}{self.name}: {known and known + ': '}{self.message}"


class RefusedError(CallError):
    """Nothing was applied, and the same request fails again."""

    outcome = Outcome.REFUSED


class NotAppliedError(CallError):
    """Nothing was applied. The same request may succeed later."""

    outcome = Outcome.NOT_APPLIED


class OutcomeUnknownError(CallError):
    """The change may or may not have been applied. Read, or send the same request with the same
    idempotency key."""

    outcome = Outcome.UNKNOWN


class InvalidArgumentError(RefusedError):
    """400: an argument is wrong."""


class UnauthenticatedError(RefusedError):
    """401: the token is missing, wrong, or no longer good."""


class PermissionDeniedError(RefusedError):
    """403: the token may only read."""


class NotFoundError(RefusedError):
    """404: there is no such chat or membership."""


class ConflictError(RefusedError):
    """409: other content, another version, a key of another request, or an offset that is not
    kept."""


class GoneError(RefusedError):
    """410: the chat was dissolved."""


class TooLargeError(RefusedError):
    """413: a request, a list or a reply is over its limit."""


class DisabledError(RefusedError):
    """423: the chat is disabled."""


REFUSALS: Dict[int, Type[RefusedError]] = {
    400: InvalidArgumentError,
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: TooLargeError,
    423: DisabledError,
}


def outcome_of(status: int, message: str) -> Outcome:
    """What a reply with this status, which is not 200, says of its request."""
    kind = ERRORS.get(status)
    if kind is None:
        return Outcome.REFUSED if 400 <= status < 500 else Outcome.UNKNOWN
    if kind == "by_message":
        return Outcome.NOT_APPLIED if message.startswith(NOT_APPLIED) else Outcome.UNKNOWN
    return Outcome(kind)


def call_error(outcome: Outcome, command: str, status: int, name: str, message: str) -> CallError:
    """The error of the class that says it."""
    if outcome is Outcome.REFUSED:
        return REFUSALS.get(status, RefusedError)(command, status, name, message)
    if outcome is Outcome.NOT_APPLIED:
        return NotAppliedError(command, status, name, message)
    return OutcomeUnknownError(command, status, name, message)
