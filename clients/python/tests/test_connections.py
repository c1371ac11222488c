"""Connections: silence, shards, hooks and options."""

from __future__ import annotations

import asyncio
import time
import unittest
from dataclasses import replace
from typing import Any, Dict, List

from chatshard import (
    AsyncClient,
    Attempt,
    ConflictError,
    Hooks,
    NotAppliedError,
    Outcome,
    UnauthenticatedError,
)
from chatshard._hash import xxh64

from support import BUSY, LIST, LOST, PING, ROWS, AsyncTest, FakeServer, Peer, error, server


class Silence(AsyncTest):
    def client(self, address: str, silence: float, **options: Any) -> AsyncClient:
        client = AsyncClient(address, **options)
        client._options = replace(client._options, silence=silence)
        return client

    async def test_a_silent_connection_gets_a_ping_and_is_then_left(self) -> None:
        asked: List[int] = []

        async def deaf(peer: Peer) -> None:
            await peer.greet()
            while True:
                request = await peer.request()
                if request is None:
                    return
                asked.append(request[1])

        async with FakeServer(deaf) as fake:
            fake.handlers.append(fake.serve((200, ROWS)))
            async with self.client(fake.address, 0.15) as client:
                await client.list("u")
        self.assertEqual(asked, [LIST, PING])
        self.assertEqual(fake.connections, 2)

    async def test_a_slow_reply_is_awaited_while_the_server_replies_to_pings(self) -> None:
        pings = 0

        async def slow(peer: Peer) -> None:
            nonlocal pings
            await peer.greet()
            first = await peer.request()
            assert first is not None
            while pings < 3:
                request = await peer.request()
                assert request is not None and request[1] == PING
                pings += 1
                peer.reply(request[0], [])
            peer.reply(first[0], ROWS)
            await peer.request()

        async with FakeServer(slow) as fake:
            async with self.client(fake.address, 0.1) as client:
                await client.list("u")
        self.assertEqual(fake.connections, 1)

    async def test_an_idle_connection_gets_pings(self) -> None:
        asked = asyncio.Event()

        async def idle(peer: Peer) -> None:
            await peer.greet(idle_ms=200)
            for _ in range(2):
                request = await peer.request()
                assert request is not None and request[1] == PING
                peer.reply(request[0], [])
            asked.set()
            await peer.request()

        async with FakeServer(idle) as fake:
            async with self.client(fake.address, 5.0):
                await asyncio.wait_for(asked.wait(), 5)


class Shards(AsyncTest):
    async def test_a_key_goes_to_the_connection_of_its_shard(self) -> None:
        asked: Dict[int, List[str]] = {}

        async def handler(peer: Peer) -> None:
            shard = (await peer.greet(shards=4))[2] or 0
            while True:
                request = await peer.request()
                if request is None:
                    return
                asked.setdefault(shard, []).append(request[2][0])
                peer.reply(request[0], ROWS)

        keys = [f"user{number}" for number in range(40)]
        async with FakeServer(handler) as fake:
            async with AsyncClient(fake.address) as client:
                for key in keys:
                    await client.list(key)
            self.assertEqual(fake.connections, 4)
            for shard, found in asked.items():
                for key in found:
                    self.assertEqual(xxh64(key.encode()) % 4096 % 4, shard)
            self.assertEqual(sorted(key for found in asked.values() for key in found), sorted(keys))
            self.assertEqual(len(asked), 4)

    async def test_the_calls_of_a_lost_connection_take_another_one(self) -> None:
        peers: Dict[int, Peer] = {}

        async def handler(peer: Peer) -> None:
            shard = (await peer.greet(shards=2))[2] or 0
            peers[shard] = peer
            while True:
                request = await peer.request()
                if request is None:
                    return
                peer.reply(request[0], ROWS)

        async with FakeServer(handler) as fake:
            async with AsyncClient(fake.address) as client:
                peers.pop(1).writer.transport.abort()
                await asyncio.sleep(0.05)
                for number in range(10):
                    await client.list(f"u{number}")
                for _ in range(40):
                    if 1 in peers:
                        break
                    await asyncio.sleep(0.05)
                self.assertIn(1, peers)

    async def test_one_connection_serves_all_if_the_options_say_so(self) -> None:
        async with server([(200, ROWS)] * 5, shards=4) as fake:
            async with AsyncClient(fake.address, connections=1) as client:
                for number in range(5):
                    await client.list(f"u{number}")
        self.assertEqual(fake.connections, 1)


class Told(Hooks):
    def __init__(self) -> None:
        self.attempts: List[Attempt] = []
        self.opened: List[int] = []
        self.ended: List[str] = []

    def after_attempt(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        raise RuntimeError("a hook that fails")

    def connection_opened(self, address: str, shard: int) -> None:
        self.opened.append(shard)

    def connection_ended(self, address: str, reason: str) -> None:
        self.ended.append(reason)


class TheHooks(AsyncTest):
    async def test_each_attempt_and_each_connection_is_told(self) -> None:
        hooks = Told()
        conflict = (409, error("conflict", "another version"))
        with self.assertLogs("chatshard", "ERROR"):
            async with server([LOST], [BUSY, (200, ROWS), conflict]) as fake:
                async with AsyncClient(fake.address, hooks=hooks) as client:
                    await client.list("u")
                    with self.assertRaises(ConflictError):
                        await client.delete("u", ["c"])
        seen = [(one.command, one.number, one.outcome) for one in hooks.attempts]
        not_applied = Outcome.NOT_APPLIED
        self.assertEqual(
            seen,
            [
                ("list", 1, not_applied),
                ("list", 2, not_applied),
                ("list", 3, None),
                ("delete", 1, Outcome.REFUSED),
            ],
        )
        self.assertTrue(all(one.seconds >= 0 for one in hooks.attempts))
        self.assertEqual((len(hooks.opened), len(hooks.ended)), (2, 2))


class Options(AsyncTest):
    async def test_hello_has_what_the_options_say(self) -> None:
        hellos: List[Any] = []

        async def handler(peer: Peer) -> None:
            hellos.append(await peer.greet())
            await peer.request()

        async with FakeServer(handler) as fake:
            options: Dict[str, Any] = dict(token="secret", name="app/1", stale=0.5)
            async with AsyncClient(fake.address, **options) as client:
                self.assertNotIn("secret", repr(client._options))
            async with AsyncClient(fake.address):
                pass
        self.assertEqual(hellos[0], ["secret", "app/1", None, 500])
        self.assertRegex(hellos[1][1], r"^chatshard-python/\d")

    async def test_wrong_options_are_errors(self) -> None:
        wrong: List[Dict[str, Any]] = [
            {"addresses": []},
            {"addresses": "nowhere"},
            {"addresses": "host:port"},
            {"addresses": "http://host:7700"},
            {"connections": 0},
            {"call_timeout": 0},
            {"call_timeout": float("nan")},
            {"stale": 0},
            {"stale": 601},
            {"waiting_calls": -1},
            {"token": "from-a-file\n"},
        ]
        for options in wrong:
            with self.assertRaises(ValueError):
                AsyncClient(**options)
        numbers: List[Any] = [7700, [7700], b"host:7700"]
        for addresses in numbers:
            with self.assertRaisesRegex(TypeError, "addresses: expected"):
                AsyncClient(addresses)

    async def test_a_refused_hello_is_the_error_of_connect(self) -> None:
        async def handler(peer: Peer) -> None:
            request = await peer.request()
            assert request is not None
            peer.reply(request[0], error("unauthenticated", "hello: the token is wrong"), 401)

        async with FakeServer(handler) as fake:
            begun = time.monotonic()
            client = AsyncClient(fake.address)
            with self.assertRaises(UnauthenticatedError):
                await client.connect()
            with self.assertRaises(UnauthenticatedError):
                await client.advance("c", allocate=1)
            self.assertLess(time.monotonic() - begun, 3)
            await client.close()

    async def test_no_place_on_the_server_is_not_applied(self) -> None:
        async def handler(peer: Peer) -> None:
            await peer.request()
            peer.reply(0, error("busy", "too many connections; try again later"), 429)
            await peer.request()

        async with FakeServer(handler) as fake:
            client = AsyncClient(fake.address)
            with self.assertRaises(NotAppliedError) as caught:
                await client.connect()
            self.assertEqual(caught.exception.status, 429)
            await client.close()

    async def test_a_client_of_another_loop_says_so(self) -> None:
        async with server([(200, ROWS)]) as fake:
            async with AsyncClient(fake.address) as client:

                def elsewhere() -> None:
                    with self.assertRaisesRegex(RuntimeError, "another event loop"):
                        asyncio.run(client.ping())

                await asyncio.get_running_loop().run_in_executor(None, elsewhere)

    async def test_a_name_that_is_no_host_is_an_error_in_time(self) -> None:
        for address in ("x" * 70 + ".example:1", "a..b:1"):
            client = AsyncClient(address, call_timeout=0.3)
            with self.assertRaises(NotAppliedError):
                await client.ping()
            await client.close()


if __name__ == "__main__":
    unittest.main()
