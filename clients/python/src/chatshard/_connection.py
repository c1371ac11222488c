"""One socket: `hello`, requests in flight, replies by their id, pings, its end.

Invariants:
- At most as many requests are in flight as the server accepts. Further ones wait, in order. So
  they do while the socket takes no bytes.
- Every request ends with the value of its reply or with a `Failure`, also when the connection ends.
- A request that was not sent is known to be so: `Request.is_sent` is set before its first byte can
  leave.
- What a caller no longer waits for keeps its place until the reply comes: the server has it.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Union, cast

from . import _msgpack as m
from ._command import Command
from ._generated import commands
from ._generated.protocol import HELLO_BYTES, IDLE_MS, IN_FLIGHT, PROTOCOL, REPLY_BYTES
from ._generated.records import HelloReply
from ._options import UNIX, Options, host_and_port
from .hooks import SafeHooks

# Bytes of requests that wait for the socket. Beyond it, requests wait in the queue.
BUFFER_BYTES = 256 << 10
# A frame begins with its length, the head of an array of three, and the id in eight bytes.
pack_head = struct.Struct(">IBBQ").pack
HEAD_BYTES = 10
unpack_length = struct.Struct(">I").unpack_from


class Failure:
    """Why a request has no value. It stands in for an exception inside of the package."""

    __slots__ = ("address", "is_sent", "message", "name", "status")

    def __init__(
        self,
        message: str,
        status: int = 0,
        name: str = "connection",
        address: str = "",
        is_sent: bool = False,
    ) -> None:
        self.message = message
        self.status = status
        self.name = name
        # The address of the active, in a reply 421.
        self.address = address
        # Whether the server may have the request.
        self.is_sent = is_sent


class Promise:
    """What a request fulfills; the futures of asyncio are of this form too."""

    def done(self) -> bool:
        raise NotImplementedError

    def set_result(self, result: Any) -> None:
        raise NotImplementedError


class _Nobody(Promise):
    """Nobody waits for a ping."""

    def done(self) -> bool:
        return True


class Request:
    """A request, and where its reply goes."""

    __slots__ = ("body", "command", "is_sent", "on_event", "promise")

    def __init__(
        self,
        command: Command[Any],
        body: bytes,
        promise: Union[Promise, asyncio.Future[Any]],
        on_event: Optional[Callable[[Any], None]] = None,
    ) -> None:
        self.command = command
        self.body = body
        self.promise = promise
        self.is_sent = False
        # Takes the events of a `watch`, which has many replies.
        self.on_event = on_event

    def finish(self, outcome: Any) -> None:
        if not self.promise.done():
            self.promise.set_result(outcome)

    def fail(self, message: str, name: str, status: int = 0) -> None:
        self.finish(Failure(message, status, name, is_sent=self.is_sent))


class Connection(asyncio.Protocol):
    """A connection. `Connection.open` makes one."""

    def __init__(self, address: str, options: Options, hooks: SafeHooks) -> None:
        self.address = address
        self.hello: HelloReply
        self.end: Optional[Failure] = None
        """Why the connection has ended; `None` while it is open."""
        self.was_silent = False
        self.on_end: Callable[[Connection], None] = lambda connection: None
        self.queue: Deque[Request] = deque()
        """Requests that wait for a place in flight."""
        self.open: Dict[int, Request] = {}
        """Requests without a reply, by their ids."""
        self._hooks = hooks
        self._silence = options.silence
        self._pings = options.pings
        self._is_paused = False
        self._idle = IDLE_MS / 2000
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._closed = self._loop.create_future()
        self._is_greeted = False
        self._is_retired = False
        self._in = bytearray()
        self._needed = 0
        self._out: List[bytes] = []
        self._is_full = False
        self._last_id = 0
        self._places = IN_FLIGHT
        self._request_bytes = HELLO_BYTES
        self._reply_bytes = REPLY_BYTES
        self._heard = self._asked = self._loop.time()
        self._pinged: Optional[float] = None
        self._timer: Optional[asyncio.TimerHandle] = None

    @classmethod
    async def open_to(
        cls, address: str, options: Options, hooks: SafeHooks, shard: Optional[int] = None
    ) -> Union[Connection, Failure]:
        """Connects and sends `hello`, within the connect timeout of the options."""
        connection = cls(address, options, hooks)
        try:
            work = connection._greet(options, shard)
            failure = await asyncio.wait_for(work, options.connect_timeout)
        except asyncio.TimeoutError:
            seconds = options.connect_timeout
            what = f"no connection to {address}"
            if connection._transport is not None:
                what = f"{address} accepts connections, but there was no reply to `hello`"
            failure = Failure(f"{what} within {seconds:g} s", name="deadline")
            connection.was_silent = True
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be a host
            failure = Failure(_why(address, error))
        except BaseException:
            connection.abort("the caller gave up")
            raise
        if failure is None and connection.end is None:
            hooks.opened(address, connection.hello.shard)
            return connection
        failure = failure or connection.end
        assert failure is not None
        connection.abort(failure.message)
        return failure

    async def _greet(self, options: Options, shard: Optional[int]) -> Optional[Failure]:
        loop = self._loop
        if self.address.startswith(UNIX):
            await loop.create_unix_connection(lambda: self, self.address[len(UNIX) :])
        else:
            host, port = host_and_port(self.address)
            name = (options.tls_name or host) if options.tls else None
            await loop.create_connection(
                lambda: self, host, port, ssl=options.tls, server_hostname=name
            )
        promise = loop.create_future()
        arguments = [options.token, options.name, shard, options.stale_ms]
        body = commands.HELLO.encode(arguments)
        if len(body) + HEAD_BYTES > HELLO_BYTES:
            return Failure(
                f"hello: the token or the name is over {HELLO_BYTES} bytes", 413, "too_large"
            )
        self.submit(Request(commands.HELLO, body, promise))
        hello = await promise
        if isinstance(hello, Failure):
            if self.address not in hello.message:
                hello.message = f"{self.address}: {hello.message}"
            return hello
        if hello.server != "chatshard" or hello.protocol != PROTOCOL:
            what = f"{hello.server!r} with protocol {hello.protocol}"
            return Failure(f"{self.address}: expected chatshard with protocol 1, found {what}")
        if not hello.shards or not hello.slots:
            return Failure(f"{self.address}: a server without shards or slots")
        self.hello = hello
        limits = hello.limits
        self._is_greeted = True
        self._places = limits.in_flight or IN_FLIGHT
        self._request_bytes = limits.request_bytes or HELLO_BYTES
        self._reply_bytes = limits.reply_bytes or REPLY_BYTES
        self._idle = max((limits.idle_ms or IDLE_MS) / 2000, 0.01)
        self._schedule(self._loop.time() + self._idle)
        return None

    # Requests

    def submit(self, request: Request) -> None:
        """Sends a request, now or when there is a place in flight."""
        if self.end is not None:
            request.fail(self.end.message, self.end.name)
        elif self._is_full or self.queue or len(self.open) >= self._places:
            self.queue.append(request)
        else:
            self._send(request)

    def waits(self) -> bool:
        """Whether a request that is submitted now would wait."""
        return self._is_full or bool(self.queue) or len(self.open) >= self._places

    def _send(self, request: Request) -> None:
        body = request.body
        if len(body) + HEAD_BYTES > self._request_bytes:
            bound = self._request_bytes
            message = f"a request of {len(body)} bytes is over the limit of {bound}"
            request.fail(message, "too_large", 413)
            return
        self._last_id = request_id = self._last_id + 1
        frame = pack_head(len(body) + HEAD_BYTES, 0x93, 0xCF, request_id) + body
        is_first = not self.open
        self.open[request_id] = request
        request.is_sent = True
        if is_first:
            self._asked = self._loop.time()
            self._watch_over(self._asked)
            assert self._transport is not None
            self._transport.write(frame)
        else:
            # More may come in this turn of the loop: one write takes them all.
            if not self._out:
                self._loop.call_soon(self._flush)
            self._out.append(frame)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _send_waiting(self) -> None:
        while self.queue and not self._is_full and len(self.open) < self._places:
            request = self.queue.popleft()
            if not request.promise.done():
                self._send(request)

    def forget_done(self) -> None:
        """Drops requests that wait although nobody waits for them."""
        waiting = [request for request in self.queue if not request.promise.done()]
        self.queue = deque(waiting)

    # Bytes and the end, called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Event loops of others have transports of other classes.
        self._transport = cast(asyncio.Transport, transport)
        if self.end is not None:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def connection_lost(self, error: Optional[Exception]) -> None:
        self._finish(Failure(str(error) if error else "the server closed the connection"))
        if not self._closed.done():
            self._closed.set_result(None)

    def eof_received(self) -> None:
        self._finish(Failure("the server closed the connection"))

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._send_waiting()

    def pause_reading(self) -> None:
        """Reads no more, so that the server waits."""
        if not self._is_paused and self._transport is not None and self.end is None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and self._transport is not None and self.end is None:
            self._is_paused = False
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.end is not None:
            return
        self._heard = self._loop.time()
        self._pinged = None
        if self._in:
            self._in += data
            if len(self._in) < self._needed:
                return
            data = bytes(self._in)
            self._in.clear()
        try:
            self._take(data)
        except m.READ_ERRORS as error:
            is_short = isinstance(error, (IndexError, struct.error))
            what = "a frame ends within a value" if is_short else str(error)
            self._finish(Failure(f"the server sent what is no reply: {what}"))
        if self.queue:
            self._send_waiting()
        if self._is_retired and not self.open and not self.queue:
            self._finish(Failure("the client has left this connection"))

    def _take(self, d: bytes) -> None:
        """Takes the frames of the buffer, and keeps what is left."""
        p, size = 0, len(d)
        while p + 4 <= size:
            start = p + 4
            length: int = unpack_length(d, p)[0]
            if length == 0 or length > self._reply_bytes:
                raise m.WireError(_foreign(d[p : p + 4], length, self._reply_bytes))
            end = start + length
            if end > size:
                self._needed = 4 + length
                break
            self._reply(d, start, end)
            if self.end is not None:
                return
            p = end
        else:
            self._needed = 4
        if p < size:
            self._in += d[p:]

    def _reply(self, d: bytes, p: int, end: int) -> None:
        count = 3
        if d[p] == 0x93:
            p += 1
        else:
            count, p = m.read_array(d, p)
            if count < 3:
                raise m.WireError(f"an array of {count}")
        request_id, p = m.read_int(d, p)
        if d[p] == 0xCC:
            status, p = d[p + 1], p + 2
        else:
            status, p = m.read_int(d, p)
        request = self.open.get(request_id)
        if status != 200:
            outcome: Any
            outcome, p = _read_failure(d, p, status)
        elif request is None:
            raise m.WireError(f"a reply to no request, {request_id}")
        else:
            outcome, p = request.command.read(d, p)
        if count > 3:
            p = m.skip(d, p, count - 3)
        if p != end:
            raise m.WireError("a value does not end with its frame")
        if request is None:
            if request_id != 0:
                raise m.WireError(f"a reply to no request, {request_id}")
            outcome.is_sent = False
            self._finish(outcome)
        elif status == 200 and request.on_event is not None:
            request.on_event(outcome)
        else:
            del self.open[request_id]
            if not request.promise.done():
                request.promise.set_result(outcome)

    def _finish(self, end: Failure) -> None:
        """The connection has ended: every request gets its failure."""
        if self.end is not None:
            return
        self.end = end
        end.message = f"connection to {self.address} lost: {end.message}"
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._out.clear()
        requests = [*self.open.values(), *self.queue]
        self.open.clear()
        self.queue.clear()
        # The status belongs to the connection. Only of a `hello` it says what was decided.
        status, name = (
            (0, "connection") if end.status and self._is_greeted else (end.status, end.name)
        )
        for request in requests:
            request.fail(end.message, name, status)
        if self._is_greeted:
            self._hooks.ended(self.address, end.message)
        self.on_end(self)

    # Closing

    def abort(self, why: str) -> None:
        self._finish(Failure(why, name="closed"))

    def retire(self) -> None:
        """Ends the connection when the requests that it has are done."""
        self._is_retired = True
        if not self.open and not self.queue:
            self.abort("the client has left this connection")

    def is_closed(self) -> bool:
        """Whether asyncio has let go of the socket."""
        return self._transport is None or self._closed.done()

    async def wait_closed(self) -> None:
        """Waits until asyncio has let go of the socket."""
        if self._transport is not None:
            await asyncio.wait([self._closed], timeout=1)

    # Silence

    def _schedule(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look)

    def _watch_over(self, now: float) -> None:
        """A request is in flight: looks after the silence, not only after half of `idle_ms`."""
        if self._timer is None or self._timer.when() > now + self._silence:
            self._schedule(now + self._silence)

    def _look(self) -> None:
        """Sends a ping if the connection is silent, and ends it if there is no reply to that."""
        now = self._loop.time()
        since = max(self._heard, self._asked)
        is_asked = bool(self.open) and (self._pinged is not None or not self._pings)
        patience = self._silence if self.open else self._idle
        due = (self._pinged or since) + patience
        if self._is_paused:
            self._schedule(now + patience)
        elif now < due:
            self._schedule(due)
        elif is_asked:
            self.was_silent = True
            self._finish(Failure(f"the server is silent for {now - since:.1f} s"))
        else:
            self._pinged = now
            self._send(Request(commands.PING, commands.PING.encode([]), _Nobody()))
            self._schedule(now + min(self._silence, self._idle))


def _read_failure(d: bytes, p: int, status: int) -> tuple[Failure, int]:
    """Reads the body of an error: its name, its message, and of a 421 the active's address."""
    count, p = m.read_array(d, p)
    if count < 2:
        raise m.WireError("an error without a name and a message")
    name, p = m.read_str(d, p)
    message, p = m.read_str(d, p)
    address, left = "", count - 2
    if status == 421 and left:
        address, p = m.read_str(d, p)
        left -= 1
    return Failure(message, status, name, address, is_sent=True), m.skip(d, p, left)


def _foreign(first: bytes, length: int, bound: int) -> str:
    """What the user may do if the first bytes belong to another protocol."""
    if first == b"HTTP":
        return "an HTTP server listens there; name the TCP door, whose port is 7700 by default"
    if first[:2] == b"\x15\x03":
        return "the door speaks TLS; set the option tls"
    return f"a frame of {length} bytes; a reply has 1 to {bound}"


def _why(address: str, error: Exception) -> str:
    """The message for a connection that could not be made."""
    if isinstance(error, ssl.SSLError):
        is_plain = "WRONG_VERSION" in str(error) or "HANDSHAKE_FAILURE" in str(error)
        advice = "; this door speaks no TLS, it seems" if is_plain else ""
        return f"TLS with {address}: {error}{advice}"
    if isinstance(error, ConnectionRefusedError):
        return f"cannot connect to {address}: no server listens there"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot connect to {address}: {reason}"
