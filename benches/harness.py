"""What the measuring scripts share: servers on one core, load on the other, and all of it ended.

Invariants:
- Every process that was started here is ended, however the script ends.
- No setting of chatshard's comes from the environment: a measurement says what it measures.
"""

import atexit
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Several times what a step should take: a stuck one ends the run.
START_TIMEOUT_S = 60
FILL_TIMEOUT_S = 1800

children = []


def tell(text):
    print(text, file=sys.stderr, flush=True)


def die_with_parent():
    """In a child: it is told to end when this script does, however that happens."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    except (OSError, AttributeError):
        pass


def end(child):
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def end_children():
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        end(child)
    children.clear()


def end_with_script():
    atexit.register(end_children)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def can_pin():
    return shutil.which("taskset") and {0, 1} <= os.sched_getaffinity(0)


def pinned(core, command):
    """The command on one core, where there are two and taskset."""
    command = list(map(str, command))
    return ["taskset", "-c", str(core), *command] if can_pin() else command


def spawn(command, **further):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHATSHARD_")}
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env=environment, preexec_fn=die_with_parent, **further
    )
    children.append(child)
    return child


def start(name, command, directory, ready_port):
    """A server, once it listens."""
    log = directory / f"{name}.log"
    with open(log, "wb") as output:
        child = spawn(command, stdout=output, stderr=output, cwd=directory)
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", ready_port), 1).close()
            # taskset becomes what it starts, so the child is the server itself.
            return child
        except OSError:
            if child.poll() is not None or time.monotonic() > until:
                said = log.read_text(errors="replace")
                sys.exit(f"{name} does not start:\n{said[-2000:]}")
            time.sleep(0.02)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def run(command, timeout, may_fail=False):
    """What a command says; it must succeed, or may fail once it has said something."""
    return said_by(spawn(command, stdout=subprocess.PIPE, text=True), timeout, may_fail)


def said_by(child, timeout, may_fail=False):
    try:
        said, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        sys.exit(f"{' '.join(child.args)}: not done within {timeout} s")
    children.remove(child)
    if child.returncode != 0 and not (may_fail and said):
        sys.exit(f"{' '.join(child.args)}: failed")
    return said


def load_command(binary, data, *further):
    """`chatshard bench` on the load's core; `data` is how many chats and users there are."""
    chats, users = data
    return pinned(1, [binary, "bench", *further, "--chats", chats, "--users", users])


def dist_binary(given):
    """The binary that is given, or the build of profile `dist`."""
    if given is None:
        subprocess.run(["cargo", "build", "--profile", "dist", "--locked"], cwd=ROOT, check=True)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        given = target / "dist" / "chatshard"
    return given.resolve()


def scratch_directory(name):
    """Beside the binary and not in /tmp: that may be memory, where a sync costs nothing."""
    scratch = ROOT / "target" / name
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


def save(out, found):
    """Writes JSON, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_suffix(".tmp")
    unfinished.write_text(json.dumps(found, indent=1) + "\n")
    unfinished.replace(out)


def table(lines, first_left=0):
    """Lines of cells, the first of them the header, as a Markdown table."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]

    def cell(column, text):
        return text.ljust(widths[column]) if column < first_left else text.rjust(widths[column])

    return "\n".join(
        "| " + " | ".join(cell(column, text) for column, text in enumerate(line)) + " |"
        for line in ruled
    )
