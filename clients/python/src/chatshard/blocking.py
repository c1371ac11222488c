"""The blocking client: an asyncio client on an event loop of its own, in a thread of its own.

Invariants:
- Only the thread of the loop touches the asyncio client.
- A call takes the short way: its reply goes from the loop straight to the thread that waits. Only
  a call whose first attempt failed becomes a task.
- The thread ends with `close`, or with the program.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ssl
import threading
import weakref
from collections import deque
from contextvars import copy_context
from dataclasses import replace
from types import TracebackType
from typing import Any, Coroutine, Deque, Iterator, List, Optional, Sequence, Type, TypeVar, Union

from ._call import Call, check
from ._command import Command
from ._connection import Failure, Promise
from ._generated.blocking_methods import BlockingMethods
from ._generated.records import Event, HelloReply
from .aio import AsyncClient
from .errors import Outcome, call_error
from .hooks import Hooks
from .watch import AsyncWatch

T = TypeVar("T")
# Seconds after which a thread that waits looks whether the loop is still there.
LOOK_S = 1.0


class _Box(Promise):
    """A call of the blocking client. It takes the outcome to the thread that waits for it."""

    __slots__ = ("_client", "_is_done", "_lock", "_task", "call", "error", "outcome")

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._lock.acquire()
        self._is_done = False
        self._task: Optional[asyncio.Task[None]] = None
        self.call: Optional[Call] = None
        self.outcome: Any = None
        self.error: Optional[BaseException] = None

    # On the thread of the loop

    def start(
        self,
        command: Command[Any],
        body: bytes,
        is_keyed: bool,
        key: Optional[str],
        timeout: Optional[float],
    ) -> None:
        client = self._client
        if self._is_done:
            return
        self._context = copy_context()  # that of the caller, for hooks
        try:
            self.call = client._begin(command, body, is_keyed, key, timeout)
            must_connect = client._pool is None
            failure = None if must_connect else client._attempt(self.call, self)
        except Exception as error:  # of whatever kind: the thread waits for its outcome
            self.error = error
            self._open()
            return
        if must_connect or failure is not None:
            self._go_on(failure)

    def done(self) -> bool:
        return self._is_done or self._task is not None

    def set_result(self, result: Any) -> None:
        """The first attempt has ended."""
        if type(result) is Failure or self._client._hooks.wants_attempts:
            self._go_on(result)
        else:
            self.outcome = result
            self._open()

    def _go_on(self, outcome: Any) -> None:
        # The task keeps its place in `all_tasks` of the loop, which ends it at the latest.
        loop = self._client._loop
        self._task = self._context.run(lambda: loop.create_task(self._finish(outcome)))

    async def _finish(self, outcome: Any) -> None:
        assert self.call is not None
        try:
            if self.call.attempts == 0:
                outcome = await self._client._again(self.call)
            self.outcome = await self._client._repeat(self.call, outcome)
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._open()

    def _open(self) -> None:
        """Lets the waiting thread go on."""
        if self.call is not None:
            self._client._end(self.call)
        if not self._is_done:
            self._is_done = True
            self._lock.release()

    def drop(self) -> None:
        """Nobody waits any more."""
        self._is_done = True
        if self._task is not None:
            self._task.cancel()
        elif self.call is not None:
            self._client._end(self.call)

    # On the thread of the caller

    def wait(self, command: str, thread: _Thread) -> Any:
        try:
            while not self._lock.acquire(timeout=LOOK_S):
                if not thread.is_alive():  # a fork, or the end of the program
                    self.error = asyncio.CancelledError()
                    break
        except BaseException:  # an interrupt
            thread.loop.call_soon_threadsafe(self.drop)
            raise
        if self.error is None:
            return self.outcome
        if isinstance(self.error, asyncio.CancelledError):
            outcome = Outcome.NOT_APPLIED if self.call is None else Outcome.UNKNOWN
            raise call_error(outcome, command, 0, "closed", "the client's thread has ended")
        try:
            raise self.error
        finally:
            self.error = None  # breaks the circle of error, traceback and frame


class _Thread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chatshard", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        loop = self.loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks))
            with contextlib.suppress(RuntimeError):  # the interpreter starts no more threads
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop, and waits for it in the thread of the caller."""
        self.check_caller(work)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:
            work.close()
            raise
        try:
            while True:
                try:
                    return future.result(LOOK_S)
                except concurrent.futures.TimeoutError:
                    if future.done():
                        return future.result()
                    self.check_alive()
        except BaseException:
            future.cancel()
            raise

    def check_alive(self) -> None:
        if not self.is_alive():  # a fork, or the end of the program
            raise RuntimeError("the client's thread has ended")

    def check_caller(self, work: Optional[Coroutine[Any, Any, Any]] = None) -> None:
        if self.is_current():
            if work is not None:
                work.close()
            raise RuntimeError("a hook must not block: it runs on the client's event loop")

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_current():
            self._thread.join()


def _stop(thread: _Thread, client: AsyncClient) -> None:
    """Ends a client that its user has not closed, without waiting for its calls."""

    async def close() -> None:
        client._options = replace(client._options, call_timeout=0.001)
        await client.close()

    if not thread.is_alive():
        return
    if thread.is_current():
        task = thread.loop.create_task(close())
        task.add_done_callback(lambda _: thread.loop.stop())
    else:
        thread.run(close())
        thread.stop()


class Client(BlockingMethods):
    """A blocking client, which any number of threads may share. Use it as a context manager, or
    call `connect` and `close`.

    It takes the options of `AsyncClient`, and has the same methods.
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
        self._async = AsyncClient(
            addresses,
            token=token,
            name=name,
            tls=tls,
            tls_name=tls_name,
            stale=stale,
            connect_timeout=connect_timeout,
            call_timeout=call_timeout,
            connections=connections,
            waiting_calls=waiting_calls,
            keys=keys,
            hooks=hooks,
        )
        self._thread = _Thread()
        self._stop = weakref.finalize(self, _stop, self._thread, self._async)

    def connect(self) -> None:
        """Connects to the first address that accepts `hello`. Without it, the first call does.

        Raises:
            CallError: No address accepts `hello`. It is the error of the last one.
        """
        self._thread.run(self._async.connect())

    def close(self) -> None:
        """Waits for the calls under way, at most for the call timeout, and ends all connections and
        the thread. Later calls fail as "not applied"."""
        if self._stop.detach() is not None and self._thread.is_alive():
            self._thread.run(self._async.close())
            self._thread.stop()

    def __enter__(self: _Client) -> _Client:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    @property
    def hello(self) -> Optional[HelloReply]:
        """What the present node said of itself; `None` while there is no connection."""
        return self._async.hello

    @property
    def address(self) -> Optional[str]:
        """The address of the present node; `None` while there is no connection."""
        return self._async.address

    def watch(self, offset: Optional[str] = None, *, heartbeats: bool = False) -> Watch:
        """The stream of changes behind the offset, or from now on.

        Args:
            offset: That of the last event which is done.
            heartbeats: Whether to return events with `op` "heartbeat" too.
        """
        return Watch(self._thread, self._async.watch(offset, heartbeats=heartbeats))

    def _call(
        self,
        command: Command[T],
        arguments: List[Any],
        key: Optional[str],
        timeout: Optional[float],
    ) -> T:
        self._thread.check_caller()
        check(command, key, timeout)
        body, is_keyed = self._async._encode(command, arguments)
        box = _Box(self._async)
        loop = self._thread.loop
        try:
            loop.call_soon_threadsafe(box.start, command, body, is_keyed, key, timeout)
        except RuntimeError:  # the loop is closed
            box.start(command, body, is_keyed, key, timeout)
        return box.wait(command.name, self._thread)  # type: ignore[no-any-return]


class Watch(Iterator[Event]):
    """Changes of the node, for `for`. `Client.watch` makes one, for one thread.

    As a context manager it waits for the start of the stream, so that `offset` is there, and closes
    it at the end. Events with an `op` of a newer server are passed over.
    """

    def __init__(self, thread: _Thread, watch: AsyncWatch) -> None:
        self.offset: Optional[str] = watch.offset
        """The offset of the last event that the caller took, or of a heartbeat behind it. A watch
        with it continues there."""
        self._thread = thread
        self._watch = watch
        self._events: Deque[Event] = deque()
        self._behind: Optional[str] = watch.offset

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event. `None` if none came within so many seconds, or the watch is closed.

        Raises:
            ConflictError: The offset is not kept any more. Read the state again, and watch anew.
            RefusedError: The server refuses the watch.
        """
        if not self._events and not self._thread.loop.is_closed():
            self._events.extend(self._thread.run(self._more(timeout)))
            self._behind = self._watch.offset
        event = self._events.popleft() if self._events else None
        self.offset = event.offset if event is not None and self._events else self._behind
        return event

    async def _more(self, timeout: Optional[float]) -> List[Event]:
        event = await self._watch.next(timeout)
        return [] if event is None else [event, *self._watch.take_all()]

    def close(self) -> None:
        """Ends the watch. A thread that waits for an event gets none."""
        if not self._thread.loop.is_closed():
            self._thread.run(self._watch.aclose())

    def __enter__(self) -> Watch:
        self._thread.run(self._watch.__aenter__())
        self.offset = self._behind = self._watch.offset
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


_Client = TypeVar("_Client", bound=Client)
