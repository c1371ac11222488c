"""The stream of changes: it continues where it was, bounds what waits, and ends."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any, List, Optional

from chatshard import (
    AsyncClient,
    ChatType,
    Client,
    ConflictError,
    NotAppliedError,
    UnauthenticatedError,
)
from chatshard import watch as watching
from chatshard.testing import Server

from support import WATCH, AsyncTest, FakeServer, Peer, error


def event(offset: int, op: str = "advance") -> List[Any]:
    return [str(offset), None, "c", op, offset, 1, *[None] * 6]


def stream(*parts: Any, asked: Optional[List[Any]] = None) -> Any:
    """Serves calls, and a watch that sends these events. An error ends it."""

    async def handler(peer: Peer) -> None:
        await peer.greet()
        while True:
            request = await peer.request()
            if request is None:
                return
            request_id, code, arguments = request
            if code != WATCH:
                peer.reply(request_id, [])
                continue
            if asked is not None:
                asked.append(arguments[0])
            for part in parts:
                if part is None:
                    return
                if isinstance(part, tuple):
                    peer.reply(request_id, part[1], part[0])
                else:
                    peer.reply(request_id, part)
            await peer.writer.drain()

    return handler


class Streams(AsyncTest):
    async def take(self, watch: Any, count: int) -> List[str]:
        found: List[str] = []
        while len(found) < count:
            one = await watch.next(5)
            self.assertIsNotNone(one)
            found.append(one.offset)
        return found

    async def test_it_continues_behind_the_last_event(self) -> None:
        asked: List[Any] = []
        parts = [event(0, "heartbeat"), event(1), event(2)]
        slow = (429, error("busy", "the client takes its events too slowly; go on at 2"))
        moved = (421, error("moved", "not the active", "", 0, 1))
        gone = (503, error("unavailable", "the server stops"))
        async with FakeServer(
            stream(),
            stream(*parts, None, asked=asked),
            stream(event(3), slow, asked=asked),
            stream(event(4), moved, asked=asked),
            stream(event(5), gone, asked=asked),
            stream(event(6), asked=asked),
        ) as fake:
            async with AsyncClient(fake.address) as client:
                async with client.watch() as watch:
                    self.assertEqual(watch.offset, "0")
                    self.assertEqual(await self.take(watch, 6), list("123456"))
                    self.assertEqual(watch.offset, "6")
        self.assertEqual(asked, [None, "2", "3", "4", "5"])

    async def test_refusals_end_it(self) -> None:
        not_kept = (409, error("conflict", "the log does not hold this offset any more"))
        async with FakeServer(stream(), stream(event(1), not_kept)) as fake:
            async with AsyncClient(fake.address) as client:
                watch = client.watch("0")
                self.assertEqual((await watch.__anext__()).offset, "1")
                for _ in range(2):
                    with self.assertRaises(ConflictError):
                        await watch.__anext__()
                await watch.aclose()

        async def stranger(peer: Peer) -> None:
            request = await peer.request()
            assert request is not None
            peer.reply(request[0], error("unauthenticated", "no"), 401)

        async with FakeServer(stream(), stranger) as fake:
            async with AsyncClient(fake.address) as client:
                with self.assertRaises(UnauthenticatedError):
                    async with client.watch():
                        pass

    async def test_unknown_changes_are_passed_over_and_heartbeats_on_request(self) -> None:
        parts = [event(0, "heartbeat"), event(1), event(2, "of-the-future"), event(3)]
        parts.append(event(4, "heartbeat"))
        async with FakeServer(stream(*parts)) as fake:
            async with AsyncClient(fake.address) as client:
                async with client.watch() as watch:
                    self.assertEqual(await self.take(watch, 2), ["1", "3"])
                    self.assertIsNone(await watch.next(0.05))
                    self.assertEqual(watch.offset, "4")
                async with client.watch(heartbeats=True) as watch:
                    self.assertEqual(await self.take(watch, 4), ["0", "1", "3", "4"])

    async def test_a_silent_stream_is_made_again(self) -> None:
        asked: List[Any] = []
        servers = [stream(), stream(event(1), asked=asked), stream(event(2), asked=asked)]
        async with FakeServer(*servers) as fake:
            async with AsyncClient(fake.address) as client:
                client._watch_silence = 0.2
                async with client.watch() as watch:
                    self.assertEqual(await self.take(watch, 2), ["1", "2"])
        self.assertEqual(asked[:2], [None, "1"])

    async def test_a_slow_reader_holds_the_server_back(self) -> None:
        total = 10_000
        sent = 0

        async def flood(peer: Peer) -> None:
            nonlocal sent
            await peer.greet()
            request = await peer.request()
            assert request is not None
            for number in range(total):
                peer.reply(request[0], [str(number), "u" * 2000, *event(number)[2:]])
                sent = number + 1
                if number % 50 == 0:
                    await peer.writer.drain()
            await peer.request()

        async with FakeServer(stream(), flood) as fake:
            async with AsyncClient(fake.address) as client:
                async with client.watch() as watch:
                    await asyncio.sleep(0.5)
                    waiting = len(watch._events)
                    # One read of the socket may bring more than the bound.
                    self.assertLess(waiting, 3_000)
                    self.assertGreaterEqual(waiting, watching.EVENTS_MAX)
                    self.assertLess(sent, total)
                    self.assertEqual(await self.take(watch, total), [str(n) for n in range(total)])

    async def test_closing_ends_who_waits(self) -> None:
        async with FakeServer(stream(event(0, "heartbeat"))) as fake:
            client = AsyncClient(fake.address)
            await client.connect()
            watch = client.watch()
            waiting = asyncio.ensure_future(self.count(watch))
            await asyncio.sleep(0.1)
            await client.close()
            self.assertEqual(await asyncio.wait_for(waiting, 2), 0)
            with self.assertRaises(NotAppliedError):
                await client.watch().next()

    async def count(self, watch: Any) -> int:
        return len([one async for one in watch])

    async def test_it_begins_within_the_call_timeout_or_fails(self) -> None:
        async def deaf(peer: Peer) -> None:
            await peer.greet()
            await asyncio.sleep(60)

        async with FakeServer(stream(), deaf) as fake:
            async with AsyncClient(fake.address, call_timeout=0.3) as client:
                with self.assertRaises(NotAppliedError) as caught:
                    async with client.watch():
                        pass
                self.assertEqual(caught.exception.name, "deadline")


class WithAServer(AsyncTest):
    async def test_changes_come_in_order_and_again_from_an_offset(self) -> None:
        with Server() as server:
            async with AsyncClient(server.address) as client:
                async with client.watch() as watch:
                    start = watch.offset
                    await client.create(ChatType.GROUP, "a", ["a", "b"], id="g")
                    await client.advance("g", allocate=1, sender_id="a")
                    await client.mark_read("b", "g", 1)
                    ops = []
                    async for one in watch:
                        ops.append(one.op)
                        if one.op == "read":
                            break
                    self.assertEqual(ops, ["create", "join", "join", "advance", "read"])
                async with client.watch(start) as again:
                    first = await again.next(5)
                    assert first is not None
                    self.assertEqual(first.op, "create")
            with Client(server.address) as blocking, blocking.watch(start) as told:
                self.assertEqual([next(told).op for _ in range(5)], ops)
                self.assertIsNone(told.next(0.05))
                blocking.touch("a")
                blocking.set_flags("a", "g", is_top=True)
                last = told.next(5)
                assert last is not None
                self.assertEqual((last.op, last.is_top), ("flags", True))
                self.assertEqual(told.offset, last.offset)


if __name__ == "__main__":
    unittest.main()
