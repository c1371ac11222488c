"""What is no server of chatshard gives a clear error in time."""

from __future__ import annotations

import asyncio
import ssl
import time
import unittest
from typing import Any, Awaitable, Callable, Dict

from chatshard import AsyncClient, CallError, NotAppliedError, OutcomeUnknownError

from support import AsyncTest, FakeServer, Peer, frame, hello_reply, packed, seeded

GREETING = frame([1, 200, hello_reply()])


def says(data: bytes, *, stays: bool = True) -> Callable[[Peer], Awaitable[None]]:
    """Sends these bytes after the first request."""

    async def handler(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.writer.write(data)
        await peer.writer.drain()
        if stays:
            await asyncio.sleep(60)

    return handler


class AtHello(AsyncTest):
    async def fails(self, handler: Any, expected: str, **options: Any) -> None:
        async with FakeServer(handler) as fake:
            options = {"connect_timeout": 1.0, **options}
            client = AsyncClient(fake.address, **options)
            begun = time.monotonic()
            with self.assertRaises(NotAppliedError) as caught:
                await client.connect()
            self.assertLess(time.monotonic() - begun, 4)
            await client.close()
        self.assertIn(expected, str(caught.exception))
        self.assertIn(fake.address, str(caught.exception))

    async def test_http(self) -> None:
        await self.fails(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "an HTTP server")

    async def test_tls_door_without_tls(self) -> None:
        await self.fails(says(b"\x15\x03\x03\x00\x02\x02\x28"), "set the option tls")

    async def test_plain_door_with_tls(self) -> None:
        context = ssl.create_default_context()
        reply = (1).to_bytes(4, "big") + b"\xc0" + bytes(40)
        await self.fails(says(reply), "speaks no TLS", tls=context)
        alert = b"\x15\x03\x03\x00\x02\x02\x28"  # what a server of chatshard sends
        await self.fails(says(alert), "speaks no TLS", tls=context)

    async def test_garbage(self) -> None:
        choices = seeded()
        for _ in range(10):
            data = bytes([0xFF]) + bytes(choices.randrange(256) for _ in range(100))
            await self.fails(says(data), "the server sent what is no reply")

    async def test_frames_that_are_no_replies(self) -> None:
        bodies: Dict[str, Any] = {
            "expected an array": 7,
            "an array of 2": [1, 200],
            "expected an integer": ["x", 200, []],
            "a reply to no request": [9, 200, []],
            "expected a string": [1, 200, [5, *hello_reply()[1:]]],
            "an error without": [1, 400, ["x"]],
        }
        for expected, body in bodies.items():
            await self.fails(says(frame(body)), expected)

    async def test_another_server_or_protocol(self) -> None:
        other = ["redis", *hello_reply()[1:]]
        await self.fails(says(frame([1, 200, other])), "expected chatshard")
        newer = hello_reply()
        newer[2] = 2
        await self.fails(says(frame([1, 200, newer])), "protocol 2")
        empty = hello_reply(shards=0)
        await self.fails(says(frame([1, 200, empty])), "without shards")

    async def test_a_frame_that_ends_within_a_value_or_behind_it(self) -> None:
        whole = packed([1, 200, hello_reply()])
        for payload in (whole[:-1], whole + b"\xc0"):
            data = len(payload).to_bytes(4, "big") + payload + frame([1, 200, []])
            await self.fails(says(data), "the server sent what is no reply")

    async def test_lengths_out_of_bounds(self) -> None:
        for length in (0, (16 << 20) + 1, 2**32 - 1):
            data = length.to_bytes(4, "big") + b"\x93"
            await self.fails(says(data), f"a frame of {length} bytes")

    async def test_silence_and_slowness(self) -> None:
        await self.fails(says(b""), "no reply to `hello`", connect_timeout=0.2)

        async def slow(peer: Peer) -> None:
            await peer.reader.read(1)
            for byte in GREETING:
                peer.writer.write(bytes((byte,)))
                await peer.writer.drain()
                await asyncio.sleep(0.1)

        await self.fails(slow, "no reply to `hello`", connect_timeout=0.3)

    async def test_an_early_end(self) -> None:
        await self.fails(says(b"", stays=False), "lost")
        await self.fails(says(GREETING[:20], stays=False), "lost")

    async def test_a_reply_in_single_bytes_is_read(self) -> None:
        async def slow(peer: Peer) -> None:
            request = await peer.request()
            assert request is not None
            for byte in GREETING:
                peer.writer.write(bytes((byte,)))
                await peer.writer.drain()
                await asyncio.sleep(0)
            await peer.request()

        async with FakeServer(slow) as fake:
            async with AsyncClient(fake.address) as client:
                self.assertEqual(client.address, fake.address)

    async def test_an_older_server_says_less(self) -> None:
        hello = hello_reply()[:8]
        hello[7] = hello[7][:6]
        async with FakeServer(says(frame([1, 200, hello]))) as fake:
            async with AsyncClient(fake.address) as client:
                assert client.hello is not None
                self.assertEqual((client.hello.role, client.hello.limits.idle_ms), ("", 0))


class Later(AsyncTest):
    async def lost(self, data: bytes, expected: str) -> None:
        """Sends the bytes as the reply to a call."""

        async def handler(peer: Peer) -> None:
            await peer.greet()
            await peer.request()
            peer.writer.write(data)
            await peer.request()

        async with FakeServer(handler) as fake:
            async with AsyncClient(fake.address, keys=False) as client:
                with self.assertRaises(OutcomeUnknownError) as caught:
                    await client.advance("c", allocate=1)
        self.assertIn(expected, caught.exception.message)
        self.assertEqual(caught.exception.status, 0)

    async def test_a_reply_that_is_none_ends_the_connection(self) -> None:
        await self.lost(frame([77, 200, [1, 1, 1]]), "a reply to no request")
        await self.lost(frame([2, 200, [1, "x", 1]]), "expected an integer")
        await self.lost(frame([2, 200, [1, 1]]), "expected an array of 3")
        await self.lost(frame([0, 413, ["too_large", "a frame over the limit"]]), "over the limit")
        await self.lost(b"\x00\x00\x00\x00", "a frame of 0 bytes")

    async def test_random_bytes_never_hang_a_call(self) -> None:
        choices = seeded()

        async def handler(peer: Peer) -> None:
            await peer.greet()
            while await peer.request() is not None:
                size = choices.randrange(1, 60)
                payload = bytes(choices.randrange(256) for _ in range(size))
                peer.writer.write(size.to_bytes(4, "big") + b"\x93\x02\xcc\xc8" + payload)
                await asyncio.sleep(0.01)
                return

        async with FakeServer(handler) as fake:
            async with AsyncClient(fake.address, keys=False) as client:
                for _ in range(30):
                    with self.assertRaises(CallError):
                        await client.advance("c", allocate=1, timeout=5)


if __name__ == "__main__":
    unittest.main()
