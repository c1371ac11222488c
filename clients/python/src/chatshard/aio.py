"""The asyncio client: calls with their deadlines, repeats and keys, and the active of several
nodes.

Invariants:
- A call that a node refused as not the active (421) goes on to another node, whatever it is.
- A call is repeated after a lost connection, 429 or 503 only if it reads or has an idempotency key.
  Each repeat has the bytes of the first attempt, so also its key.
- If one attempt of a call may have been applied, no later error says "not applied".
- A call ends within its deadline, because one timer looks after the deadlines of all calls.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, TypeVar, Union

from ._call import Call, check
from ._command import Command
from ._connection import Failure, Promise, Request
from ._generated import commands
from ._generated.async_methods import AsyncMethods
from ._generated.records import HelloReply
from ._nodes import Nodes
from ._options import Options, addresses_of, context_of
from ._pool import Pool
from .errors import CallError, Outcome, call_error
from .hooks import Attempt, Hooks, SafeHooks
from .watch import SILENCE_S as WATCH_SILENCE_S
from .watch import AsyncWatch

T = TypeVar("T")
NEVER = float("inf")
# Where idempotency keys come from. The seed of a program must not decide them, nor a fork.
_keys = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keys.seed)


class AsyncClient(AsyncMethods):
    """A client for asyncio. Use it as a context manager, or call `connect` and `close`.

    All tasks of one event loop may share it. Each command of the protocol has a method.

    Args:
        addresses: `HOST:PORT` or `unix:PATH`; of several nodes of a journal, all of them.
        token: The secret, if the server wants one.
        name: Name and version of the program, for the server's log.
        tls: A context, or `True` for one that trusts the authorities of the system. A unix socket
            never uses TLS.
        tls_name: The name that the server's certificate must have; absent: the host.
        stale: How many seconds old the state of a standby may be that replies to reads; absent:
            only the active replies. From 0.001 to 600.
        connect_timeout: Seconds for connecting, TLS and `hello` together.
        call_timeout: Seconds for a call with all its repeats, unless it has a `timeout`.
        connections: Connections to one node; absent: as many as it has shards, at most 16.
        waiting_calls: Calls that may wait for a place in flight. One more fails as "not applied".
        keys: Whether each write without an idempotency key gets one, so that it can be repeated.
        hooks: What to call after each attempt, and when a connection opens or ends.

    Raises:
        ValueError: An option is out of its range.
    """

    def __init__(
        self,
        addresses: Union[str, Sequence[str]] = "127.0.0.1:7700",
        *,
        token: Optional[str] = None,
        name: Optional[str] = None,
        tls: Union[bool, ssl.SSLContext, None] = None,
        tls_name: Optional[str] = None,
        stale: Optional[float] = None,
        connect_timeout: float = 5.0,
        call_timeout: float = 10.0,
        connections: Optional[int] = None,
        waiting_calls: int = 10_000,
        keys: bool = True,
        hooks: Optional[Hooks] = None,
    ) -> None:
        self._options = Options(
            addresses=addresses_of(addresses),
            token=token,
            name=name or Options.name,
            tls=context_of(tls),
            tls_name=tls_name,
            stale=stale,
            connect_timeout=connect_timeout,
            call_timeout=call_timeout,
            connections=connections,
            waiting_calls=waiting_calls,
            keys=keys,
        )
        self._hooks = SafeHooks(hooks or Hooks())
        self._nodes = Nodes(self._options)
        self._loop: asyncio.AbstractEventLoop
        self._is_bound = False
        self._pool: Optional[Pool] = None
        self._left: List[Pool] = []
        self._connecting: Optional[asyncio.Task[Union[Pool, Failure]]] = None
        self._trouble = ""
        self._looking = 0
        self._calls: Dict[Call, None] = {}
        self._watches: List[AsyncWatch] = []
        self._watch_silence = WATCH_SILENCE_S
        self._timer: Optional[asyncio.TimerHandle] = None
        self._due = NEVER
        self._is_closing = False
        self._is_closed = False
        self._idle: Optional[asyncio.Future[None]] = None

    # Opening and closing

    async def connect(self) -> None:
        """Connects to the first address that accepts `hello`. Without it, the first call does.

        Raises:
            CallError: No address accepts `hello`. It is the error of the last one.
        """
        seconds = self._options.connect_timeout * len(self._options.addresses) + 1
        call = self._begin(commands.HELLO, b"", False, None, seconds)
        try:
            pool = await self._pool_for(call)
        finally:
            self._end(call)
        if isinstance(pool, Failure):
            raise call.error(pool)

    async def close(self) -> None:
        """Waits for the calls under way, at most for the call timeout, and ends all connections.
        Later calls fail as "not applied"."""
        if self._is_closing or not self._is_bound:
            self._is_closing = True
            return
        self._is_closing = True
        for watch in list(self._watches):
            await watch.aclose()
        if self._calls:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=self._options.call_timeout)
        self._is_closed = True
        for call in list(self._calls):
            self._give_up(call, "the client is closed", "closed")
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        pools = [*self._left, *([self._pool] if self._pool else [])]
        for pool in pools:
            await pool.close()
        if self._timer is not None:
            self._timer.cancel()
        for _ in range(10):  # calls that were given up end in their next turns
            await asyncio.sleep(0)

    async def __aenter__(self: _Client) -> _Client:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    @property
    def hello(self) -> Optional[HelloReply]:
        """What the present node said of itself: its version, shards and limits. `None` while there
        is no connection."""
        return self._pool.hello if self._pool is not None else None

    @property
    def address(self) -> Optional[str]:
        """The address of the present node; `None` while there is no connection."""
        return self._pool.address if self._pool is not None else None

    def watch(self, offset: Optional[str] = None, *, heartbeats: bool = False) -> AsyncWatch:
        """The stream of changes behind the offset, or from now on.

        Args:
            offset: That of the last event which is done.
            heartbeats: Whether to return events with `op` "heartbeat" too. `AsyncWatch.offset`
                has their offset in any case.
        """
        return AsyncWatch(self, offset, heartbeats)

    # Calls

    async def _call(
        self,
        command: Command[T],
        arguments: List[Any],
        key: Optional[str],
        timeout: Optional[float],
    ) -> T:
        check(command, key, timeout)
        body, is_keyed = self._encode(command, arguments)
        call = self._begin(command, body, is_keyed, key, timeout)
        try:
            if self._pool is None:
                outcome: Any = await self._again(call)
            else:
                promise = self._loop.create_future()
                outcome = self._attempt(call, promise) or await promise
            if type(outcome) is Failure or self._hooks.wants_attempts:
                outcome = await self._repeat(call, outcome)
        finally:
            self._end(call)
        return outcome  # type: ignore[no-any-return]

    def _encode(self, command: Command[Any], arguments: List[Any]) -> Tuple[bytes, bool]:
        """Encodes the arguments. Makes an idempotency key if there is none, and returns whether
        there is one then. Raises `TypeError` and `ValueError`."""
        at = command.key_at
        if at >= 0 and arguments[at] is None and self._options.keys:
            arguments[at] = f"{_keys.getrandbits(128):032x}"
        return command.encode(arguments), at >= 0 and arguments[at] is not None

    def _begin(
        self,
        command: Command[Any],
        body: bytes,
        is_keyed: bool,
        key: Optional[str],
        timeout: Optional[float],
    ) -> Call:
        """Registers a call, so that it ends by its deadline."""
        if self._is_closing:
            raise call_error(Outcome.NOT_APPLIED, command.name, 0, "closed", "the client is closed")
        loop = asyncio.get_running_loop()
        if not self._is_bound:
            self._loop = loop
            self._is_bound = True
        elif loop is not self._loop:
            raise RuntimeError("this client belongs to another event loop")
        deadline = loop.time() + (self._options.call_timeout if timeout is None else timeout)
        call = Call(command, body, key, deadline, is_keyed)
        self._calls[call] = None
        if deadline < self._due:
            self._schedule(deadline)
        return call

    def _end(self, call: Call) -> None:
        self._calls.pop(call, None)
        if not self._calls and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _attempt(
        self, call: Call, promise: Union[Promise, asyncio.Future[Any]]
    ) -> Optional[Failure]:
        """Sends the request of a call, or has it wait for a place. Fails if it can do neither."""
        call.attempts += 1
        if self._hooks.wants_attempts:
            call.begun = self._loop.time()
        pool = call.pool = self._pool
        connection = pool.pick(call.key) if pool is not None else None
        if pool is None or connection is None:
            return Failure("there is no connection")
        if connection.waits() and pool.waiting() >= self._options.waiting_calls:
            pool.forget_done(self._loop.time())
            if pool.waiting() >= self._options.waiting_calls:
                return Failure("too many calls wait for a place", name="too_many_waiting")
        call.request = Request(call.command, call.body, promise)
        connection.submit(call.request)
        return None

    async def _again(self, call: Call) -> Any:
        """An attempt that connects first, if there is no connection."""
        if self._pool is None:
            pool = await self._pool_for(call)
            if isinstance(pool, Failure):
                call.attempts += 1
                return pool
            if self._loop.time() >= call.deadline:
                return Failure("no connection within the time of the call", name="deadline")
        promise = self._loop.create_future()
        return self._attempt(call, promise) or await promise

    async def _repeat(self, call: Call, outcome: Any) -> Any:
        """Goes on after a failed attempt, until there is a reply or an error for the caller."""
        while type(outcome) is Failure:
            error = call.error(outcome)
            if self._hooks.wants_attempts:
                self._tell(call, error)
            await self._pause(call, outcome, error)
            outcome = await self._again(call)
        if self._hooks.wants_attempts:
            self._tell(call, None)
        return outcome

    async def _pause(self, call: Call, failure: Failure, error: CallError) -> None:
        """Waits until the next attempt may begin. Raises the error if there is none."""
        if not self._may_go_on(call, failure):
            raise call.final(error) from None
        # The first move goes to the address that the server named, at once.
        is_named = failure.status == 421 and call.moves == 1 and failure.address
        pause = 0.0 if is_named else call.pause()
        if self._loop.time() + pause >= call.deadline:
            raise call.final(error) from None
        call.pausing = self._loop.create_future()
        timer = self._loop.call_later(pause, _wake, call.pausing)
        try:
            await call.pausing
        finally:
            timer.cancel()
        # Nobody would end an attempt that begins after the deadline.
        if self._is_closed or self._loop.time() >= call.deadline:
            raise call.final(error) from None

    def _may_go_on(self, call: Call, failure: Failure) -> bool:
        """Whether a call may be repeated. Leaves a node that cannot serve."""
        if failure.name in ("deadline", "closed", "too_many_waiting"):
            return False
        if failure.status == 421:
            return self._move(call, failure)
        if failure.status == 503:
            self._leave(call.pool)
        return failure.status in (0, 429, 503) and call.may_repeat

    def _tell(self, call: Call, error: Optional[CallError]) -> None:
        seconds = self._loop.time() - call.begun
        self._hooks.after_attempt(Attempt(call.command.name, call.attempts, seconds, error))

    # Nodes

    async def _pool_for(self, call: Call) -> Union[Pool, Failure]:
        """The connections to a node. All calls that have none wait for the same attempt."""
        if self._pool is not None:
            return self._pool
        if self._looking >= self._options.waiting_calls:
            return Failure("too many calls wait for a connection", name="too_many_waiting")
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        task = self._connecting
        self._looking += 1
        try:
            await asyncio.wait([task], timeout=max(0.0, call.deadline - self._loop.time()))
        finally:
            self._looking -= 1
        if not task.done():
            why = f"; {self._trouble}" if self._trouble else ""
            return Failure(f"no connection within the time of the call{why}", name="deadline")
        if task.cancelled():
            return Failure("the client is closed", name="closed")
        return task.result()

    async def _connect(self) -> Union[Pool, Failure]:
        """Connects to the first address that accepts `hello`."""
        failures: List[Failure] = []
        for address in self._nodes.candidates(self._loop.time()):
            begun = self._loop.time()
            pool = await Pool.open(address, self._options, self._hooks, self._on_pool_end)
            if not isinstance(pool, Failure):
                self._pool, self._trouble = pool, ""
                self._nodes.stay(address)
                return pool
            if pool.name == "deadline":
                self._nodes.silent(address, begun + self._options.connect_timeout)
            self._trouble = pool.message
            failures.append(pool)
        # Only if all refuse, the same attempt would fail again.
        passing = [one for one in failures if one.status not in (400, 401, 403, 413)]
        return passing[-1] if passing else failures[-1]

    def _connected(self, task: asyncio.Task[Union[Pool, Failure]]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()

    def _on_pool_end(self, pool: Pool) -> None:
        if pool.was_silent:
            self._nodes.silent(pool.address, self._loop.time())
        self._leave(pool, is_lost=True)

    def _leave(self, pool: Optional[Pool], is_lost: bool = False) -> None:
        """Leaves a node that cannot serve, unless it is the only one and there are connections."""
        if pool is None or self._pool is not pool:
            return
        if self._nodes.is_alone() and not is_lost:
            return
        self._pool = None
        self._nodes.leave(pool.address)
        pool.retire()
        self._left = [one for one in self._left if not one.is_closed()]
        self._left.append(pool)

    def _move(self, call: Call, failure: Failure) -> bool:
        """Goes to the active after a 421. Returns whether there is somewhere to go."""
        call.moves += 1
        pool = call.pool
        if pool is None or self._pool is not pool:
            return True
        is_named = failure.address != pool.address and self._nodes.name(failure.address)
        if is_named or not self._nodes.is_alone():
            self._leave(pool)
            return True
        # The only node may become the active, but not if it names another one.
        return not failure.address

    # Deadlines

    def _schedule(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """Ends the calls whose time is over."""
        self._timer, self._due = None, NEVER
        now = self._loop.time()
        for call in [call for call in self._calls if call.deadline <= now]:
            self._give_up(call, "no reply within the time of the call", "deadline")
        due = min((call.deadline for call in self._calls if call.deadline > now), default=NEVER)
        if due != NEVER:
            self._schedule(due)

    def _give_up(self, call: Call, why: str, name: str) -> None:
        if call.request is not None:
            call.request.fail(why, name)
        if call.pausing is not None:
            _wake(call.pausing)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_Client = TypeVar("_Client", bound=AsyncClient)
