"""The code blocks of the READMEs run, and so does the example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import List

from chatshard.testing import Server, program

from support import ROOT

HERE = ROOT / "clients" / "python"
# Blocks that need a package which the tests do not install: they are compiled only.
FOREIGN = ("fastapi", "pytest")


def blocks(page: str) -> List[str]:
    text = (HERE / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(command: List[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(HERE / "src"), "CHATSHARD_BIN": program()}
    whole = [sys.executable, "-X", "dev", "-W", "error", *command]
    done = subprocess.run(
        whole, capture_output=True, timeout=60, check=False, env=environment, text=True
    )
    # On a slow machine the debug mode of asyncio says which step took long.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    if done.returncode or said:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Documents(unittest.TestCase):
    def test_the_code_of_the_pages_runs(self) -> None:
        ran = 0
        for page in ("README.md", "README.zh-CN.md"):
            with Server() as server, tempfile.TemporaryDirectory() as directory:
                for block in blocks(page):
                    code = block.replace("127.0.0.1:7700", server.address)
                    compile(code, page, "exec")
                    if any(f"import {name}" in code or f"from {name}" in code for name in FOREIGN):
                        continue
                    path = Path(directory) / "block.py"
                    path.write_text(code, encoding="utf-8")
                    run([str(path)])
                    ran += 1
        self.assertGreaterEqual(ran, 7)

    def test_the_quick_start_has_thirty_lines(self) -> None:
        self.assertLessEqual(len(blocks("README.md")[0].splitlines()), 30)

    def test_the_example_runs_over_a_restart(self) -> None:
        said = run([str(ROOT / "examples" / "python" / "backend.py")])
        self.assertIn("bob has 3 unread messages", said)
        self.assertEqual(said.count("push:"), 4)
        self.assertIn("the server is killed", said)

    def test_the_example_takes_an_ephemeral_server(self) -> None:
        with Server() as server:
            said = run([str(ROOT / "examples" / "python" / "backend.py"), server.address])
        self.assertEqual(said.count("push:"), 4)


if __name__ == "__main__":
    unittest.main()
