"""Several nodes: the active is found, and the token goes to no stranger."""

from __future__ import annotations

import ssl
import time
import unittest
from typing import Any

from chatshard import AsyncClient, NotAppliedError
from chatshard._nodes import Nodes
from chatshard._options import Options

from support import AsyncTest, FakeServer, error

DONE = (200, None)


def moved(address: str) -> Any:
    return 421, error("moved", "this node is not the active", address, 0, 2)


def node(*replies: Any) -> FakeServer:
    """A node that gives these replies, on each connection anew."""
    fake = FakeServer()
    fake.handlers = [fake.serve(*replies)]
    return fake


class Failover(AsyncTest):
    async def test_a_node_names_the_active_and_the_call_goes_there(self) -> None:
        async with node(DONE, DONE) as active:
            async with node(moved(active.address)) as standby, node(DONE) as unused:
                addresses = [standby.address, unused.address, active.address]
                # Without keys: after a 421 even a write without one goes on.
                async with AsyncClient(addresses, keys=False) as client:
                    for _ in range(2):
                        await client.delete("u", ["c"])
                    self.assertEqual(client.address, active.address)
                counts = [len(one.asked) for one in (standby, unused, active)]
        self.assertEqual(counts, [1, 0, 2])

    async def test_a_node_that_names_nobody_is_left_for_the_next(self) -> None:
        async with node(moved("")) as one, node(moved("")) as two, node(DONE) as three:
            async with AsyncClient([one.address, two.address, three.address]) as client:
                await client.delete("u", ["c"])
            self.assertEqual([len(n.asked) for n in (one, two, three)], [1, 1, 1])

    async def test_a_lost_node_is_left_for_the_next(self) -> None:
        async with node((..., None)) as one, node(DONE) as two:
            async with AsyncClient([one.address, two.address]) as client:
                await client.delete("u", ["c"])
            self.assertEqual(len(two.asked), 1)

    async def test_the_only_node_becomes_the_active(self) -> None:
        async with node(moved(""), moved(""), DONE) as one:
            async with AsyncClient(one.address, keys=False) as client:
                await client.delete("u", ["c"])
            self.assertEqual(len(one.asked), 3)

    async def test_without_an_active_the_call_ends_as_not_applied(self) -> None:
        async with node(*[moved("")] * 99) as one, node(*[moved("")] * 99) as two:
            async with AsyncClient([one.address, two.address], call_timeout=0.4) as client:
                begun = time.monotonic()
                with self.assertRaises(NotAppliedError) as caught:
                    await client.delete("u", ["c"])
                self.assertLess(time.monotonic() - begun, 2)
        self.assertEqual(caught.exception.status, 421)

    async def test_two_nodes_that_name_each_other_are_not_asked_without_pause(self) -> None:
        async with node() as one, node() as two:
            one.handlers = [one.serve(*[moved(two.address)] * 99)]
            two.handlers = [two.serve(*[moved(one.address)] * 99)]
            async with AsyncClient([one.address, two.address], call_timeout=0.5) as client:
                with self.assertRaises(NotAppliedError):
                    await client.delete("u", ["c"])
            self.assertLess(len(one.asked) + len(two.asked), 40)


class Tokens(AsyncTest):
    async def test_the_token_goes_to_no_address_that_only_a_server_named(self) -> None:
        async with node(DONE) as stranger, node(DONE) as active:
            async with node(moved(stranger.address)) as standby:
                async with AsyncClient(standby.address, token="secret") as alone:
                    begun = time.monotonic()
                    with self.assertRaises(NotAppliedError) as caught:
                        await alone.delete("u", ["c"])
                    self.assertLess(time.monotonic() - begun, 2)
                    self.assertEqual(caught.exception.status, 421)
                both = [standby.address, active.address]
                async with AsyncClient(both, token="secret") as client:
                    await client.delete("u", ["c"])
            self.assertEqual(stranger.connections, 0)
            self.assertEqual(len(active.asked), 1)

    async def test_without_a_token_the_named_address_is_taken(self) -> None:
        async with node(DONE) as stranger, node(moved(stranger.address)) as standby:
            async with AsyncClient(standby.address) as client:
                await client.delete("u", ["c"])
            self.assertEqual(len(stranger.asked), 1)

    def test_tls_that_verifies_lets_the_token_go_to_a_named_address(self) -> None:
        checked = ssl.create_default_context()
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        for context, may in ((checked, True), (unchecked, False), (None, False)):
            options = Options(("a:1",), token="secret", tls=context)
            self.assertEqual(options.may_greet("b:2"), may)
            self.assertTrue(options.may_greet("a:1"))
            self.assertFalse(options.may_greet("unix:/tmp/x"))


class Order(unittest.TestCase):
    def nodes(self) -> Nodes:
        return Nodes(Options(("a:1", "b:1", "c:1")))

    def test_an_address_that_was_silent_is_the_last(self) -> None:
        nodes = self.nodes()
        self.assertEqual(nodes.candidates(0), ["a:1", "b:1", "c:1"])
        nodes.leave("a:1")
        self.assertEqual(nodes.candidates(0), ["b:1", "c:1", "a:1"])
        nodes.silent("b:1", 10)
        self.assertEqual(nodes.candidates(11), ["c:1", "a:1", "b:1"])
        nodes.name("b:1")
        self.assertEqual(nodes.candidates(11), ["c:1", "a:1", "b:1"])
        nodes.name("d:1")
        self.assertEqual(nodes.candidates(11), ["d:1", "c:1", "a:1", "b:1"])
        self.assertEqual(nodes.candidates(16), ["b:1", "c:1", "a:1"])


if __name__ == "__main__":
    unittest.main()
