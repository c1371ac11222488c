"""The generated files of the Python client: constants, records, commands and methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from lang_python_records import (
    HEAD,
    INDENT,
    call_lines,
    docstring,
    records,
    reply_name,
    sent_value,
    sentence,
    snake,
    write_type,
)
from schema import Command, Field, Schema, bounds, pascal, wrapped

PACKAGE = "src/chatshard/_generated"
WORDS = ("import",)  # names of commands that are words of Python


@dataclass(frozen=True)
class Iterated:
    """A method that iterates over the pages of a command."""

    name: str
    about: str
    item: str
    # The argument that says where a page begins, its type, and where the next page does.
    place: str = "cursor"
    place_type: str = "str"
    next: str = "reply.next_cursor"
    items: str = "reply.items"


ITERATED = {
    "list": Iterated("each_row", "All rows of a user's list.", "Row"),
    "conversations": Iterated(
        "each_conversation", "All conversations of a user that pass the filters.", "Conversation"
    ),
    "members": Iterated("each_member", "All members of a chat, in join order.", "Member"),
    "export": Iterated(
        "export_pages",
        "All chats and members, page by page, as `import_` takes them.",
        "ExportReply",
        items="(reply,)",
    ),
    "sync": Iterated(
        "sync_pages",
        "What changed in a user's list, page by page, until there is no more. Take the items of a "
        "page, and keep `Since(reply.log, reply.version)` with them: the next `sync_pages` "
        "continues there. If `reply.reset` is true, forget all rows first.",
        "SyncReply",
        "since",
        "r.Since",
        "r.Since(reply.log, reply.version) if reply.more else None",
        "(reply,)",
    ),
}


def files(schema: Schema) -> dict[str, str]:
    return {
        f"{PACKAGE}/__init__.py": HEAD + '"""What clients/generate makes of the protocol."""\n',
        f"{PACKAGE}/protocol.py": protocol(schema),
        f"{PACKAGE}/records.py": records(schema),
        f"{PACKAGE}/commands.py": commands(schema),
        f"{PACKAGE}/async_methods.py": methods(schema, is_async=True),
        f"{PACKAGE}/blocking_methods.py": methods(schema, is_async=False),
    }


def command_table(schema: Schema) -> str:
    lines = ["| method | what it does |", "|---|---|"]
    for command in schema.called:
        required = ", ".join(field.name for field in command.required)
        lines.append(f"| `{method_name(command)}({required})` | {command.about} |")
    return "\n".join(lines)


def method_name(command: Command) -> str:
    return command.name + "_" if command.name in WORDS else command.name


# Constants


def protocol(schema: Schema) -> str:
    lines = [HEAD + '"""Constants of the protocol."""', ""]
    lines += [
        "from __future__ import annotations",
        "",
        "import enum",
        "from typing import Dict",
        "",
    ]
    lines += [f"PROTOCOL = {schema.protocol}", '"""The version of the protocol."""', ""]
    lines += ["# What is known of a request, by the status of its error."]
    lines += ["ERRORS: Dict[int, str] = {"]
    lines += [f'    {error.status}: "{error.outcome}",  # {error.name}' for error in schema.errors]
    lines += ["}", "", "# How the message of a 503 begins."]
    lines += [f'NOT_APPLIED = "{schema.not_applied}"']
    lines += [f'OUTCOME_UNKNOWN = "{schema.outcome_unknown}"', ""]
    lines += ["# The limits of a server that does not say them."]
    for name in ("request_bytes", "reply_bytes", "hello_bytes", "in_flight", "idle_ms"):
        lines.append(f"{name.upper()} = {schema.limits[name]['value']}")
    lines += ["", "", "class Op:", '    """The values of `op` in an event of `watch`."""', ""]
    for op, about in schema.watch_ops.items():
        lines.append(f'    {op.upper()} = "{op}"')
        lines += docstring(about, INDENT)
    lines += ["", "", "OPS = frozenset(("]
    lines += [f"    Op.{op.upper()}," for op in schema.watch_ops]
    lines += ["))", ""]
    for name, title in (("type", "ChatType"), ("status", "ChatStatus")):
        about = schema.types[name]["about"]
        lines += ["", f"class {title}(enum.IntEnum):", *docstring(about, INDENT), ""]
        lines += [f"    {word.upper()} = {number}" for number, word in numbered(about)]
        lines.append("")
    return "\n".join(lines)


def numbered(about: str) -> Iterable[tuple[int, str]]:
    """The numbers and words of "The type of a chat: 1 single, 2 group." """
    for part in about.rpartition(":")[2].strip(" .").split(","):
        number, _, word = part.strip().partition(" ")
        yield int(number), word


# Commands and methods


def commands(schema: Schema) -> str:
    lines = [HEAD + '"""The commands: their codes, and how to read their replies."""', ""]
    lines += [
        "from __future__ import annotations",
        "",
        "from .._command import Command, read_empty",
    ]
    lines += ["from .._msgpack import read_nil", "from . import records as r", ""]
    for command in schema.commands:
        if not (command.is_called or command.name in ("hello", "watch")):
            continue
        title = reply_name(command)
        read = "read_nil" if command.reply is None else "read_empty"
        read = f"r.read_{snake(title)}" if title else read
        names = [field.name for field in command.arguments]
        key_at = names.index("idempotency_key") if command.takes_key else -1
        values = (
            f'"{command.name}", {command.code}, {len(names)}, {command.is_read}, {key_at}, {read}'
        )
        lines += call_lines(f"{command.name.upper()} = Command(", values, ")", "")
    return "\n".join(lines) + "\n"


def methods(schema: Schema, is_async: bool) -> str:
    kind = "asyncio" if is_async else "blocking"
    title = "AsyncMethods" if is_async else "BlockingMethods"
    names = ["Any", "Iterable", "Iterator", "List", "Optional", "TypeVar"]
    if is_async:
        names.remove("Iterator")
    typing = f"from typing import {', '.join(names)}"
    lines = [HEAD + f'"""The methods of the {kind} client, one for each command."""', ""]
    lines += ["from __future__ import annotations", "", typing, ""]
    lines += ["from .._command import Command, flag_value, list_value, record_value"]
    lines += ["from ..pages import " + ("AsyncItems, Page" if is_async else "Page, blocking_items")]
    lines += ["from . import commands as c", "from . import records as r", ""]
    lines += ['T = TypeVar("T")', "", "", f"class {title}:"]
    lines += ['    """One method for each command. Every error is a `CallError`."""', ""]
    define = "async def" if is_async else "def"
    lines += [
        f"    {define} _call(",
        "        self,",
        "        command: Command[T],",
        "        arguments: List[Any],",
    ]
    lines += [
        "        key: Optional[str],",
        "        timeout: Optional[float],",
        "    ) -> T:",
        "        raise NotImplementedError",
    ]
    for command in schema.called:
        lines += ["", *method(schema, command, is_async)]
    for command in schema.called:
        if command.name in ITERATED:
            lines += ["", *iterator(schema, command, ITERATED[command.name], is_async)]
    return "\n".join(lines) + "\n"


def iterator(schema: Schema, command: Command, how: Iterated, is_async: bool) -> list[str]:
    """A method that iterates over pages. Only `since` of `sync` is a place to begin at."""
    indent = INDENT * 2
    item = f"r.{how.item}"
    place = how.place_type
    given = [field for field in command.optional if field.name not in ("cursor", "limit")]
    returns = f"AsyncItems[{item}, {place}]" if is_async else f"Iterator[{item}]"
    lines = [f"    def {how.name}(", f"{indent}self,"]
    lines += [f"{indent}{field.name}: {qualified(schema, field)}," for field in command.required]
    begun = [field for field in given if field.name == how.place]
    lines += [f"{indent}{field.name}: {qualified(schema, field)} = None," for field in begun]
    lines.append(f"{indent}*,")
    filters = [field for field in given if field not in begun]
    lines += [f"{indent}{field.name}: {qualified(schema, field)} = None," for field in filters]
    lines += [f"{indent}page: Optional[int] = None,", f"{indent}timeout: Optional[float] = None,"]
    lines.append(f"    ) -> {returns}:")
    lines += [*wrapped('"""' + how.about, indent), "", f"{indent}Args:"]
    for field in (*command.required, *begun, *filters):
        lines += argument_docs(field)
    (limit,) = [field for field in command.arguments if field.name == "limit"]
    lines += hanging(f"page: Items of one page. {bounds(limit)}".strip(), indent + INDENT)
    lines += hanging("timeout: Seconds for each page; absent: the client's.", indent + INDENT)
    lines += [f'{indent}"""', ""]
    define, wait = ("async def", "await ") if is_async else ("def", "")
    passed = [field.name for field in command.required]
    passed += [f"{field.name}={field.name}" for field in filters]
    passed += [f"{how.place}=place", "limit=page", "timeout=timeout"]
    lines += [f"{indent}{define} fetch(place: Optional[{place}]) -> Page[{item}, {place}]:"]
    call = f"reply = {wait}self.{method_name(command)}("
    lines += call_lines(call, ", ".join(passed), ")", indent + INDENT)
    lines += [f"{indent}    return {how.items}, {how.next}", ""]
    begin = f", {how.place}" if begun else ""
    made = "AsyncItems" if is_async else "blocking_items"
    return [*lines, f"{indent}return {made}(fetch{begin})"]


def argument_docs(field: Field) -> list[str]:
    text = f"{field.name}: {sentence(field.about)} {bounds(field)}"
    return hanging(text.strip(), INDENT * 3)


def method(schema: Schema, command: Command, is_async: bool) -> list[str]:
    title = reply_name(command)
    returns = f"r.{title}" if title else "None"
    indent = INDENT * 2
    define = "async def" if is_async else "def"
    lines = [f"    {define} {method_name(command)}(", f"{indent}self,"]
    lines += [f"{indent}{field.name}: {qualified(schema, field)}," for field in command.required]
    lines.append(f"{indent}*,")
    lines += [
        f"{indent}{field.name}: {qualified(schema, field)} = None," for field in command.optional
    ]
    lines += [f"{indent}timeout: Optional[float] = None,", f"    ) -> {returns}:"]
    lines += method_docs(command)
    names = {}
    for field in command.arguments:
        names[field.name] = field.name
        if field.is_list:
            names[field.name] = f"{field.name}_"
            lines.append(f'{indent}{field.name}_ = list_value("{field.name}", {field.name})')
    values = ", ".join(
        sent_value(names[field.name], field, True, schema) for field in command.arguments
    )
    wait = "await " if is_async else ""
    call = f"{wait}self._call(c.{command.name.upper()}, "
    key = key_of(command, names)
    if len(key) > 20:
        lines.append(f"{indent}key = {key}")
        key = "key"
    whole = f"return {call}[{values}], {key}, timeout)"
    if len(indent) + len(whole) <= 100:
        return [*lines, indent + whole]
    lines += call_lines("arguments: List[Any] = [", values, "]", indent)
    return [*lines, f"{indent}return {call}arguments, {key}, timeout)"]


def qualified(schema: Schema, field: Field) -> str:
    """The type of an argument in the files of the methods."""
    text = write_type(schema, field)
    if schema.is_record(field.item):
        text = text.replace(pascal(field.item), f"r.{pascal(field.item)}")
    return text


def method_docs(command: Command) -> list[str]:
    indent = INDENT * 2
    lines = [*wrapped('"""' + sentence(command.about), indent), "", f"{indent}Args:"]
    for field in command.arguments:
        lines += argument_docs(field)
    text = "timeout: Seconds for the call with all its repeats; absent: the client's."
    lines += hanging(text, indent + INDENT)
    return [*lines, f'{indent}"""']


def hanging(text: str, indent: str) -> list[str]:
    first, *rest = wrapped(text, indent)
    text = " ".join(line.strip() for line in rest)
    return [first, *wrapped(text, indent + INDENT)]


def key_of(command: Command, names: dict[str, str]) -> str:
    """The expression for the key that decides the shard."""
    parts = []
    for by in command.shard_by:
        field = next(field for field in command.arguments if field.name == by)
        name = names[by]
        parts.append(f"({name}[0] if {name} else None)" if field.is_list else name)
    if not parts:
        return "None"
    first, *rest = parts
    for other in rest:
        first = f"{first} or {other}"
    return first
