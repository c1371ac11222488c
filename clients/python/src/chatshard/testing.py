"""Starts `chatshard serve --ephemeral` for the tests of a user.

The program is the one that the variable `CHATSHARD_BIN` names, else `chatshard` on the path. Its
data are in a directory that it removes at its end. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Dict, Optional, Sequence, Type

__all__ = ["Server", "program"]


def program() -> str:
    """The path of the server's program.

    Raises:
        FileNotFoundError: There is none.
    """
    named = os.environ.get("CHATSHARD_BIN")
    found = shutil.which(named or "chatshard")
    if found is None:
        where = f"CHATSHARD_BIN names {named}, which" if named else "`chatshard` on the path"
        raise FileNotFoundError(f"{where} is no program: build it, and set CHATSHARD_BIN")
    return found


class Server:
    """An empty server on free ports of this machine, while the `with` block runs.

    Args:
        options: More options of `serve`, such as `("--shards", "4")`.
        binary: The program; absent: that of `program`.
        start_timeout: Seconds within which the server must be ready.
    """

    address: str
    """The address of the TCP door, for a client."""
    admin: Optional[str]
    """The address of the admin listener; `None` without one."""
    http: Optional[str]
    """The address of the HTTP door; `None` without one."""

    def __init__(
        self,
        options: Sequence[str] = (),
        *,
        binary: Optional[str] = None,
        start_timeout: float = 20.0,
    ) -> None:
        self._options = list(options)
        self._binary = binary
        self._start_timeout = start_timeout
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> Server:
        """Starts the server, and waits until it is ready.

        Raises:
            RuntimeError: It does not start. The message has what it says.
        """
        command = [self._binary or program(), "serve", "--ephemeral", *self._options]
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
            )
            try:
                doors = self._doors()
            except BaseException as error:
                self.kill()
                said.seek(0)
                text = said.read(4096).decode(errors="replace").strip()
                raise RuntimeError(f"the server has not started: {error}\n{text}") from error
        self.address = str(doors["tcp"])
        self.admin, self.http = doors.get("admin"), doors.get("http")
        return self

    def _doors(self) -> Dict[str, Optional[str]]:
        """Reads the line with the addresses."""
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True)
        reader.start()
        try:
            line = lines.get(timeout=self._start_timeout)
        except queue.Empty:
            raise TimeoutError(f"no address within {self._start_timeout:g} s") from None
        reader.join()
        if not line:
            raise EOFError("it has ended")
        doors: Dict[str, Optional[str]] = json.loads(line)
        return doors

    def stop(self) -> None:
        """Stops the server as a signal does, and waits for its end."""
        process = self._process
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        self.kill()

    def kill(self) -> None:
        """Ends the server at once, as a crash does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> Optional[int]:
        """The process of the server; `None` if it does not run."""
        return self._process.pid if self._process is not None else None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()
