"""Advances over the TCP door, as `bench run` does not send them: with idempotency keys, or one at a
time with every outcome counted.

The requests of a run differ only in request id, chat and key, and all of these have a fixed length.
So a request is a few joined bytes, and Python keeps up with some 40 000 replies a second.
"""

import selectors
import socket
import struct
import threading
import time

HELLO = b"\x93\x01\x01\x90"
STATUS_OK, STATUS_BUSY, STATUS_MOVED = 200, 429, 421
# Longest wait for a reply: the active must have replied to what it accepted.
REPLY_TIMEOUT_S = 10
RETRY_PAUSE_S = 0.02
# Of so many requests, the latency of one is noted.
LATENCY_OF = 8


def chat_id(number):
    return b"ha-%08d" % number


def chat_lines(count):
    """The chats that are advanced, as lines for `import`."""
    for number in range(count):
        yield (
            '{"chat":{"id":"%s","type":2,"creator_id":"ha"}}\n' % chat_id(number).decode()
        )


def frame(payload):
    return struct.pack(">I", len(payload)) + payload


def text(value):
    return bytes([0xA0 + len(value)]) + value


def request(number, chat, key=None):
    """`advance` by 1 of a chat, with a key of 20 bytes or without one."""
    keyed = b"\xc0\xc0\xc0" + text(key) if key else b""
    arguments = (b"\x97" if key else b"\x93") + text(chat) + b"\xc0\x01" + keyed
    return frame(b"\x93\xce" + struct.pack(">I", number) + b"\x20" + arguments)


def replies(buffer):
    """The (request id, status, body) of all whole replies, and how many bytes these have."""
    found, at = [], 0
    while len(buffer) - at >= 4:
        end = at + 4 + int.from_bytes(buffer[at:at + 4], "big")
        if end > len(buffer):
            break
        number, place = integer(buffer, at + 5)
        status, place = integer(buffer, place)
        found.append((number, status, bytes(buffer[place:end])))
        at = end
    return found, at


def integer(buffer, at):
    first = buffer[at]
    if first < 0x80:
        return first, at + 1
    bytes_ = 1 << (first - 0xCC)
    return int.from_bytes(buffer[at + 1:at + 1 + bytes_], "big"), at + 1 + bytes_


def connect(address):
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)), REPLY_TIMEOUT_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.settimeout(REPLY_TIMEOUT_S)
    stream.sendall(frame(HELLO))
    return stream


class Line:
    """A connection of a keyed run."""

    def __init__(self, address):
        self.stream, self.buffer = connect(address), bytearray()
        while not replies(self.buffer)[0]:
            self.buffer += self.received()
        self.buffer.clear()

    def received(self):
        got = self.stream.recv(1 << 16)
        if not got:
            raise OSError("the server closed the connection")
        return got


def with_keys(address, chats, connections, depth, seconds, warmup):
    """A closed loop of keyed advances. Returns replies a second and quantiles of their latency."""
    run, sent = time.time_ns() % 10**10, 0
    lines = selectors.DefaultSelector()
    for _ in range(connections):
        line = Line(address)
        lines.register(line.stream, selectors.EVENT_READ, line)
    began = time.monotonic()
    counts_from, until = began + warmup, began + warmup + seconds
    open_since, latencies, counted, errors = {}, [], 0, 0

    def send(line, count):
        nonlocal sent
        out = []
        for _ in range(count):
            sent += 1
            out.append(request(sent, chat_id(sent * 7919 % chats), b"%010d%010d" % (run, sent)))
            if sent % LATENCY_OF == 0:
                open_since[sent] = time.monotonic()
        line.stream.sendall(b"".join(out))

    for key in lines.get_map().values():
        send(key.data, depth)
    in_flight = connections * depth
    while in_flight:
        ready = lines.select(REPLY_TIMEOUT_S)
        if not ready:
            raise OSError("keyed advances got no reply")
        for key, _ in ready:
            line = key.data
            line.buffer += line.received()
            found, taken = replies(line.buffer)
            del line.buffer[:taken]
            now = time.monotonic()
            for number, status, body in found:
                since = open_since.pop(number, None)
                if not counts_from <= now < until:
                    continue
                if status == STATUS_OK:
                    counted += 1
                    if since is not None:
                        latencies.append(now - since)
                else:
                    errors += 1
            in_flight -= len(found)
            if now < until and found:
                send(line, len(found))
                in_flight += len(found)
    for key in list(lines.get_map().values()):
        key.data.stream.close()
    return {"per_s": counted / seconds, "errors": errors, **quantiles(latencies)}


def quantiles(seconds):
    if not seconds:
        return {"p50_ms": None, "p99_ms": None, "max_ms": None}
    ordered = sorted(seconds)
    at = lambda share: 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": 1000 * ordered[-1]}


class OneAtATime:
    """Connections that advance without keys, each with one request in flight.

    A request is due each `pause_s`, and its latency counts from then: a server that stands still pays
    for each one that was due meanwhile. Without a pause each follows a reply. A request that was
    surely not applied is sent again. The others that fail have an unknown outcome, and are counted.
    """

    def __init__(self, addresses, connections, pause_s):
        self.addresses, self.pause_s, self.wanted = addresses, pause_s, True
        self.latencies, self.unknown, self.refused = [], [], 0
        self.threads = [
            threading.Thread(target=self.write, args=[number], daemon=True)
            for number in range(connections)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.wanted = False
        for thread in self.threads:
            thread.join(2 * REPLY_TIMEOUT_S)

    def found(self):
        return {
            "acknowledged": len(self.latencies), "unknown": len(self.unknown),
            "why_unknown": sorted(set(self.unknown)), "refused": self.refused,
            **quantiles(self.latencies),
        }

    def write(self, number):
        line, sent, place = None, 0, number
        due = time.monotonic() + self.pause_s * number / len(self.threads)
        while self.wanted:
            time.sleep(max(0, due - time.monotonic()))
            try:
                line = line or Line(self.addresses[place % len(self.addresses)])
            except OSError:
                place += 1
                time.sleep(RETRY_PAUSE_S)
                continue
            sent += 1
            try:
                line.stream.sendall(request(sent, chat_id(number)))
                found = []
                while not found:
                    line.buffer += line.received()
                    found, taken = replies(line.buffer)
                    del line.buffer[:taken]
                status, body = found[0][1:]
            except OSError as error:
                self.unknown.append(str(error))
                status, body = None, b""
            if status == STATUS_OK:
                self.latencies.append(time.monotonic() - due)
                due = due + self.pause_s if self.pause_s else time.monotonic()
                continue
            if status in (STATUS_BUSY, STATUS_MOVED) or b"not applied" in body:
                self.refused += 1
                time.sleep(RETRY_PAUSE_S)
            elif status is not None:
                self.unknown.append(f"{status} {body[:200].decode(errors='replace')}")
            if status != STATUS_BUSY:
                line.stream.close()
                line, place = None, place + 1
