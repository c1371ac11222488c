"""The records and replies of the Python client, and how they are read."""

from __future__ import annotations

from typing import Iterable, Optional

from schema import Command, Field, Record, Schema, pascal, wrapped

HEAD = "# Generated from docs/reference/protocol.json by clients/generate. Do not edit.\n"
PYTHON = {"string": "str", "integer": "int", "boolean": "bool"}
FLAGS = ("bool", "flag")
# The fields of these replies and records may be missing at the end: older servers have fewer.
GROWN = ("limits", "hello")
EVENT = "Event"
INDENT = "    "


def reply_name(command: Command) -> Optional[str]:
    """The class of a reply; None if it has no fields."""
    if command.name == "watch":
        return EVENT
    return pascal(command.name) + "Reply" if command.reply else None


def replies(schema: Schema) -> list[tuple[Command, str]]:
    """The commands whose replies have classes, with the names of these."""
    read = [one for one in schema.commands if one.is_called or one.name in ("hello", "watch")]
    named = [(command, reply_name(command)) for command in read]
    return [(command, name) for command, name in named if name is not None]


def docstring(text: str, indent: str) -> list[str]:
    """A docstring in lines of at most 100 columns."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    if len(text) + len(indent) + 6 <= 100:
        return [f'{indent}"""{text}"""']
    lines = wrapped('"""' + text, indent)
    if len(lines[-1]) + 3 > 100:
        return [*lines, indent + '"""']
    return [*lines[:-1], lines[-1] + '"""']


# Types


def base_type(schema: Schema, name: str) -> str:
    if name in FLAGS:
        return "bool"
    return pascal(name) if schema.is_record(name) else PYTHON[schema.types[name]["wire"]]


def read_type(schema: Schema, field: Field, is_optional: bool) -> str:
    """The type of a field of a record or a reply."""
    name = base_type(schema, field.item)
    name = f"Tuple[{name}, ...]" if field.is_list else name
    return f"Optional[{name}]" if is_optional else name


def write_type(schema: Schema, field: Field) -> str:
    """The type of an argument."""
    name = base_type(schema, field.item)
    name = f"Iterable[{name}]" if field.is_list else name
    return name if field.required else f"Optional[{name}]"


# Records


def sent_records(schema: Schema) -> set[str]:
    """The records that stand in arguments."""
    called = [field for command in schema.called for field in command.arguments]
    return {field.item for field in called if schema.is_record(field.item)}


def read_fields(schema: Schema) -> list[Field]:
    """All fields of replies and records that a client reads."""
    fields = [field for one in schema.records for field in one.fields]
    return fields + [field for one, _ in replies(schema) for field in one.reply or ()]


def read_in_lists(schema: Schema) -> set[str]:
    return {field.item for field in read_fields(schema) if field.is_list}


def read_alone(schema: Schema) -> set[str]:
    return {field.item for field in read_fields(schema) if not field.is_list}


def known_records(schema: Schema) -> list[Record]:
    """The records of called commands and of `hello`, those before others that they are part of."""
    by_name = {record.name: record for record in schema.records}
    ordered: dict[str, Record] = {}

    def add(field: Field) -> None:
        if schema.is_record(field.item) and field.item not in ordered:
            record = by_name[field.item]
            for inner in record.fields:
                add(inner)
            ordered[field.item] = record

    for command in schema.commands:
        if command.is_called or command.name == "hello":
            for field in (*command.arguments, *(command.reply or ())):
                add(field)
    return list(ordered.values())


def records(schema: Schema) -> str:
    sent = sent_records(schema)
    lines = [HEAD + '"""The records of the protocol, and the replies of commands."""', ""]
    lines += ["from __future__ import annotations", "", "from dataclasses import dataclass"]
    lines += [
        "from typing import Any, List, Optional, Tuple",
        "",
        "from .. import _msgpack as m",
        "",
    ]
    titles = [pascal(record.name) for record in known_records(schema)]
    titles += [title for _, title in replies(schema)]
    lines += ["__all__ = ["] + [f'    "{title}",' for title in sorted(titles)] + ["]", ""]
    lines += [
        "_new = object.__new__",
        "# How to fill a frozen object in one step.",
        "_set = object.__setattr__",
    ]
    for record in known_records(schema):
        title = pascal(record.name)
        about, is_sent = f"The record `{record.name}`.", record.name in sent
        lines += ["", "", *class_of(schema, title, record.fields, about, is_sent)]
        if record.name in read_in_lists(schema):
            lines += ["", "", *list_reader(schema, title, record)]
        if record.name in read_alone(schema):
            lines += ["", "", *reader(schema, title, record.name, record.fields)]
    for command, title in replies(schema):
        fields = command.reply or ()
        about = f"The reply of `{command.name}`."
        about = "A change, as `watch` returns it." if title == EVENT else about
        lines += ["", "", *class_of(schema, title, fields, about, False)]
        lines += ["", "", *reader(schema, title, command.name, fields)]
    return "\n".join(lines) + "\n"


def is_optional(field: Field, is_sent: bool) -> bool:
    return field.nullable or (is_sent and not field.required)


def class_of(
    schema: Schema, title: str, fields: Iterable[Field], about: str, is_sent: bool
) -> list[str]:
    lines = ["@dataclass(frozen=True)", f"class {title}:", f'    """{about}"""', ""]
    for field in fields:
        optional = is_optional(field, is_sent)
        default = " = None" if is_sent and not field.required else ""
        lines.append(f"    {field.name}: {read_type(schema, field, optional)}{default}")
        lines += docstring(sentence(field.about), INDENT)
    if is_sent:
        values = ", ".join(sent_value(f"self.{field.name}", field, False) for field in fields)
        lines += [
            "",
            "    def _values(self) -> List[Any]:",
            *call_lines("return [", values, "]", INDENT * 2),
        ]
    return lines


def sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", ":")) else text + "."


def call_lines(begin: str, arguments: str, end: str, indent: str, cut: str = "") -> list[str]:
    """`begin arguments end` on one line, or with the arguments on lines of their own. The lines
    come without the beginning `cut`."""
    if len(indent) + len(begin) + len(arguments) + len(end) <= 100:
        return [f"{indent}{begin}{arguments}{end}"[len(cut) :]]
    lines = [indent + begin, *wrapped(arguments + ",", indent + INDENT), indent + end]
    return [line[len(cut) :] for line in lines]


def reader(schema: Schema, title: str, name: str, fields: tuple[Field, ...]) -> list[str]:
    """A function that reads a record or a reply."""
    lines = [f"def read_{snake(title)}(d: bytes, p: int) -> Tuple[{title}, int]:"]
    lines += [INDENT + line for line in read_object(schema, title, name, fields)]
    return [*lines, f"{INDENT}return o, p"]


def list_reader(schema: Schema, title: str, record: Record) -> list[str]:
    """A function that reads a list of records, in one loop without a call for each of them."""
    lines = [f"def read_{record.name}_list(d: bytes, p: int) -> Tuple[Tuple[{title}, ...], int]:"]
    lines += [f"{INDENT}count, p = m.read_array(d, p)", f"{INDENT}items: List[{title}] = []"]
    lines.append(f"{INDENT}for _ in range(count):")
    body = read_object(schema, title, record.name, record.fields)
    lines += [INDENT * 2 + line for line in [*body, "items.append(o)"]]
    return [*lines, f"{INDENT}return tuple(items), p"]


def read_object(schema: Schema, title: str, name: str, fields: tuple[Field, ...]) -> list[str]:
    """Statements that read an object into `o`, with the frequent forms of values in line."""
    body: list[str] = []
    grown = name in GROWN
    if grown:
        body += ["count, p = m.read_array(d, p)", f"more = count - {len(fields)}"]
    elif len(fields) < 16:
        body += ["more = 0", f"if d[p] == {0x90 | len(fields)}:", "    p += 1", "else:"]
        body += [f"    more, p = m.read_fields(d, p, {len(fields)})"]
    else:
        body += [f"more, p = m.read_fields(d, p, {len(fields)})"]
    at = 0
    while at < len(fields):
        run = flag_run(fields, at)
        if run > 1 and not grown:
            body += read_flags(run, at)
            at += run
            continue
        body += read_grown(schema, fields[at], at) if grown else read_field(schema, fields[at], at)
        at += 1
    body += ["if more > 0:", "    p = m.skip(d, p, more)", f"o = _new({title})"]
    values = ", ".join(f'"{field.name}": v{at}' for at, field in enumerate(fields))
    return body + call_lines('_set(o, "__dict__", {', values, "})", INDENT * 2, INDENT * 2)


def snake(title: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in title).strip("_")


def flag_run(fields: tuple[Field, ...], at: int) -> int:
    """How many flags that are not nil stand here in a row, at most four."""
    run = 0
    while run < 4 and at + run < len(fields):
        field = fields[at + run]
        if field.type != "flag" or field.nullable:
            break
        run += 1
    return run


def read_flags(run: int, at: int) -> list[str]:
    names = ", ".join(f"v{at + i}" for i in range(run))
    return [
        f"f{at} = m.FLAGS{run}.get(d[p : p + {run}])",
        f"if f{at} is None:",
        f"    f{at}, p = m.read_flags(d, p, {run})",
        "else:",
        f"    p += {run}",
        f"{names} = f{at}",
    ]


def read_function(schema: Schema, item: str) -> str:
    if schema.is_record(item):
        return f"read_{item}"
    if item in FLAGS:
        return f"m.read_{item}"
    return "m.read_str" if schema.types[item]["wire"] == "string" else "m.read_int"


def read_grown(schema: Schema, field: Field, at: int) -> list[str]:
    """A field that an older server may not have. Then it is zero or empty."""
    function, zero = read_function(schema, field.item), zero_of(schema, field)
    return [f"v{at}, p = {function}(d, p) if count > {at} else ({zero}, p)"]


def read_field(schema: Schema, field: Field, at: int) -> list[str]:
    name = f"v{at}"
    item = field.item
    function = read_function(schema, item)
    kind = base_type(schema, item)
    if field.is_list:
        if field.nullable:
            raise ValueError(f"{field.name}: a list that may be nil")
        if schema.is_record(item):
            return [f"{name}, p = read_{item}_list(d, p)"]
        return [f"{name}, p = m.read_list({function}, d, p)"]
    if field.nullable:
        return [
            f"{name}: Optional[{kind}] = None",
            f"if d[p] == {0xC0}:",
            "    p += 1",
            "else:",
            f"    {name}, p = {function}(d, p)",
        ]
    if function == "m.read_int":
        lines = [f"{name} = d[p]", f"if {name} < 128:", "    p += 1"]
        if field.type == "time":
            lines += [
                f"elif {name} == {0xCF}:",
                f"    {name} = m.unpack_u64(d, p + 1)[0]",
                "    p += 9",
            ]
        return [*lines, "else:", f"    {name}, p = {function}(d, p)"]
    if function == "m.read_str":
        return [
            "b = d[p]",
            "if 160 <= b < 192:",
            "    e = p + b - 159",
            f"    {name} = d[p + 1 : e].decode()",
            "    p = e",
            "else:",
            f"    {name}, p = {function}(d, p)",
        ]
    return [f"{name}, p = {function}(d, p)"]


def zero_of(schema: Schema, field: Field) -> str:
    if schema.is_record(field.item):
        return f'read_{field.item}(b"\\x90", 0)[0]'
    return {"str": '""', "int": "0", "bool": "False"}[base_type(schema, field.item)]


def sent_value(name: str, field: Field, is_argument: bool, schema: Optional[Schema] = None) -> str:
    """What goes to the wire for an argument or a field of a record."""
    if field.item == "flag":
        return f"flag_value({name})" if is_argument else f"None if {name} is None else int({name})"
    if is_argument and schema and schema.is_record(field.item) and not field.is_list:
        return f'record_value("{name}", {name})'
    return name
