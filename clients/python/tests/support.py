"""What several tests need: a decoder of any value, and a server that does what a test says."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import unittest
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple

from chatshard import _msgpack as m
from chatshard._generated.protocol import HELLO_BYTES

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "docs" / "reference" / "protocol-vectors.json"
SEED = int(os.environ.get("CHATSHARD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
HELLO, PING, LIST, DELETE, WATCH, ADVANCE = 1, 2, 16, 18, 8, 32


def vectors() -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return found


def seeded() -> random.Random:
    """A source of random choices. A test that fails shows the seed."""
    print(f"CHATSHARD_TEST_SEED={SEED}", file=sys.stderr)
    return random.Random(SEED)


def unpack(d: bytes, p: int = 0) -> Tuple[Any, int]:
    """Reads any value of the protocol."""
    marker = d[p]
    if marker == 0xC0:
        return None, p + 1
    if marker in (0xC2, 0xC3):
        return m.read_bool(d, p)
    if 0x90 <= marker <= 0x9F or marker in (0xDC, 0xDD):
        count, p = m.read_array(d, p)
        items = []
        for _ in range(count):
            item, p = unpack(d, p)
            items.append(item)
        return items, p
    if 0xA0 <= marker <= 0xBF or 0xD9 <= marker <= 0xDB:
        return m.read_str(d, p)
    return m.read_int(d, p)


def packed(value: Any) -> bytes:
    parts: List[bytes] = []
    m.pack([value], parts)
    return b"".join(parts)


def frame(value: Any) -> bytes:
    payload = packed(value)
    return len(payload).to_bytes(4, "big") + payload


def hello_reply(shards: int = 1, journal: int = 0, **limits: int) -> List[Any]:
    known: Dict[str, int] = {"request_bytes": 1 << 20, "reply_bytes": 16 << 20, "in_flight": 1024}
    known.update({"idle_ms": 600_000, "hello_bytes": HELLO_BYTES}, **limits)
    order = ["request_bytes", "reply_bytes", "ids", "users", "import_lines", "in_flight"]
    order += ["id_bytes", "idle_ms"]
    values = [known.get(name, 1000) for name in order]
    return ["chatshard", "0.2.0", 1, shards, 4096, 0, 0, values, "active", "", 0, journal]


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> Optional[Tuple[int, int, List[Any]]]:
        """The next request; `None` at the end."""
        try:
            head = await self.reader.readexactly(4)
            payload = await self.reader.readexactly(int.from_bytes(head, "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        (request_id, code, arguments), end = unpack(payload)
        assert end == len(payload)
        return request_id, code, arguments

    def reply(self, request_id: int, body: Any, status: int = 200) -> None:
        self.writer.write(frame([request_id, status, body]))

    async def greet(self, **hello: Any) -> List[Any]:
        """Takes the `hello`, and returns its arguments."""
        request = await self.request()
        assert request is not None and request[1] == HELLO, request
        self.reply(request[0], hello_reply(**hello))
        return request[2]


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    """A test on an event loop that does not speak of slow machines."""

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().slow_callback_duration = 60


Handler = Callable[[Peer], Awaitable[None]]


class FakeServer:
    """Runs a handler for each connection. A connection ends with its handler."""

    def __init__(self, *handlers: Handler) -> None:
        self.handlers = list(handlers)
        self.connections = 0
        self.asked: List[Tuple[int, List[Any]]] = []
        """Codes and arguments of the requests that `serve` took."""
        self.errors: List[BaseException] = []
        self._tasks: List[asyncio.Task[None]] = []

    async def __aenter__(self) -> FakeServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The last handler serves all further connections.
        handler = self.handlers[min(self.connections, len(self.handlers) - 1)]
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            await handler(Peer(reader, writer))
        except asyncio.CancelledError:
            pass
        except ConnectionError:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            writer.transport.abort()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        if self.errors:
            raise self.errors[0]

    def serve(self, *replies: Tuple[Any, Any], **hello: Any) -> Handler:
        """Greets, and gives each request one of the replies, as status and body. Then it ends the
        connection. `...` as status ends it at once, without a reply."""

        async def handler(peer: Peer) -> None:
            await peer.greet(**hello)
            for status, body in replies:
                request = await peer.request()
                if request is None:
                    return
                self.asked.append((request[1], request[2]))
                if status is ...:
                    return
                peer.reply(request[0], body, status)
            await peer.request()

        return handler


def error(name: str, message: str, *more: Any) -> List[Any]:
    return [name, message, *more]


def server(*connections: Any, **hello: Any) -> FakeServer:
    """A server whose connections give these replies, one after the other, and then end."""
    fake = FakeServer()
    fake.handlers = [fake.serve(*replies, **hello) for replies in connections]
    return fake


ROWS: Any = [[], None]
LOST = (..., None)
BUSY = (429, error("busy", "not applied: the queue is full"))
