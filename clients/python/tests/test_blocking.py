"""The blocking client: many threads, its end, and what goes wrong."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
import warnings
from typing import Any, List, cast
from unittest import mock

from chatshard import (
    Attempt,
    ChatType,
    Client,
    Hooks,
    NotAppliedError,
    NotFoundError,
    OutcomeUnknownError,
)
from chatshard.testing import Server


def loops() -> List[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "chatshard"]


class Blocking(unittest.TestCase):
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server().start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()

    def test_many_threads_share_a_client(self) -> None:
        with Client(self.server.address) as client:
            client.create(ChatType.GROUP, "u0", ["u0"], id="shared")
            handed: List[int] = []
            wrong: List[BaseException] = []

            def work() -> None:
                try:
                    for _ in range(25):
                        reply = client.advance("shared", allocate=1)
                        handed.append(reply.first_sequence)
                        with self.assertRaises(NotFoundError):
                            client.members("none")
                except BaseException as error:
                    wrong.append(error)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])
            self.assertEqual(sorted(handed), list(range(1, 201)))
            self.assertEqual(client._async._calls, {})
        self.assertEqual(loops(), [])

    def test_later_calls_fail_and_the_thread_is_gone(self) -> None:
        client = Client(self.server.address)
        client.ping()
        watch = client.watch()
        self.assertIsNone(watch.next(0.01))
        client.close()
        client.close()
        watch.close()
        self.assertIsNone(watch.next())
        with self.assertRaises(NotAppliedError):
            client.ping()
        self.assertEqual(loops(), [])

    def test_a_forgotten_client_is_ended_with_its_last_reference(self) -> None:
        client = Client(self.server.address)
        client.ping()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del client
            gc.collect()
        self.assertEqual(loops(), [])

    def test_a_program_that_forgets_to_close_ends_without_a_word(self) -> None:
        code = (
            "import chatshard, sys\n"
            "client = chatshard.Client(sys.argv[1])\n"
            "client.ping()\n"
            "watch = client.watch()\n"
            "watch.next(0.05)\n"
        )
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, self.server.address]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_a_wrong_argument_is_an_error_and_not_a_wait(self) -> None:
        with Client(self.server.address) as client:
            with self.assertRaises(TypeError):
                client.list(cast(Any, 5))
            with self.assertRaises(TypeError):
                client.ping(timeout=cast(Any, "1"))
            with mock.patch.object(client._async, "_begin", side_effect=KeyError):
                with self.assertRaises(KeyError):  # a fault on the loop reaches the caller too
                    client.ping()
            client.ping()
            self.assertEqual(client._async._calls, {})

    def test_a_call_ends_within_its_deadline(self) -> None:
        client = Client("127.0.0.1:1", call_timeout=0.3)
        begun = time.monotonic()
        with self.assertRaises(NotAppliedError):
            client.list("u")
        with self.assertRaises(NotAppliedError):
            client.connect()
        self.assertLess(time.monotonic() - begun, 5)
        client.close()

    def test_an_interrupt_ends_the_wait_and_leaves_nothing(self) -> None:
        with Server() as server:
            client = Client(server.address, call_timeout=0.5)
            client.ping()
            pid = server.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
                timer.start()
                with self.assertRaises(KeyboardInterrupt):
                    client.advance("c", allocate=1, timeout=30)
                timer.join()
                with self.assertRaises(OutcomeUnknownError):
                    client.advance("c", allocate=1, timeout=0.2)
            finally:
                os.kill(pid, signal.SIGCONT)
            client.ping()
            self.assertEqual(client._async._calls, {})
            client.close()

    def test_calls_that_wait_when_it_closes_get_their_reply(self) -> None:
        client = Client(self.server.address)
        client.create(ChatType.GROUP, "u", ["u"], id="closing")
        results: List[Any] = []

        def work() -> None:
            try:
                while True:
                    client.advance("closing", allocate=1)
                    results.append(1)
            except NotAppliedError as error:
                results.append(error.name)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        client.close()
        for thread in threads:
            thread.join(5)
        self.assertEqual(results.count("closed"), 4)
        with Client(self.server.address) as other:
            reply = other.advance("closing", allocate=1)
        self.assertEqual(reply.first_sequence, results.count(1) + 1)

    def test_a_call_in_a_forked_child_fails(self) -> None:
        client = Client(self.server.address)
        client.ping()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer versions of Python warn of forks with threads
            child = os.fork()
        if child == 0:
            try:
                client.list("u")
            except NotAppliedError:
                client.close()
                os._exit(7)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        self.assertEqual(os.WEXITSTATUS(status), 7)
        client.ping()
        client.close()

    def test_a_hook_that_blocks_is_told_so(self) -> None:
        errors: List[BaseException] = []

        class Wrong(Hooks):
            def after_attempt(self, attempt: Attempt) -> None:
                try:
                    client.ping()
                except RuntimeError as error:
                    errors.append(error)

        client = Client(self.server.address, hooks=Wrong())
        client.ping()
        client.close()
        self.assertEqual(len(errors), 1)


if __name__ == "__main__":
    unittest.main()
