"""The client of chatshard: an in-memory, sharded store of chat metadata.

`Client` is for threads, `AsyncClient` for asyncio. Both have one method for each command of the
protocol. Every error of a call says what is known of the request: see `chatshard.errors`.
"""

from . import errors as _errors
from ._generated import records as _records
from ._generated.protocol import ChatStatus, ChatType, Op
from ._generated.records import *  # noqa: F403
from ._version import VERSION as __version__
from .aio import AsyncClient
from .blocking import Client, Watch
from .errors import *  # noqa: F403
from .hooks import Attempt, Hooks
from .watch import AsyncWatch

__all__ = [
    "AsyncClient",
    "AsyncWatch",
    "Attempt",
    "ChatStatus",
    "ChatType",
    "Client",
    "Hooks",
    "Op",
    "Watch",
    "__version__",
]
__all__ += _errors.__all__
__all__ += _records.__all__
