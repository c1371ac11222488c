"""Calls per second of the client beside a raw loop on the same kind of socket.

    CHATSHARD_BIN=target/release/chatshard python3 bench/speed.py [SECONDS]

The raw loops send frames that are made beforehand, and skip each reply by its length. So the ratio
shows what the client costs: futures, deadlines, encoding, decoding. One loop is for asyncio (a
protocol, as the client has one), one for a blocking socket.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import Any, Awaitable, Callable, Dict, List, Tuple

from chatshard import AsyncClient, ChatType, Client
from chatshard._generated import commands as c
from chatshard._options import host_and_port
from chatshard.testing import Server

Figure = Tuple[float, float]
"""Calls per second, and µs of CPU time of this process for each."""


class Clock:
    """Measures from its making on."""

    def __init__(self, done: int) -> None:
        self.done, self.wall, self.cpu = done, time.perf_counter(), time.process_time()

    def figure(self, done: int) -> Figure:
        count = max(1, done - self.done)
        rate = count / (time.perf_counter() - self.wall)
        return rate, (time.process_time() - self.cpu) / count * 1e6


SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
BODIES = {
    "list50": c.LIST.encode(["reader", 50, None]),
    "detail1": c.DETAIL.encode([["chat7"], "reader"]),
    "advance": c.ADVANCE.encode(["chat7", None, 1, None, "reader", None, "0" * 32, None]),
}


def frame(body: bytes, request_id: int = 1) -> bytes:
    payload = b"\x93" + request_id.to_bytes(1, "big") + body
    return len(payload).to_bytes(4, "big") + payload


HELLO = frame(c.HELLO.encode([None, "raw", None, None]))


def advance_frames(count: int, round_of: List[int]) -> bytes:
    """Frames with a key of their own each, or every call would be a repeat."""
    body = BODIES["advance"]
    frames = []
    for _ in range(count):
        round_of[0] += 1
        frames.append(frame(body.replace(b"0" * 32, b"%032d" % round_of[0])))
    return b"".join(frames)


class Raw(asyncio.Protocol):
    """Counts replies, and sends the next requests when all are there."""

    def __init__(self, make: Callable[[int], bytes], depth: int) -> None:
        self.make, self.depth = make, depth
        self.left, self.done, self.buffer = 1, 0, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(HELLO)

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        p, size = 0, len(data)
        while p + 4 <= size:
            end = p + 4 + int.from_bytes(data[p : p + 4], "big")
            if end > size:
                break
            p = end
            self.done += 1
            self.left -= 1
            if not self.left:
                self.left = self.depth
                self.transport.write(self.make(self.depth))
        self.buffer = data[p:]


async def raw_asyncio(address: str, make: Callable[[int], bytes], depth: int) -> Figure:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: Raw(make, depth), *host_and_port(address)
    )
    await asyncio.sleep(0.2)
    clock = Clock(protocol.done)
    await asyncio.sleep(SECONDS)
    figure = clock.figure(protocol.done)
    transport.close()
    return figure


def raw_blocking(address: str, make: Callable[[int], bytes]) -> Figure:
    with socket.create_connection(host_and_port(address)) as door:
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        sent, done = HELLO, -1
        clock = Clock(0)
        while time.perf_counter() - clock.wall < SECONDS:
            door.sendall(sent)
            while len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[:4], "big"):
                buffer += door.recv(1 << 16)
            buffer = buffer[4 + int.from_bytes(buffer[:4], "big") :]
            sent, done = make(1), done + 1
        return clock.figure(done)


async def of_client(call: Callable[[], Awaitable[Any]], depth: int) -> Figure:
    done = 0
    is_over = False

    async def work() -> None:
        nonlocal done
        while not is_over:
            await call()
            done += 1

    tasks = [asyncio.ensure_future(work()) for _ in range(depth)]
    await asyncio.sleep(0.2)
    clock = Clock(done)
    await asyncio.sleep(SECONDS)
    figure = clock.figure(done)
    is_over = True
    await asyncio.gather(*tasks)
    return figure


def of_blocking(call: Callable[[], Any]) -> Figure:
    clock, done = Clock(0), 0
    while time.perf_counter() - clock.wall < SECONDS:
        call()
        done += 1
    return clock.figure(done)


def row(name: str, raw: Figure, client: Figure) -> None:
    rates = f"{raw[0]:9.0f} | {client[0]:9.0f} | {client[0] / raw[0]:.2f}"
    print(f"| {name:25} | {rates} | {raw[1]:5.1f} | {client[1]:5.1f} |", flush=True)


async def fill(address: str) -> None:
    async with AsyncClient(address) as client:
        for number in range(50):
            await client.create(ChatType.GROUP, "reader", ["reader"], id=f"chat{number}")


def calls(client: Any) -> Dict[str, Callable[[], Any]]:
    return {
        "list50": lambda: client.list("reader", limit=50),
        "detail1": lambda: client.detail(["chat7"], user_id="reader"),
        "advance": lambda: client.advance("chat7", allocate=1, sender_id="reader"),
    }


async def with_asyncio(address: str, makers: Dict[str, Callable[[int], bytes]]) -> None:
    async with AsyncClient(address, connections=1) as client:
        for name, call in calls(client).items():
            for depth in (1, 64):
                raw = await raw_asyncio(address, makers[name], depth)
                row(f"asyncio, {name}, depth {depth}", raw, await of_client(call, depth))


def main() -> None:
    round_of = [0]
    makers: Dict[str, Callable[[int], bytes]] = {
        name: frame(body).__mul__ for name, body in BODIES.items()
    }
    makers["advance"] = lambda count: advance_frames(count, round_of)
    with Server(("--shards", "1", "--fsync", "never", "--log-level", "error")) as server:
        asyncio.run(fill(server.address))
        print("| | raw, calls/s | client, calls/s | ratio | raw, µs of CPU | client, µs of CPU |")
        print("|---|---|---|---|---|---|")
        asyncio.run(with_asyncio(server.address, makers))
        with Client(server.address, connections=1) as client:
            for name, call in calls(client).items():
                raw = raw_blocking(server.address, makers[name])
                row(f"blocking, {name}, depth 1", raw, of_blocking(call))


if __name__ == "__main__":
    main()
