"""A server is killed and started many times under load: no acknowledged write is lost, none is
applied twice, nothing hangs, nothing leaks.

Chats are numbered by `advance` with `allocate`. A call that succeeds got a sequence of its own. If
each of the `n` calls of a chat succeeds, and none is applied twice, then the sequences are 1 to n.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional

from chatshard import AsyncClient, ChatType, Client
from chatshard.testing import program

from support import AsyncTest, seeded

KILLS = 20
TASKS = 24


class Killed:
    """A server on a fixed port and directory, which can be killed and started again."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chatshard-torture-"))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{taken.getsockname()[1]}"
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        options = ["--data-dir", str(self.directory / "data"), "--listen", self.address]
        options += ["--http", "off", "--admin", "off", "--log-level", "error", "--shards", "2"]
        if not (self.directory / "data").exists():
            options.append("--init")
        self._process = subprocess.Popen([program(), "serve", *options])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.directory)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Torture(AsyncTest):
    async def test_asyncio(self) -> None:
        choices = seeded()
        files, threads = descriptors(), threading.active_count()
        server = Killed()
        server.start()
        handed: Dict[str, List[int]] = {f"g{n}": [] for n in range(TASKS)}
        seen: List[int] = []
        is_over = False
        try:
            # The server may not listen yet, so the first call connects.
            async with contextlib.AsyncExitStack() as stack:
                client = AsyncClient(server.address, call_timeout=60)
                stack.push_async_callback(client.close)
                for chat in handed:
                    await client.create(ChatType.GROUP, "a", ["a"], id=chat)

                async def write(chat: str) -> None:
                    while not is_over:
                        reply = await client.advance(chat, allocate=1)
                        handed[chat].append(reply.first_sequence)

                async def follow() -> None:
                    async with client.watch() as watch:
                        began.set()
                        async for event in watch:
                            if event.op == "advance" and event.chat_id == "g0":
                                assert event.last_sequence is not None
                                seen.append(event.last_sequence)

                began = asyncio.Event()
                following = asyncio.ensure_future(follow())
                await asyncio.wait_for(began.wait(), 30)
                writing = [asyncio.ensure_future(write(chat)) for chat in handed]
                for _ in range(KILLS):
                    await asyncio.sleep(choices.uniform(0.05, 0.3))
                    server.kill()
                    await asyncio.sleep(choices.uniform(0, 0.1))
                    server.start()
                    # One write shows that the server is there again.
                    await client.advance("g0", to=0)
                is_over = True
                await asyncio.wait_for(asyncio.gather(*writing), 60)
                for chat, sequences in handed.items():
                    self.assertEqual(sequences, list(range(1, len(sequences) + 1)), chat)
                details = await client.detail(list(handed))
                last = {chat.id: chat.last_sequence for chat in details.items}
                self.assertEqual(last, {chat: len(found) for chat, found in handed.items()})
                for _ in range(100):
                    if seen and seen[-1] == last["g0"]:
                        break
                    await asyncio.sleep(0.1)
                self.assertEqual(sorted(set(seen)), list(range(1, last["g0"] + 1)))
                self.assertEqual((await client.verify()).differences, 0)
                self.assertEqual(client._calls, {})
            await asyncio.wait_for(following, 5)
        finally:
            server.end()
        self.assertGreater(sum(map(len, handed.values())), KILLS)
        self.assertLessEqual(descriptors(), files)
        self.assertEqual(threading.active_count(), threads)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        self.assertEqual(others, set())


class BlockingTorture(unittest.TestCase):
    def test_threads(self) -> None:
        choices = seeded()
        files, threads = descriptors(), threading.active_count()
        server = Killed()
        server.start()
        handed: Dict[str, List[int]] = {f"g{n}": [] for n in range(6)}
        wrong: List[Any] = []
        is_over = threading.Event()
        try:
            with contextlib.closing(Client(server.address, call_timeout=60)) as client:
                for chat in handed:
                    client.create(ChatType.GROUP, "a", ["a"], id=chat)

                def write(chat: str) -> None:
                    try:
                        while not is_over.is_set():
                            handed[chat].append(client.advance(chat, allocate=1).first_sequence)
                    except BaseException as error:
                        wrong.append(error)

                writers = [threading.Thread(target=write, args=(chat,)) for chat in handed]
                for writer in writers:
                    writer.start()
                for _ in range(5):
                    time.sleep(choices.uniform(0.05, 0.3))
                    server.kill()
                    server.start()
                    client.ping()
                is_over.set()
                for writer in writers:
                    writer.join(60)
                    self.assertFalse(writer.is_alive())
                self.assertEqual(wrong, [])
                for chat, sequences in handed.items():
                    self.assertEqual(sequences, list(range(1, len(sequences) + 1)), chat)
        finally:
            is_over.set()
            server.end()
        self.assertLessEqual(descriptors(), files)
        self.assertEqual(threading.active_count(), threads)


if __name__ == "__main__":
    unittest.main()
