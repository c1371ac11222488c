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
NOT_APPLIED = "not applied"
OUTCOME_UNKNOWN = "outcome unknown"

# The limits of a server that does not say them.
REQUEST_BYTES = 1048576
REPLY_BYTES = 16777216
HELLO_BYTES = 16384
IN_FLIGHT = 1024
IDLE_MS = 600000


class Op:
    """The values of `op` in an event of `watch`."""

    HEARTBEAT = "heartbeat"
    """nothing for a while; the offset may have moved all the same"""
    CREATE = "create"
    """a chat was made or imported"""
    ADVANCE = "advance"
    """a chat's sequence rose"""
    STATUS = "status"
    """a chat was enabled or disabled"""
    DISSOLVE = "dissolve"
    """a chat was dissolved, or a dissolved one was imported"""
    JOIN = "join"
    """a user became a member"""
    LEAVE = "leave"
    """a user is no longer a member"""
    DELETE = "delete"
    """a user deleted a chat; with messages behind `seq`, the row stays in the list"""
    RETURN = "return"
    """a message brought a deleted chat back to a user"""
    IMPORT = "import"
    """a user's row was imported"""
    READ = "read"
    """a user has read"""
    FLAGS = "flags"
    """a user set flags"""
    CLEAR = "clear"
    """a user cleared a chat's history"""
    ERASE = "erase"
    """a user was erased"""
    SENT = "sent"
    """a member's message became known late: their own newest message rose to `seq`, the chat's
    sequence did not"""


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
