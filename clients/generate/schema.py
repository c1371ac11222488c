"""The schema of the protocol, and what the generators of all languages need of it."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

# Commands that the runtimes send themselves, or that only nodes send to each other.
NOT_CALLED = ("hello", "watch", "cancel", "report")

# Record fields and arguments whose names are words of a language get another name there.
TYPE_FIELD = "type"


@dataclass(frozen=True)
class Field:
    """An argument, or a field of a reply or a record."""

    name: str
    type: str
    required: bool
    nullable: bool
    about: str
    min: Optional[int] = None
    max: Optional[int] = None
    default: Optional[int] = None

    @property
    def is_list(self) -> bool:
        return self.type.startswith("[")

    @property
    def item(self) -> str:
        """The type without the brackets of a list."""
        return self.type.strip("[]")


@dataclass(frozen=True)
class Record:
    """An array of fields by position."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Command:
    """A command with its arguments and reply."""

    code: int
    name: str
    kind: str
    key_owner: Optional[str]
    shard_by: tuple[str, ...]
    on_standby: str
    about: str
    arguments: tuple[Field, ...]
    reply: Optional[tuple[Field, ...]]

    @property
    def is_read(self) -> bool:
        return self.kind == "read"

    @property
    def is_called(self) -> bool:
        """Whether a client has a method for it."""
        return self.name not in NOT_CALLED

    @property
    def takes_key(self) -> bool:
        return any(field.name == "idempotency_key" for field in self.arguments)

    @property
    def required(self) -> tuple[Field, ...]:
        return tuple(field for field in self.arguments if field.required)

    @property
    def optional(self) -> tuple[Field, ...]:
        return tuple(field for field in self.arguments if not field.required)


@dataclass(frozen=True)
class Error:
    """An error of the protocol."""

    status: int
    name: str
    outcome: str
    about: str


@dataclass(frozen=True)
class Schema:
    """The whole protocol."""

    protocol: int
    types: dict[str, dict]
    records: tuple[Record, ...]
    commands: tuple[Command, ...]
    errors: tuple[Error, ...]
    not_applied: str
    outcome_unknown: str
    watch_ops: dict[str, str]
    limits: dict[str, dict]

    @staticmethod
    def read(path: Path) -> Schema:
        raw = json.loads(path.read_text(encoding="utf-8"))
        fields = lambda list_of: tuple(Field(**field) for field in list_of)
        return Schema(
            protocol=raw["protocol"],
            types={one["name"]: one for one in raw["types"]},
            records=tuple(Record(one["name"], fields(one["fields"])) for one in raw["records"]),
            commands=tuple(
                Command(
                    code=one["code"],
                    name=one["name"],
                    kind=one["class"],
                    key_owner=one["key_owner"],
                    shard_by=tuple(one["shard_by"]),
                    on_standby=one["on_standby"],
                    about=one["about"],
                    arguments=fields(one["arguments"]),
                    reply=None if one["reply"] is None else fields(one["reply"]),
                )
                for one in raw["commands"]
            ),
            errors=tuple(Error(**one) for one in raw["errors"]),
            not_applied=raw["unavailable"]["not_applied"],
            outcome_unknown=raw["unavailable"]["outcome_unknown"],
            watch_ops={one["op"]: one["about"] for one in raw["watch_ops"]},
            limits={one["name"]: one for one in raw["limits"]},
        )

    @property
    def called(self) -> tuple[Command, ...]:
        """The commands that a client has a method for."""
        return tuple(command for command in self.commands if command.is_called)

    def is_record(self, name: str) -> bool:
        return name not in self.types


def camel(name: str) -> str:
    """chat_id -> chatId"""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def pascal(name: str) -> str:
    """chat_id -> ChatId"""
    return "".join(word.capitalize() for word in name.split("_"))


def wrapped(text: str, prefix: str, width: int = 100) -> list[str]:
    """The text in lines that begin with the prefix."""
    return textwrap.wrap(text, width, initial_indent=prefix, subsequent_indent=prefix)


def bounds(field: Field) -> str:
    """What bounds an argument, in words; empty if only its type does."""
    if field.max is None:
        return ""
    if field.is_list:
        return f"At most {field.max} items."
    unit = " bytes" if field.type == "text" else ""
    text = f"{field.min} to {field.max}{unit}"
    return f"{text}; {field.default} if absent." if field.default is not None else f"{text}."


def replaced(text: str, name: str, part: str) -> str:
    """Puts the part between the comments that mark a generated part of a page."""
    begin, end = f"<!-- generated: {name} -->\n", f"<!-- end of generated: {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or not after:
        raise ValueError(f"the page has no part between {begin.strip()} and {end}")
    return f"{before}{begin}{part.rstrip()}\n{end}{after}"
