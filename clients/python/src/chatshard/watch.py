"""The stream of changes, which continues over lost connections and failovers.

Invariants:
- A watch has a connection of its own, so a slow reader delays no call.
- It continues behind the last event that it received. So an event may come twice, and none is
  missing.
- It reads no more from the server while `EVENTS_MAX` events wait for the caller.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, AsyncIterator, Deque, List, Optional, Type

from ._call import FIRST_PAUSE_S, LAST_PAUSE_S
from ._connection import Connection, Failure, Request
from ._generated import commands
from ._generated.protocol import OPS, Op
from ._generated.records import Event
from ._nodes import Nodes
from .errors import CallError, Outcome, call_error, outcome_of

if TYPE_CHECKING:
    from .aio import AsyncClient

# Events that wait for the caller before the watch reads no more, and before it reads again.
EVENTS_MAX = 1024
EVENTS_FEW = 256
# Seconds of silence after which a watch takes its connection for lost.
SILENCE_S = 30.0


class AsyncWatch(AsyncIterator[Event]):
    """Changes of the node, for `async for`. `AsyncClient.watch` makes one.

    As a context manager it waits for the start of the stream, so that `offset` is there, and closes
    it at the end. Events with an `op` of a newer server are passed over.
    """

    def __init__(self, client: AsyncClient, offset: Optional[str], heartbeats: bool) -> None:
        self.offset: Optional[str] = offset
        """The offset of the last event that the caller took, or of a heartbeat behind it. A watch
        with it continues there."""
        self._client = client
        self._options = replace(client._options, silence=client._watch_silence, pings=False)
        self._nodes = Nodes(self._options)
        self._heartbeats = heartbeats
        self._received = offset
        self._has_begun = False
        self._events: Deque[Event] = deque()
        self._connection: Optional[Connection] = None
        self._ended: List[Connection] = []
        self._task: Optional[asyncio.Task[None]] = None
        self._news: asyncio.Event
        self._error: Optional[Exception] = None
        self._is_closed = False
        self._bound = FIRST_PAUSE_S

    # For the caller

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event. `None` if none came within so many seconds, or the watch is closed.

        Raises:
            ConflictError: The offset is not kept any more. Read the state again, and watch anew.
            RefusedError: The server refuses the watch.
        """
        self._start()
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            event = self._take()
            if event is not None:
                return event
            if self._error is not None:
                raise self._error
            if self._is_closed:
                return None
            self._news.clear()
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return None
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except asyncio.TimeoutError:
                return self._take()

    def take_all(self) -> List[Event]:
        """The events that are here already; empty if there are none."""
        events = []
        event = self._take()
        while event is not None:
            events.append(event)
            event = self._take()
        return events

    async def aclose(self) -> None:
        """Ends the watch. Who waits for an event gets none."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._task is None:
            return
        if self in self._client._watches:
            self._client._watches.remove(self)
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._connection is not None:
            self._leave(self._connection, "the watch is closed")
        self._news.set()
        for connection in self._ended:
            await connection.wait_closed()

    async def __aenter__(self) -> AsyncWatch:
        try:
            self._start()
            begun = asyncio.get_running_loop().time()
            while not (self._has_begun or self._error or self._is_closed):
                left = begun + self._options.call_timeout - asyncio.get_running_loop().time()
                await asyncio.wait_for(self._news.wait(), max(0.0, left))
                if not self._has_begun and self._error is None:
                    self._news.clear()
            if self._error is not None:
                raise self._error
        except asyncio.TimeoutError:
            await self.aclose()
            message = "the watch has not begun within the call timeout"
            raise call_error(Outcome.NOT_APPLIED, "watch", 0, "deadline", message) from None
        except BaseException:
            await self.aclose()
            raise
        if self.offset is None and self._events and self._events[0].op == Op.HEARTBEAT:
            self.offset = self._events[0].offset
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.aclose()

    # Events

    def _take(self) -> Optional[Event]:
        while self._events:
            event = self._events.popleft()
            if len(self._events) <= EVENTS_FEW and self._connection is not None:
                self._connection.resume_reading()
            self.offset = event.offset
            if event.op != Op.HEARTBEAT or self._heartbeats:
                return event
        return None

    def _on_event(self, event: Event) -> None:
        self._received = event.offset
        self._has_begun = True
        self._bound = FIRST_PAUSE_S
        if event.op in OPS:
            self._events.append(event)
            if len(self._events) >= EVENTS_MAX and self._connection is not None:
                self._connection.pause_reading()
        self._news.set()

    # The connection

    def _start(self) -> None:
        if self._task is not None or self._is_closed:
            return
        if self._client._is_closing:
            raise call_error(Outcome.NOT_APPLIED, "watch", 0, "closed", "the client is closed")
        self._news = asyncio.Event()
        self._client._watches.append(self)
        if self._client.address is not None:
            self._nodes.name(self._client.address)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            self._error = await self._follow_all()
        except Exception as error:  # a fault of this package must not leave the caller waiting
            self._error = error
        self._news.set()

    async def _follow_all(self) -> CallError:
        """Follows the stream at one node after the other. Returns why a node refuses it."""
        while True:
            for address in self._nodes.candidates(asyncio.get_running_loop().time()):
                failure = await self._follow(address)
                if self._is_final(failure):
                    return call_error(
                        Outcome.REFUSED, "watch", failure.status, failure.name, failure.message
                    )
                self._nodes.leave(address)
                is_moved = failure.status == 421 and self._nodes.name(failure.address)
                await asyncio.sleep(random.uniform(0, self._bound))
                self._bound = min(2 * self._bound, LAST_PAUSE_S)
                if is_moved:
                    break

    @staticmethod
    def _is_final(failure: Failure) -> bool:
        if not failure.status:
            return False
        return outcome_of(failure.status, failure.message) is Outcome.REFUSED

    async def _follow(self, address: str) -> Failure:
        """Follows the stream at one node. Returns why it ended."""
        loop = asyncio.get_running_loop()
        connection = await Connection.open_to(address, self._options, self._client._hooks)
        if isinstance(connection, Failure):
            if connection.name == "deadline":
                self._nodes.silent(address, loop.time())
            return connection
        self._connection = connection
        promise = loop.create_future()
        body = commands.WATCH.encode([self._received])
        connection.submit(Request(commands.WATCH, body, promise, self._on_event))
        failure: Failure = await promise
        if connection.was_silent:
            self._nodes.silent(address, loop.time())
        self._leave(connection, "the watch has ended")
        return failure

    def _leave(self, connection: Connection, why: str) -> None:
        self._connection = None
        connection.abort(why)
        self._ended = [one for one in self._ended if not one.is_closed()] + [connection]
