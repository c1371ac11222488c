"""Calls: deadlines, repeats, keys, bounds, and what an error says."""

from __future__ import annotations

import asyncio
import time
import unittest
from collections import Counter
from typing import Any, List, cast
from unittest import mock

from chatshard import (
    AsyncClient,
    CallError,
    NotAppliedError,
    NotFoundError,
    Outcome,
    OutcomeUnknownError,
    TooLargeError,
)
from chatshard._call import Call
from chatshard._generated import commands

from support import BUSY, DELETE, LIST, LOST, ROWS, AsyncTest, FakeServer, Peer, error, server

NOT_APPLIED = (503, error("unavailable", "not applied: no lease"))
UNKNOWN = (503, error("unavailable", "outcome unknown: the server stopped"))


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

    async def test_calls_over_the_bound_fail_fast_however_many_wait(self) -> None:
        async with FakeServer(silent(in_flight=1)) as fake:
            client = AsyncClient(fake.address, waiting_calls=5000, connections=1)
            await client.connect()
            assert client._pool is not None
            connection = client._pool._places[0]
            assert connection is not None
            with mock.patch.object(connection, "forget_done") as look:
                begun = time.monotonic()
                calls = [asyncio.ensure_future(client.list("u", timeout=3)) for _ in range(7001)]
                await asyncio.sleep(0)
                seconds = time.monotonic() - begun
            results = await asyncio.gather(*calls, return_exceptions=True)
            await client.close()
        names = Counter(one.name for one in results if isinstance(one, CallError))
        self.assertEqual(names, {"deadline": 5001, "too_many_waiting": 2000})
        self.assertLess(look.call_count, 2 + seconds / 0.02)

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
                wrong: Any = 5
                for call in (
                    lambda: client.list(wrong),
                    lambda: client.unread([wrong]),
                    lambda: client.sync("u", since=wrong),
                    lambda: client.mark_read_many("u", [wrong]),
                    lambda: client.set_flags("u", "c", is_top=cast(Any, "yes")),
                    lambda: client.ping(timeout=cast(Any, "1")),
                ):
                    with self.assertRaises(TypeError):
                        await call()
                with self.assertRaises(ValueError):
                    await client.ping(timeout=float("nan"))
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

    async def test_a_pause_that_ends_late_is_followed_by_no_attempt(self) -> None:
        async with server([BUSY, LOST]) as fake:
            fake.handlers.append(silent())
            async with AsyncClient(fake.address) as client:
                with mock.patch("random.uniform", return_value=0.2):
                    # The loop is busy from before the end of the pause until after the deadline.
                    asyncio.get_running_loop().call_later(0.1, time.sleep, 0.6)
                    with self.assertRaises(NotAppliedError):
                        await asyncio.wait_for(client.list("u", timeout=0.4), 3)
        self.assertEqual(len(fake.asked), 1)

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


if __name__ == "__main__":
    unittest.main()
