"""An engine of three members, and nodes with a journal or without one, all on loopback.

Invariants:
- What was started here is ended by `end`, and by `harness` when the script ends.
- A port that a process gives back when it is killed goes to nobody else.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import harness

MEMBER = harness.ROOT / "tests/cluster/member"
MEMBERS = 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Below the ports that the system gives to connections, which could take that of a killed process.
PORTS = iter(range(21_000, 32_000))
PATIENCE_S = 120


class Trouble(Exception):
    """A step that did not work, with what the processes said."""


def steady_port():
    for port in PORTS:
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Trouble("no free port")


def wait_until(what, is_so, patience_s=PATIENCE_S, pause_s=0.05):
    """Waits until `is_so` returns something; a refused connection counts as nothing."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        try:
            if found := is_so():
                return found
        except OSError:
            pass
        time.sleep(pause_s)
    raise Trouble(f"{what}: not within {patience_s} s")


def get(port, path, timeout=10):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout).read()


class Server:
    """A process that can be killed and started again, with its messages in a file."""

    def __init__(self, name, command, directory):
        self.name, self.command = name, list(map(str, command))
        self.log, self.child, self.cpu_before_s = directory / f"{name}.log", None, 0.0

    def start(self):
        with open(self.log, "ab") as output:
            self.child = harness.spawn(self.command, stdout=output, stderr=output)

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def end(self, sent=signal.SIGKILL):
        """Ends it at once: what these processes have on their disks is thrown away."""
        if self.child is None:
            return
        if self.is_running():
            self.cpu_before_s += self.cpu_of_child_s()
            self.child.send_signal(sent)
        self.child.wait(PATIENCE_S)
        if self.child in harness.children:
            harness.children.remove(self.child)
        self.child = None

    def said(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"{self.name}:\n  " + "\n  ".join(line[:300] for line in lines[-5:])

    def cpu_of_child_s(self):
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def cpu_s(self):
        """CPU time of all processes that this server has been."""
        return self.cpu_before_s + (self.cpu_of_child_s() if self.is_running() else 0)

    def memory(self, field="VmRSS"):
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) << 10


class Engine:
    """Three members of etcd."""

    def __init__(self, directory):
        directory.mkdir()
        self.clients = [steady_port() for _ in range(MEMBERS)]
        peers = [steady_port() for _ in range(MEMBERS)]
        lists = [",".join(map(str, ports)) for ports in (self.clients, peers)]
        self.members = [
            Server(f"engine{number}", [MEMBER, directory, number, *lists], directory)
            for number in range(MEMBERS)
        ]
        for member in self.members:
            member.start()
        self.wait_until_well()

    def hosts(self):
        return ",".join(f"127.0.0.1:{port}" for port in self.clients)

    def wait_until_well(self):
        def all_are_well():
            for member in self.members:
                if not member.is_running():
                    raise Trouble(member.said())
            return all(json.loads(get(port, "/health"))["health"] == "true" for port in self.clients)

        wait_until("the engine is well", all_are_well)

    def leader(self):
        """The number of the member that leads."""
        for number, port in enumerate(self.clients):
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}/v3/maintenance/status", b"{}",
                {"Content-Type": "application/json"},
            )
            status = json.loads(urllib.request.urlopen(asked, timeout=5).read())
            if status["leader"] == status["header"]["member_id"]:
                return number
        raise Trouble("the engine has no leader")


class Node(Server):
    """A chatshard; with `journal` a member of it."""

    def __init__(self, options, name, directory, journal=None):
        self.port, self.admin = steady_port(), steady_port()
        self.addr = f"127.0.0.1:{self.port}"
        self.data = directory / name
        self.binary = options.binary
        command = [
            options.binary, "serve", "--data-dir", self.data, "--listen", self.addr, "--http", "off",
            "--admin", f"127.0.0.1:{self.admin}", "--shards", options.shards, "--log-level", "info,chatshard::net=warn",
        ]
        if journal:
            command += ["--journal", journal, "--member", name]
        super().__init__(name, command, directory)

    def answers(self, path):
        """Whether the admin listener replies with 200."""
        try:
            get(self.admin, path)
            return True
        except urllib.error.HTTPError:
            return False

    def wait_until_up(self):
        def is_up():
            if not self.is_running():
                raise Trouble(self.said())
            return self.answers("/readyz?any")

        wait_until(f"{self.name} is up", is_up)

    def metrics(self):
        """The values of all metrics, by name and labels."""
        found = re.findall(
            r"^chatshard_(\S+) (\S+)$", get(self.admin, "/metrics").decode(), re.M
        )
        return {name: float(value) for name, value in found}

    def look(self):
        return Look(self.admin)

    def call(self, command, arguments):
        said = self.tool("call", "--addr", self.addr, command, json.dumps(arguments))
        return json.loads(said)

    def tool(self, *arguments):
        return harness.run([str(self.binary), *map(str, arguments)], PATIENCE_S)


class Look:
    """Reads how far a member has come, over one connection."""

    def __init__(self, admin):
        self.connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)

    def committed_lsn(self):
        self.connection.request("GET", "/metrics")
        page = self.connection.getresponse().read()
        return int(re.search(rb"^chatshard_journal_committed_lsn (\d+)$", page, re.M)[1])


class Cluster:
    """The engine with a journal, and the nodes that share it."""

    def __init__(self, options, directory):
        directory.mkdir()
        self.options, self.directory = options, directory
        self.engine = Engine(directory / "engine")
        self.journal = f"etcd://{self.engine.hosts()}/measured"
        harness.run([str(options.binary), "journal", "init", "--journal", self.journal], PATIENCE_S)
        self.nodes = []
        for _ in range(options.nodes):
            self.add_node().start()
        for node in self.nodes:
            node.wait_until_up()
        self.active()

    def add_node(self):
        node = Node(self.options, f"node{len(self.nodes)}", self.directory, self.journal)
        self.nodes.append(node)
        return node

    def addresses(self):
        """The doors of all that run. The active is the first one, so that clients find it at once."""
        return [node.addr for node in [self.active(), *self.standbys()]]

    def active(self):
        def found():
            for node in self.nodes:
                if node.is_running() and node.answers("/readyz"):
                    return node
            return None

        return wait_until("a node is the active", found)

    def standbys(self):
        active = self.active()
        return [node for node in self.nodes if node.is_running() and node is not active]

    def wait_until_level(self, node=None, patience_s=PATIENCE_S):
        """Waits until each standby, or this one, has reported that it has everything."""
        active = self.active()
        wanted = {node.name} if node else {other.name for other in self.standbys()}

        def are_level():
            for other in self.nodes:
                if other.child is not None and not other.is_running():
                    raise Trouble(other.said())
            members = json.loads(active.tool("cluster", "--json", "--addr", active.addr))["members"]
            level = {
                member["member"] for member in members
                if member["role"] == "standby" and member["lag"] == 0
                and (member["heard_ms"] or 0) < 2000
            }
            return wanted <= level

        wait_until(f"{', '.join(sorted(wanted))} level with the active", are_level, patience_s)

    def epoch(self):
        return int(self.active().metrics()["journal_epoch"])

    def servers(self):
        return self.engine.members + self.nodes

    def said(self):
        return "\n".join(server.said() for server in self.servers())

    def end(self):
        for server in self.nodes + self.engine.members:
            server.end()
