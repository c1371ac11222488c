"""Calls: deadlines, repeats, keys, bounds, and what an error says."""

from __future__ import annotations

import asyncio
import time
import unittest
from dataclasses import replace
from typing import Any, Dict, List

from chatshard import (
    AsyncClient,
    Attempt,
    CallError,
    ConflictError,
    Hooks,
    NotAppliedError,
    NotFoundError,
    Outcome,
    OutcomeUnknownError,
    TooLargeError,
    UnauthenticatedError,
)
from chatshard._generated import commands
from chatshard._hash import xxh64
from chatshard.aio import Call

from support import DELETE, LIST, PING, AsyncTest, FakeServer, Peer, error

ROWS: Any = [[], None]
LOST = (..., None)
BUSY = (429, error("busy", "not applied: the queue is full"))
NOT_APPLIED = (503, error("unavailable", "not applied: no lease"))
UNKNOWN = (503, error("unavailable", "outcome unknown: the server stopped"))


def server(*connections: Any, **hello: Any) -> FakeServer:
    """Each connection gives its replies, one after the other, and then ends."""
    fake = FakeServer()
    fake.handlers = [fake.serve(*replies, **hello) for replies in connections]
    return fake


class Repeats(AsyncTest):
    async def test_a_read_and_a_write_with_a_key_are_repeated(self) -> None:
        for failure in (LOST, BUSY, NOT_APPLIED, UNKNOWN):
            async with server([failure, (200, ROWS)], [(200, ROWS)]) as fake:
                async with AsyncClient(fake.address) as client:
                    self.assertEqual((await client.list("u")).items, ())
            self.assertEqual([code for code, _ in fake.asked], [LIST, LIST])
            async with server([failure, (200, None)], [(200, None)]) as fake:
                async with AsyncClient(fake.address) as client:
                    await client.delete("u", ["c"])
            (first, one), (second, other) = fake.asked
            self.assertEqual((first, second), (DELETE, DELETE))
            self.assertEqual(one, other)
            self.assertEqual(len(one[3]), 32)

    async def test_a_write_without_a_key_is_not_repeated(self) -> None:
        for failure, kind in (
            (LOST, OutcomeUnknownError),
            (UNKNOWN, OutcomeUnknownError),
            (NOT_APPLIED, NotAppliedError),
            (BUSY, NotAppliedError),
        ):
            async with server([failure, (200, None)]) as fake:
                async with AsyncClient(fake.address, keys=False) as client:
                    with self.assertRaises(kind):
                        await client.delete("u", ["c"])
            self.assertEqual(len(fake.asked), 1)

    async def test_a_key_of_the_caller_stays(self) -> None:
        async with server([LOST], [(200, [1, 1, 1])]) as fake:
            async with AsyncClient(fake.address) as client:
                await client.advance("c", allocate=1, idempotency_key="mine")
        self.assertEqual([asked[1][6] for asked in fake.asked], ["mine", "mine"])

    async def test_what_may_have_been_applied_is_never_called_not_applied(self) -> None:
        async with server([LOST], *[[BUSY]] * 50) as fake:
            async with AsyncClient(fake.address, call_timeout=0.4) as client:
                with self.assertRaises(OutcomeUnknownError):
                    await client.delete("u", ["c"])
        refused = (401, error("unauthenticated", "the token is gone"))

        async def stranger(peer: Peer) -> None:
            request = await peer.request()
            assert request is not None
            peer.reply(request[0], refused[1], 401)

        fake = server([LOST])
        fake.handlers.append(stranger)
        async with fake:
            async with AsyncClient(fake.address, call_timeout=2) as client:
                with self.assertRaises(OutcomeUnknownError):
                    await client.delete("u", ["c"])

    async def test_a_refusal_ends_the_call_at_once(self) -> None:
        async with server([(404, error("not_found", "there is no such chat"))]) as fake:
            async with AsyncClient(fake.address) as client:
                with self.assertRaises(NotFoundError) as caught:
                    await client.members("c")
        found = caught.exception
        self.assertEqual((found.status, found.name), (404, "not_found"))
        self.assertEqual((found.command, found.outcome), ("members", Outcome.REFUSED))
        self.assertEqual(str(found), "members: 404 not_found: refused: there is no such chat")
        self.assertEqual(len(fake.asked), 1)

    async def test_a_lost_server_is_found_again(self) -> None:
        async with server([LOST], [LOST], [LOST], [(200, ROWS)]) as fake:
            async with AsyncClient(fake.address) as client:
                await client.list("u")
        self.assertEqual(fake.connections, 4)

    async def test_pauses_grow_up_to_two_seconds(self) -> None:
        call = Call(commands.LIST, b"", None, 0.0, False)
        bounds = []
        for _ in range(9):
            bounds.append(call.bound)
            self.assertLessEqual(call.pause(), bounds[-1])
        self.assertEqual(bounds[:3], [0.05, 0.1, 0.2])
        self.assertEqual(bounds[-1], 2.0)


class Bounds(AsyncTest):
    async def test_no_more_requests_are_in_flight_than_the_server_accepts(self) -> None:
        most = 0

        async def handler(peer: Peer) -> None:
            nonlocal most
            await peer.greet(in_flight=2)
            held: List[int] = []

            def reply() -> None:
                peer.reply(held.pop(), ROWS)

            while True:
                request = await peer.request()
                if request is None:
                    return
                held.append(request[0])
                most = max(most, len(held))
                asyncio.get_running_loop().call_later(0.03, reply)

        async with FakeServer(handler) as fake:
            async with AsyncClient(fake.address, connections=1) as client:
                await asyncio.gather(*(client.list(f"u{n}") for n in range(7)))
        self.assertEqual(most, 2)

    async def test_too_many_waiting_calls_fail_as_not_applied(self) -> None:
        async with FakeServer(silent(in_flight=1)) as fake:
            client = AsyncClient(fake.address, waiting_calls=3, call_timeout=0.5)
            await client.connect()
            calls = [asyncio.ensure_future(client.delete("u", ["c"])) for _ in range(6)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            await client.close()
        names = sorted(one.name for one in results if isinstance(one, CallError))
        self.assertEqual(names, ["deadline"] * 4 + ["too_many_waiting"] * 2)
        sent = [one for one in results if isinstance(one, OutcomeUnknownError)]
        self.assertEqual(len(sent), 1)

    async def test_calls_that_ended_make_room_for_others(self) -> None:
        async with FakeServer(silent(in_flight=1)) as fake:
            client = AsyncClient(fake.address, waiting_calls=2, call_timeout=0.5)
            await client.connect()
            held = asyncio.ensure_future(client.list("u"))
            for _ in range(3):
                with self.assertRaises(NotAppliedError) as caught:
                    await asyncio.gather(*(client.list("u", timeout=0.05) for _ in range(2)))
                self.assertEqual(caught.exception.name, "deadline")
                await asyncio.sleep(0.05)
            with self.assertRaises(NotAppliedError):
                await held
            await client.close()

    async def test_a_request_over_the_limit_is_not_sent(self) -> None:
        async with server([(200, ROWS)], request_bytes=1000) as fake:
            async with AsyncClient(fake.address) as client:
                with self.assertRaises(TooLargeError):
                    await client.unread([f"user{n}" for n in range(200)])
                await client.list("u")
        self.assertEqual(len(fake.asked), 1)

    async def test_arguments_of_a_wrong_type_are_an_error_before_anything_is_sent(self) -> None:
        async with server([(200, ROWS)]) as fake:
            async with AsyncClient(fake.address) as client:
                with self.assertRaises(TypeError):
                    await client.unread("alice")
                with self.assertRaises(ValueError):
                    await client.mark_read("u", "c", -1)
                self.assertEqual(client._calls, {})
        self.assertEqual(fake.asked, [])


def silent(**hello: Any) -> Any:
    """A server that greets, and replies to nothing."""

    async def handler(peer: Peer) -> None:
        await peer.greet(**hello)
        while await peer.request() is not None:
            pass

    return handler


class Deadlines(AsyncTest):
    async def test_a_call_ends_within_its_deadline_and_says_what_is_known(self) -> None:
        async with FakeServer(silent()) as fake:
            async with AsyncClient(fake.address) as client:
                begun = time.monotonic()
                with self.assertRaises(NotAppliedError) as read:
                    await client.list("u", timeout=0.1)
                with self.assertRaises(OutcomeUnknownError) as write:
                    await client.delete("u", ["c"], timeout=0.1)
                took = time.monotonic() - begun
        self.assertEqual((read.exception.name, write.exception.name), ("deadline", "deadline"))
        self.assertTrue(0.19 < took < 2, took)

    async def test_many_calls_of_several_deadlines_end_in_time(self) -> None:
        async with FakeServer(silent()) as fake:
            async with AsyncClient(fake.address) as client:

                async def one(seconds: float) -> float:
                    begun = time.monotonic()
                    with self.assertRaises(NotAppliedError):
                        await client.list("u", timeout=seconds)
                    return time.monotonic() - begun - seconds

                times = [0.3, 0.1, 0.5, 0.2, 0.4, 0.1, 0.3]
                late = await asyncio.gather(*(one(seconds) for seconds in times))
        self.assertLess(max(late), 1)
        self.assertGreater(min(late), -0.01)

    async def test_a_call_without_a_server_ends_in_time(self) -> None:
        client = AsyncClient("127.0.0.1:1", call_timeout=0.4)
        begun = time.monotonic()
        with self.assertRaises(NotAppliedError) as caught:
            await client.delete("u", ["c"])
        self.assertLess(time.monotonic() - begun, 2)
        self.assertIn("cannot connect to 127.0.0.1:1", caught.exception.message)
        await client.close()

    async def test_a_cancelled_call_leaves_nothing(self) -> None:
        async with FakeServer(silent(in_flight=1)) as fake:
            async with AsyncClient(fake.address) as client:
                calls = [asyncio.ensure_future(client.list("u")) for _ in range(3)]
                await asyncio.sleep(0.05)
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)
                self.assertEqual(client._calls, {})


class Ends(AsyncTest):
    async def test_close_waits_for_calls_and_refuses_later_ones(self) -> None:
        async def slow(peer: Peer) -> None:
            await peer.greet()
            request = await peer.request()
            assert request is not None
            await asyncio.sleep(0.2)
            peer.reply(request[0], ROWS)
            await peer.request()

        async with FakeServer(slow) as fake:
            client = AsyncClient(fake.address)
            await client.connect()
            call = asyncio.ensure_future(client.list("u"))
            await asyncio.sleep(0.05)
            await client.close()
            self.assertEqual((await call).items, ())
            with self.assertRaises(NotAppliedError) as caught:
                await client.list("u")
            self.assertEqual(caught.exception.name, "closed")
            await client.close()

    async def test_close_ends_calls_that_take_too_long(self) -> None:
        async with FakeServer(silent()) as fake:
            client = AsyncClient(fake.address, call_timeout=0.2)
            await client.connect()
            call = asyncio.ensure_future(client.delete("u", ["c"], timeout=60))
            await asyncio.sleep(0.05)
            await client.close()
            with self.assertRaises(OutcomeUnknownError) as caught:
                await asyncio.wait_for(call, 1)
            self.assertEqual(caught.exception.name, "closed")

    async def test_close_ends_calls_that_pause_or_connect(self) -> None:
        client = AsyncClient("127.0.0.1:1", call_timeout=0.05)
        call = asyncio.ensure_future(client.list("u", timeout=60))
        await asyncio.sleep(0.3)
        await client.close()
        with self.assertRaises(NotAppliedError):
            await asyncio.wait_for(call, 1)

    async def test_a_client_that_was_never_used_closes(self) -> None:
        client = AsyncClient()
        await client.close()
        with self.assertRaises(NotAppliedError):
            await client.ping()


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
            {"connections": 0},
            {"call_timeout": 0},
            {"stale": 0},
            {"stale": 601},
            {"waiting_calls": -1},
        ]
        for options in wrong:
            with self.assertRaises(ValueError):
                AsyncClient(**options)

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
