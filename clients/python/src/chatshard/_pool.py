"""The connections to one node, and which of them a key goes to.

Invariants:
- All calls with one key take one connection, while it is open. So they keep their order.
- A connection that is lost is made again in the background. Meanwhile its calls take another one.
- The pool ends with its last connection. Then the client looks for a node anew.
"""

from __future__ import annotations

import asyncio
from typing import Callable, Dict, List, Optional, Union

from ._connection import Connection, Failure
from ._generated.records import HelloReply
from ._hash import Slots
from ._options import CONNECTIONS_MAX, Options
from .hooks import SafeHooks

# How many seconds a new pool waits for its other connections, after the first one.
OTHERS_S = 1.0
# Seconds before an attempt to make a lost connection again; they double up to the last ones.
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 8.0
# Seconds between two looks for calls that ended while they waited.
FORGET_PAUSE_S = 0.02


class Pool:
    """The connections to one node. `Pool.open` makes one."""

    def __init__(
        self, first: Connection, options: Options, hooks: SafeHooks, on_end: Callable[[Pool], None]
    ) -> None:
        self.hello: HelloReply = first.hello
        self.address = first.address
        self.was_silent = False
        self._options = options
        self._hooks = hooks
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        shards = first.hello.shards
        count = options.connections or min(shards, CONNECTIONS_MAX)
        # More connections than shards only help if each shard has as many.
        self._count = count if count <= shards else count - count % shards
        self._slots = Slots(first.hello.hash_seed, first.hello.slots)
        self._places: List[Optional[Connection]] = [None] * self._count
        self._opening: Dict[int, asyncio.Task[None]] = {}
        self._ended: List[Connection] = []
        self._is_retired = False
        self._forgot = float("-inf")
        self._put(first.hello.shard % self._count, first)

    @classmethod
    async def open(
        cls, address: str, options: Options, hooks: SafeHooks, on_end: Callable[[Pool], None]
    ) -> Union[Pool, Failure]:
        """Connects to a node. Waits a moment for all connections, but one is enough."""
        first = await Connection.open_to(address, options, hooks)
        if isinstance(first, Failure):
            return first
        pool = cls(first, options, hooks, on_end)
        for place, there in enumerate(pool._places):
            if there is None:
                pool._open_in_background(place, 0.0)
        try:
            if pool._opening:
                await asyncio.wait(pool._opening.values(), timeout=OTHERS_S)
        except BaseException:
            await pool.close("the caller gave up")
            raise
        if not pool.is_open():
            pool.retire()
            return first.end or Failure("the connections were lost")
        return pool

    def is_open(self) -> bool:
        return any(connection is not None for connection in self._places)

    def pick(self, key: Optional[str]) -> Optional[Connection]:
        """The connection for a key, or for a call without one."""
        if self._count == 1:
            return self._places[0]
        if key is None:
            return self._least_busy()
        slot = self._slots.of(key)
        shards = self.hello.shards
        place = slot % self._count if self._count >= shards else slot % shards % self._count
        connection = self._places[place]
        return connection if connection is not None else self._least_busy()

    def _least_busy(self) -> Optional[Connection]:
        there = [connection for connection in self._places if connection is not None]
        return min(there, key=lambda one: len(one.open) + len(one.queue), default=None)

    def waiting(self) -> int:
        """How many calls wait for a place in flight."""
        return sum(len(one.queue) for one in self._places if one is not None)

    def forget_done(self, now: float) -> None:
        """Drops calls that wait although nobody waits for them. It looks through all of them, so it
        does nothing if it did so just before."""
        if now < self._forgot + FORGET_PAUSE_S:
            return
        self._forgot = now
        for connection in self._places:
            if connection is not None:
                connection.forget_done()

    # Connections come and go

    async def _open(self, place: int) -> None:
        shard = place % self.hello.shards
        connection = await Connection.open_to(self.address, self._options, self._hooks, shard)
        if isinstance(connection, Failure):
            return
        if self._is_retired or connection.hello.journal != self.hello.journal:
            connection.abort("the client has left this node")
            self._remember(connection)
            return
        self._put(place, connection)

    def _put(self, place: int, connection: Connection) -> None:
        def on_end(ended: Connection) -> None:
            self._places[place] = None
            self._remember(ended)
            self.was_silent = self.was_silent or ended.was_silent
            if self._is_retired:
                return
            if self.is_open():
                self._open_in_background(place, FIRST_PAUSE_S)
            else:
                self._on_end(self)

        self._places[place] = connection
        connection.on_end = on_end

    def _remember(self, ended: Connection) -> None:
        self._ended = [one for one in self._ended if not one.is_closed()]
        self._ended.append(ended)

    def _open_in_background(self, place: int, pause: float) -> None:
        if place not in self._opening:
            task = self._loop.create_task(self._open_until_there(place, pause))
            self._opening[place] = task
            task.add_done_callback(lambda _: self._opening.pop(place, None))

    async def _open_until_there(self, place: int, pause: float) -> None:
        while not self._is_retired and self._places[place] is None:
            await asyncio.sleep(pause)
            await self._open(place)
            pause = min(max(2 * pause, FIRST_PAUSE_S), LAST_PAUSE_S)

    # The end

    def is_closed(self) -> bool:
        """Whether nothing of the pool is left."""
        return not self.is_open() and all(one.is_closed() for one in self._ended)

    def retire(self) -> None:
        """Takes no more calls. Each connection ends when its requests are done."""
        self._is_retired = True
        for task in self._opening.values():
            task.cancel()
        for connection in list(self._places):
            if connection is not None:
                connection.retire()

    async def close(self, why: str = "the client is closed") -> None:
        """Ends all connections, and waits until their sockets are closed."""
        self._is_retired = True
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        for connection in list(self._places):
            if connection is not None:
                connection.abort(why)
        if tasks:
            await asyncio.wait(tasks)
        for connection in self._ended:
            await connection.wait_closed()
