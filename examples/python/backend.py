"""A tiny backend of an instant messenger on chatshard.

It sends messages, shows a list with unread badges, keeps the copy of a device in step, and follows
pushes over a restart of the server.

    CHATSHARD_BIN=target/release/chatshard PYTHONPATH=clients/python/src \
        python3 examples/python/backend.py

It starts a server of its own, and kills it once. With the address of a server as its argument, for
example of `chatshard serve --ephemeral`, it takes that one, and does not restart it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
from typing import Callable, Dict, Optional

from chatshard import (
    AsyncClient,
    ChatType,
    ConflictError,
    InvalidArgumentError,
    Op,
    Since,
    SyncItem,
)
from chatshard.testing import program


class Backend:
    """What the apps ask for. The texts of messages would be stored elsewhere, by their sequence."""

    def __init__(self, chats: AsyncClient) -> None:
        self.chats = chats
        self.texts: Dict[str, Dict[int, str]] = {}

    async def send(self, chat: str, sender: str, text: str, message: str) -> int:
        """Stores a message. Its id is the idempotency key, so that it is numbered once."""
        reply = await self.chats.advance(
            chat, allocate=1, sender_id=sender, idempotency_key=message
        )
        self.texts.setdefault(chat, {})[reply.last_sequence] = text
        return reply.last_sequence

    async def show(self, user: str) -> None:
        """The first screen of the app: conversations with their badges."""
        page = await self.chats.conversations(user, limit=20)
        badge = (await self.chats.unread([user])).items[0].messages
        print(f"{user} has {badge} unread messages")
        for one in page.items:
            text = self.texts.get(one.chat_id, {}).get(one.last_sequence, "")
            print(f"  {'*' if one.is_top else ' '} {one.chat_id:8} ({one.unread}) {text}")


class Device:
    """A copy of a user's list, which asks only for what changed."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.rows: Dict[str, SyncItem] = {}
        self.since: Optional[Since] = None

    async def sync(self, chats: AsyncClient) -> int:
        changes = 0
        async for page in chats.sync_pages(self.user, self.since):
            if page.reset:
                self.rows.clear()
            for item in page.items:
                changes += 1
                if item.op == "upsert":
                    self.rows[item.chat_id] = item
                else:
                    self.rows.pop(item.chat_id, None)
            self.since = Since(page.log, page.version)
        return changes


async def push(chats: AsyncClient, began: asyncio.Event, count: int) -> None:
    """Tells devices of so many messages. It goes on when the server comes back."""
    offset: Optional[str] = None
    while count:
        try:
            async with chats.watch(offset) as changes:
                began.set()
                async for change in changes:
                    if change.op == Op.ADVANCE:
                        print(f"  push: {change.chat_id} is at {change.last_sequence}")
                        count -= 1
                    offset = change.offset  # a real backend stores it, to go on after its own end
                    if not count:
                        return
        except (ConflictError, InvalidArgumentError):
            # The server has another log, or has forgotten this offset: devices sync once.
            offset = None


async def run(address: str, restart: Callable[[], None]) -> None:
    async with AsyncClient(address) as chats:
        backend, phone = Backend(chats), Device("bob")
        began = asyncio.Event()
        pushing = asyncio.ensure_future(push(chats, began, 4))
        await began.wait()
        for chat, members in (("team", ["alice", "bob", "carol"]), ("lunch", ["alice", "bob"])):
            await chats.create(ChatType.GROUP, "alice", members, id=chat)
        await backend.send("team", "alice", "Good morning", "message-1")
        await backend.send("team", "alice", "Is the build green?", "message-2")
        await backend.send("lunch", "alice", "Noodles?", "message-3")
        await chats.set_flags("bob", "team", is_top=True)
        await backend.show("bob")
        print(f"the phone takes {await phone.sync(chats)} changes")

        restart()
        await backend.send("lunch", "alice", "At noon.", "message-4")
        await asyncio.wait_for(pushing, 30)
        await chats.mark_read("bob", "team", 2)
        await backend.show("bob")
        print(f"the phone takes {await phone.sync(chats)} changes")
        listed = {row.chat_id async for row in chats.each_row("bob")}
        assert listed == set(phone.rows), (listed, phone.rows)


class OwnServer:
    """A server on a free port with a directory of its own, which keeps its data over a restart."""

    def __init__(self, directory: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        options = ["--data-dir", f"{directory}/data", "--listen", self.address]
        self._command = [program(), "serve", *options, "--http", "off", "--admin", "off"]
        self._command += ["--log-level", "error"]
        self._process = subprocess.Popen([*self._command, "--init"])

    def restart(self) -> None:
        print("the server is killed and started again")
        self._process.kill()
        self._process.wait()
        self._process = subprocess.Popen(self._command)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


async def wait_for(address: str) -> None:
    """A call is repeated until the server is there, within its timeout."""
    client = AsyncClient(address)
    try:
        await client.ping(timeout=30)
    finally:
        await client.close()


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(run(sys.argv[1], lambda: None))
        return
    with tempfile.TemporaryDirectory(prefix="chatshard-example-") as directory:
        server = OwnServer(directory)
        try:
            asyncio.run(wait_for(server.address))
            asyncio.run(run(server.address, server.restart))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
