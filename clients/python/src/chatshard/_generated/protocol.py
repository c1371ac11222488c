# Generated from docs/reference/protocol.json by clients/generate. Do not edit.
"""Constants of the protocol."""

from __future__ import annotations

import enum
from typing import Dict

PROTOCOL = 1
"""The version of the protocol."""

# What is known of a request, by the status of its error.
ERRORS: Dict[int, str] = {
    400: "refused",  # invalid_argument
    401: "refused",  # unauthenticated
    403: "refused",  # permission_denied
    404: "refused",  # not_found
    409: "refused",  # conflict
    410: "refused",  # gone
    413: "refused",  # too_large
    421: "not_applied",  # moved
    423: "refused",  # disabled
    429: "not_applied",  # busy
    503: "by_message",  # unavailable
}

# How the message of a 503 begins.
NOT_APPLIED = "not applied: "
OUTCOME_UNKNOWN = "outcome unknown: "

# The limits of a server that does not say them.
REQUEST_BYTES = 1048576
REPLY_BYTES = 16777216
HELLO_BYTES = 16384
IN_FLIGHT = 1024
IDLE_MS = 600000


class Op:
    """The values of `op` in an event of `watch`."""

    HEARTBEAT = "heartbeat"
    """No change for a while, though the offset may have moved. A stream also begins with one."""
    CREATE = "create"
    """A chat was created or imported."""
    ADVANCE = "advance"
    """A chat's sequence rose; `user_id` is the sender, if known."""
    STATUS = "status"
    """A chat was enabled or disabled."""
    DISSOLVE = "dissolve"
    """A chat was dissolved, for good."""
    JOIN = "join"
    """A user became a member."""
    LEAVE = "leave"
    """A user is no longer a member."""
    DELETE = "delete"
    """A user deleted a chat."""
    RETURN = "return"
    """A message brought a deleted chat back to a user."""
    IMPORT = "import"
    """A user's row was imported."""
    READ = "read"
    """A user's read position rose."""
    FLAGS = "flags"
    """A user set flags of a row."""
    CLEAR = "clear"
    """A user cleared a chat's history."""
    ERASE = "erase"
    """Every trace of a user was removed."""
    SENT = "sent"
    """The node learned late of a message that the user sent. All messages up to it count as read
    for the user; the chat's sequence stays."""


OPS = frozenset((
    Op.HEARTBEAT,
    Op.CREATE,
    Op.ADVANCE,
    Op.STATUS,
    Op.DISSOLVE,
    Op.JOIN,
    Op.LEAVE,
    Op.DELETE,
    Op.RETURN,
    Op.IMPORT,
    Op.READ,
    Op.FLAGS,
    Op.CLEAR,
    Op.ERASE,
    Op.SENT,
))


class ChatType(enum.IntEnum):
    """The type of a chat: 1 single, 2 group, 3 official."""

    SINGLE = 1
    GROUP = 2
    OFFICIAL = 3


class ChatStatus(enum.IntEnum):
    """The status of a chat: 1 normal, 2 disabled."""

    NORMAL = 1
    DISABLED = 2
