"""Writes the generated files of all clients: python3 clients/generate [--check] [LANGUAGE...]

They come from docs/reference/protocol.json, which `chatshard schema` prints. With --check nothing is
written, and a file that differs is an error. Needs Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from schema import Schema, replaced

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("go", "java", "typescript", "python")


def texts(language: str, schema: Schema) -> dict[Path, str]:
    """The generated files of one client, by their paths."""
    directory = ROOT / "clients" / language
    module = importlib.import_module(f"lang_{language}")
    files = {directory / path: text for path, text in module.files(schema).items()}
    readme = directory / "README.md"
    if readme.exists():
        table = module.command_table(schema)
        files[readme] = replaced(readme.read_text(encoding="utf-8"), "commands", table)
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the generated files of all clients.")
    parser.add_argument("--check", action="store_true", help="fail if a file would change")
    parser.add_argument("languages", nargs="*", default=LANGUAGES, metavar="LANGUAGE")
    arguments = parser.parse_args()
    schema = Schema.read(ROOT / "docs" / "reference" / "protocol.json")
    stale = []
    for language in arguments.languages:
        for path, text in texts(language, schema).items():
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(path.relative_to(ROOT))
            if not arguments.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'differs' if arguments.check else 'written'}: {path}")
    if arguments.check and stale:
        print("run: just generate-clients", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
