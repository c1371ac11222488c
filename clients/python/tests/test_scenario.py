"""The conversation of the vectors with a fresh server, and pages of a real server."""

from __future__ import annotations

import unittest
from typing import Any, Dict

from chatshard import AsyncClient, CallError, ChatType, Client, ConflictError, Since
from chatshard._generated import records
from chatshard.testing import Server

from support import AsyncTest, vectors
from test_codec import plain

SHAPES = {"chats": records.ChatLine, "members": records.MemberLine, "items": records.ReadItem}
# The runtime sends these itself, or they have a test of their own.
ELSEWHERE = ("hello", "watch", "cancel")


def differences(compare: str, meant: Any, found: Any, varying: Any, name: str = "") -> Any:
    """Yields the names of the fields that are not as the vector says."""
    if isinstance(meant, dict) and isinstance(found, dict):
        if set(meant) - set(found):
            yield f"{name}: without {set(meant) - set(found)}"
        for field, value in meant.items():
            if not (compare != "exact" and field in varying):
                yield from differences(compare, value, found.get(field), varying, field)
    elif isinstance(meant, list) and isinstance(found, list) and compare != "fields":
        if len(meant) != len(found):
            yield f"{name}: {found}"
        for one, other in zip(meant, found):
            yield from differences(compare, one, other, varying, name)
    elif compare == "fields" and type(meant) is type(found):
        return
    elif meant != found:
        yield f"{name}: {found} instead of {meant}"


class Scenario(AsyncTest):
    async def test_a_fresh_server_replies_as_the_vectors_say(self) -> None:
        here = vectors()
        varying = here["varying_texts"]
        log = ""
        done = 0
        with Server(("--shards", "4")) as server:
            # The conversation shows writes without a key.
            async with AsyncClient(server.address, keys=False) as client:
                for case in here["conversation"]:
                    if case["command"] in ELSEWHERE:
                        continue
                    arguments = self.arguments(case, log)
                    status: int = 200
                    body: Any = None
                    try:
                        body = await getattr(client, self.method(case))(**arguments)
                    except CallError as error:
                        status = error.status
                        self.assertEqual(error.name, case["body"]["error"], case["name"])
                    self.assertEqual(status, case["status"], case["name"])
                    if status == 200 and case["body"]:
                        wrong = differences(case["compare"], case["body"], plain(body), varying)
                        self.assertEqual(list(wrong), [], case["name"])
                    if case["command"] == "sync":
                        log = body.log
                    done += 1
        self.assertGreater(done, 38)

    def method(self, case: Dict[str, Any]) -> str:
        return "import_" if case["command"] == "import" else str(case["command"])

    def arguments(self, case: Dict[str, Any], log: str) -> Dict[str, Any]:
        arguments = dict(case["arguments"])
        for name, shape in SHAPES.items():
            if name in arguments:
                arguments[name] = [shape(**one) for one in arguments[name]]
        if "since" in arguments:
            since = Since(**arguments["since"])
            known = log if since.log != "elsewhere" else since.log
            arguments["since"] = Since(known, since.version)
        return arguments


class Pages(AsyncTest):
    async def test_iterators_return_everything_once(self) -> None:
        with Server() as server:
            async with AsyncClient(server.address) as client:
                users = [f"u{n}" for n in range(25)]
                for number in range(7):
                    await client.create(ChatType.GROUP, "u0", users, id=f"g{number}")
                rows = [row.chat_id async for row in client.each_row("u1", page=3)]
                self.assertEqual(rows, [f"g{n}" for n in reversed(range(7))])
                told = [one.chat_id async for one in client.each_conversation("u1", page=2)]
                self.assertEqual(sorted(told), sorted(rows))
                members = [one.user_id async for one in client.each_member("g1", page=10)]
                self.assertEqual(members, users)
                pages = [page async for page in client.export_pages(page=50)]
                self.assertGreater(len(pages), 3)
                self.assertEqual(sum(len(page.chats) for page in pages), 7)
                self.assertEqual(sum(len(page.members) for page in pages), 7 * 25)
                synced = [page async for page in client.sync_pages("u1", page=3)]
                self.assertEqual(sum(len(page.items) for page in synced), 7)
                last = Since(synced[-1].log, synced[-1].version)
                await client.set_flags("u1", "g3", is_top=True)
                news = [page async for page in client.sync_pages("u1", last)]
                self.assertEqual([item.chat_id for item in news[0].items], ["g3"])
                self.assertTrue(news[0].items[0].is_top)
            with Client(server.address) as blocking:
                again = [row.chat_id for row in blocking.each_row("u1", page=3)]
                self.assertEqual(sorted(again), sorted(rows))
                self.assertEqual(len(list(blocking.each_conversation("u1", page=2))), 7)
                self.assertEqual(len(list(blocking.each_member("g1", page=10))), 25)
                self.assertEqual(len(list(blocking.export_pages(page=50))), len(pages))
                self.assertEqual(len(list(blocking.sync_pages("u1", page=3))), len(synced))

    async def test_an_export_can_be_imported(self) -> None:
        with Server() as one, Server() as other:
            async with AsyncClient(one.address) as source, AsyncClient(other.address) as target:
                await source.create(ChatType.GROUP, "a", ["a", "b"], id="g")
                await source.advance("g", allocate=3, sender_id="a")
                async for page in source.export_pages():
                    done = await target.import_(chats=page.chats, members=page.members)
                    self.assertEqual((done.chats, done.members), (1, 2))
                self.assertEqual(await target.unread(["a", "b"]), await source.unread(["a", "b"]))


class Keys(AsyncTest):
    async def test_the_same_key_gets_the_first_reply(self) -> None:
        with Server(("--shards", "3")) as server:
            async with AsyncClient(server.address) as client:
                assert client.hello is not None
                self.assertEqual(client.hello.shards, 3)
                for number in range(6):
                    chat = f"g{number}"
                    await client.create(ChatType.GROUP, "a", ["a"], id=chat)
                    first = await client.advance(chat, allocate=1, idempotency_key="k")
                    again = await client.advance(chat, allocate=1, idempotency_key="k")
                    self.assertEqual(first, again)
                    with self.assertRaises(ConflictError):
                        await client.advance(chat, allocate=2, idempotency_key="k")
                shards = (await client.stats()).shards
                self.assertEqual([one.connections for one in shards], [1, 1, 1])


if __name__ == "__main__":
    unittest.main()
