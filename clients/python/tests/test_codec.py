"""Vectors, other forms, and bytes that are no replies."""

from __future__ import annotations

import unittest
from typing import Any, Dict

import chatshard
from chatshard import _msgpack as m
from chatshard._command import Command
from chatshard._connection import _read_failure
from chatshard._generated import commands, records
from chatshard._hash import KEPT_MAX, Slots, xxh64
from chatshard.errors import Outcome, outcome_of

from support import packed, seeded, unpack, vectors

COMMANDS: Dict[str, Command[Any]] = {
    one.name: one for one in vars(commands).values() if isinstance(one, Command)
}
HERE = vectors()
CASES = [*HERE["conversation"], *HERE["members"], *HERE["errors"], *HERE["events"], *HERE["forms"]]
REPLIES = [case for case in CASES if "reply" in case and case["command"] in (None, *COMMANDS)]
READ_ERRORS = m.READ_ERRORS


def plain(value: Any) -> Any:
    """A reply as JSON shows it. The wire has the chat's id of a row once."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        shown = {name: plain(inner) for name, inner in vars(value).items()}
        if isinstance(value, records.Row):
            shown["id"] = value.chat_id
        return shown
    return value


def read_reply(case: Dict[str, Any], data: bytes) -> Any:
    """Reads the payload of a reply as a connection does."""
    count, p = m.read_array(data, 0)
    if count < 3:
        raise m.WireError("short")
    request_id, p = m.read_int(data, p)
    status, p = m.read_int(data, p)
    if status == 200:
        body, p = COMMANDS[case["command"] or "ping"].read(data, p)
    else:
        body, p = _read_failure(data, p, status)
    p = m.skip(data, p, count - 3)
    if p != len(data):
        raise m.WireError("the frame goes on")
    return request_id, status, body


class Vectors(unittest.TestCase):
    def test_every_request_has_the_bytes_of_its_vector(self) -> None:
        encoded = 0
        for case in CASES:
            command = COMMANDS.get(case["command"])
            if "request" not in case or command is None:
                continue
            frame = bytes.fromhex(case["request"])
            (request_id, _code, values), _ = unpack(frame, 4)
            body = command.encode(values)
            payload = b"\x93" + packed(request_id) + body
            self.assertEqual(len(payload).to_bytes(4, "big") + payload, frame, case["name"])
            self.assertEqual(self.named(case), values, case["name"])
            encoded += 1
        self.assertGreater(encoded, 40)

    def named(self, case: Dict[str, Any]) -> Any:
        """The arguments of a case as the methods of a client send them."""
        sent = Recorder()
        arguments = dict(case["arguments"])
        name = case["command"]
        if name in ("hello", "watch"):
            order = {"hello": ("token", "client", "shard", "stale_ms"), "watch": ("from",)}[name]
            return [arguments.get(one) for one in order]
        shapes = {"chats": records.ChatLine, "members": records.MemberLine}
        shapes.update(items=records.ReadItem, since=records.Since)
        for field, shape in shapes.items():
            if isinstance(arguments.get(field), list):
                arguments[field] = [shape(**one) for one in arguments[field]]
            elif isinstance(arguments.get(field), dict):
                arguments[field] = shape(**arguments[field])
        getattr(sent, "import_" if name == "import" else name)(**arguments)
        return unpack(packed(sent.arguments))[0]

    def test_every_reply_decodes_to_its_body(self) -> None:
        for case in REPLIES:
            frame = bytes.fromhex(case["reply"])
            self.assertEqual(int.from_bytes(frame[:4], "big"), len(frame) - 4)
            request_id, status, body = read_reply(case, frame[4:])
            self.assertEqual(request_id, case["request_id"], case["name"])
            self.assertEqual(status, case["status"], case["name"])
            if status == 200:
                meant = case["body"] or None
                self.assertEqual(plain(body), meant, case["name"])
            else:
                self.assertEqual(body.name, case["body"]["error"])
                self.assertEqual(body.message, case["body"]["message"])
                self.assertEqual(body.address, case["body"].get("address", ""))
        self.assertGreater(len(REPLIES), 80)

    def test_every_command_has_a_vector(self) -> None:
        named = {case["command"] for case in CASES if case["command"]}
        self.assertEqual(set(COMMANDS) - named, set())

    def test_errors_say_what_is_known(self) -> None:
        known = {
            421: Outcome.NOT_APPLIED,
            429: Outcome.NOT_APPLIED,
            451: Outcome.REFUSED,
            507: Outcome.UNKNOWN,
        }
        for case in HERE["errors"]:
            status, message = case["status"], case["body"]["message"]
            meant = known.get(status, Outcome.REFUSED)
            if status == 503:
                is_clear = message.startswith("not applied")
                meant = Outcome.NOT_APPLIED if is_clear else Outcome.UNKNOWN
            self.assertEqual(outcome_of(status, message), meant, case["name"])

    def test_keys_have_the_slots_of_the_server(self) -> None:
        for case in HERE["slots"]:
            key, seed = case["key"], case["seed"]
            self.assertEqual(f"{xxh64(key.encode(), seed):016x}", case["hash"])
            slots = Slots(seed, 4096)
            for _ in range(2):
                self.assertEqual(slots.of(key), case["slot"])
            self.assertEqual(case["slot"] % 4, case["shard_of_4"])

    def test_long_keys_hash_as_the_algorithm_says(self) -> None:
        # Values of the reference implementation.
        self.assertEqual(xxh64(b""), 0xEF46DB3751D8E999)
        self.assertEqual(xxh64(b"a"), 0xD24EC4F1A98C6E5B)
        text = b"Nobody inspects the spammish repetition"
        self.assertEqual(xxh64(text), 0xFBCEA83C8A378BF1)

    def test_slots_keep_a_bounded_number_of_keys(self) -> None:
        slots = Slots(0, 4096)
        for number in range(KEPT_MAX + 10):
            slots.of(f"k{number}")
        self.assertLessEqual(len(slots._kept), KEPT_MAX)


class Recorder(chatshard.Client):
    """Keeps the arguments of a call."""

    def __init__(self) -> None:
        self.arguments: Any = None

    def _call(self, command: Any, arguments: Any, key: Any, timeout: Any) -> Any:
        self.arguments = arguments


class BadBytes(unittest.TestCase):
    def test_the_beginning_of_a_reply_is_no_reply(self) -> None:
        for case in REPLIES:
            data = bytes.fromhex(case["reply"])[4:]
            for length in range(len(data)):
                with self.assertRaises(READ_ERRORS):
                    read_reply(case, data[:length])

    def test_changed_bytes_give_a_reply_or_an_error(self) -> None:
        choices = seeded()
        read = refused = 0
        for _ in range(5_000):
            case = choices.choice(REPLIES)
            data = bytearray(bytes.fromhex(case["reply"])[4:])
            for _ in range(choices.randint(1, 3)):
                data[choices.randrange(len(data))] = choices.randrange(256)
            try:
                read_reply(case, bytes(data))
                read += 1
            except READ_ERRORS:
                refused += 1
        self.assertGreater(min(read, refused), 100)

    def test_other_types_of_messagepack_are_refused(self) -> None:
        for marker in (0x80, 0xC1, 0xC4, 0xC7, 0xCA, 0xCB, 0xD4, 0xD8, 0xDE, 0xDF):
            data = bytes((marker,)) + bytes(16)
            for read in (m.read_int, m.read_str, m.read_array, m.read_bool, m.read_flag):
                with self.assertRaises(m.WireError):
                    read(data, 0)
            with self.assertRaises(m.WireError):
                m.skip(data, 0)

    def test_a_claimed_length_allocates_nothing(self) -> None:
        for data in (b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff\x01"):
            for read in (lambda d, p: m.read_list(m.read_int, d, p), m.read_str):
                with self.assertRaises(READ_ERRORS):
                    read(data, 0)
            with self.assertRaises(IndexError):
                p = m.skip(data, 0)
                data[p]

    def test_deep_nesting_is_passed_over(self) -> None:
        deep = b"\x91" * 100_000 + b"\xc0"
        self.assertEqual(m.skip(deep, 0), len(deep))

    def test_negative_integers_and_flags_out_of_range_are_refused(self) -> None:
        for data in (b"\xff", b"\xe0", b"\xd0\xff", b"\xd3" + b"\xff" * 8):
            with self.assertRaises(m.WireError):
                m.read_int(data, 0)
        with self.assertRaises(m.WireError):
            m.read_flag(b"\x02", 0)
        self.assertEqual(m.read_flags(b"\xcc\x01\x00\xd0\x01", 0, 3), ((True, False, True), 5))


class Arguments(unittest.TestCase):
    def test_integers_have_their_shortest_form(self) -> None:
        forms = {0: 1, 127: 1, 128: 2, 255: 2, 256: 3, 65535: 3, 65536: 5, 2**32: 9, 2**64 - 1: 9}
        for value, length in forms.items():
            data = packed(value)
            self.assertEqual(len(data), length, value)
            self.assertEqual(m.read_int(data, 0), (value, length))

    def test_strings_of_every_width_are_read_again(self) -> None:
        for length in (0, 31, 32, 255, 256, 65535, 65536):
            data = packed("x" * length)
            self.assertEqual(m.read_str(data, 0), ("x" * length, len(data)))

    def test_random_values_are_read_again(self) -> None:
        choices = seeded()

        def value(depth: int) -> Any:
            kind = choices.randrange(5 if depth else 4)
            if kind == 4:
                return [value(depth - 1) for _ in range(choices.randrange(40))]
            texts = "".join(
                chr(choices.randrange(32, 0xD800)) for _ in range(choices.randrange(80))
            )
            return (
                None,
                choices.random() < 0.5,
                choices.getrandbits(choices.randrange(65)),
                texts,
            )[kind]

        for _ in range(300):
            some = value(3)
            data = packed(some)
            self.assertEqual(unpack(data), (some, len(data)))
            self.assertEqual(m.skip(data, 0), len(data))

    def test_what_the_protocol_does_not_have_is_an_error_of_the_caller(self) -> None:
        for wrong in (-1, 2**64, "\ud800"):
            with self.assertRaises(ValueError):
                packed(wrong)
        for strange in (1.5, b"x", {}, object()):
            with self.assertRaises(TypeError):
                packed(strange)
        with self.assertRaises(TypeError):
            Recorder().unread("alice")

    def test_enums_are_integers(self) -> None:
        self.assertEqual(packed(chatshard.ChatType.GROUP), b"\x02")


if __name__ == "__main__":
    unittest.main()
