"""TLS and unix sockets of a real server, its end, and the helper that starts it."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Tuple

from chatshard import AsyncClient, CallError, Client, NotAppliedError, PermissionDeniedError
from chatshard.testing import Server, program

from support import AsyncTest


class Doors(AsyncTest):
    directory: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(tempfile.mkdtemp(prefix="chatshard-doors-"))

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.directory)

    async def test_a_unix_socket(self) -> None:
        address = f"unix:{self.directory}/door"
        with Server(("--listen", address)) as server:
            self.assertEqual(server.address, address)
            async with AsyncClient(address) as client:
                await client.ping()
                async with client.watch() as watch:
                    self.assertIsNotNone(watch.offset)
            with Client(address) as blocking:
                blocking.ping()
        client = AsyncClient(address)
        with self.assertRaises(NotAppliedError) as caught:
            await client.connect()
        self.assertIn(address, str(caught.exception))
        await client.close()

    def certificate(self) -> Tuple[Path, Path]:
        """Makes a certificate for `chat.test`, and its key."""
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += [
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=chat.test",
        ]
        command += ["-addext", "subjectAltName=DNS:chat.test", "-keyout", str(key)]
        subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True)
        os.chmod(key, 0o600)
        return certificate, key

    async def test_tls_verifies_the_certificate_and_its_name(self) -> None:
        certificate, key = self.certificate()
        trusting = ssl.create_default_context(cafile=str(certificate))
        with Server(("--tls-cert", str(certificate), "--tls-key", str(key))) as server:
            async with AsyncClient(server.address, tls=trusting, tls_name="chat.test") as client:
                await client.ping()
                async with client.watch() as watch:
                    self.assertIsNotNone(watch.offset)
                rows = [f"chat{number}" for number in range(1000)]
                self.assertEqual((await client.detail(rows)).items, ())
            with Client(server.address, tls=trusting, tls_name="chat.test") as blocking:
                blocking.ping()
            for options, expected in (
                ({"tls": trusting}, "IP address mismatch"),
                ({"tls": True}, "CERTIFICATE_VERIFY_FAILED"),
                ({}, "TLS"),
            ):
                client = AsyncClient(server.address, connect_timeout=2, **options)
                with self.assertRaises(CallError) as caught:
                    await client.connect()
                self.assertIn(expected, str(caught.exception))
                await client.close()
        await asyncio.sleep(0)

    async def test_tokens(self) -> None:
        tokens = self.directory / "tokens"
        tokens.write_text("full writer-1234567890123456\nread reader-1234567890123456\n")
        os.chmod(tokens, 0o600)
        with Server(("--token-file", str(tokens))) as server:
            async with AsyncClient(server.address, token="reader-1234567890123456") as reader:
                await reader.list("u")
                with self.assertRaises(PermissionDeniedError):
                    await reader.delete("u", ["c"])
            async with AsyncClient(server.address, token="writer-1234567890123456") as writer:
                await writer.delete("u", ["c"])


class Helper(unittest.TestCase):
    def test_the_server_is_gone_after_the_block(self) -> None:
        with Server() as server:
            pid = server.pid
            assert pid is not None
            os.kill(pid, 0)
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)
        self.assertIsNone(server.pid)

    def test_a_server_that_does_not_start_says_why(self) -> None:
        with self.assertRaises(RuntimeError) as caught:
            Server(("--shards", "many")).start()
        self.assertIn("--shards", str(caught.exception))
        with self.assertRaises(RuntimeError) as caught:
            Server(binary=shutil.which("true")).start()
        self.assertIn("it has ended", str(caught.exception))

    def test_a_missing_program_is_named(self) -> None:
        before = os.environ.pop("CHATSHARD_BIN", None)
        path, os.environ["PATH"] = os.environ["PATH"], "/nowhere"
        try:
            with self.assertRaises(FileNotFoundError) as caught:
                program()
        finally:
            os.environ["PATH"] = path
            if before is not None:
                os.environ["CHATSHARD_BIN"] = before
        self.assertIn("chatshard", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
