# SPDX-License-Identifier: Apache-2.0
"""One running guest, for the tests and the demo: the VMM's process on the lab host, its control
socket and its console.

Every wait is for a line, an event or the end of a process, with a generous deadline that only turns
a hang into a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import qmp_types
from host_api import Host, Process

DEADLINE = 90.0


class CommandError(Exception):
    """An error reply of the control socket."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(f"{error['class']}: {error['desc']}")
        self.error_class, self.desc = error["class"], error["desc"]


class Control:
    """A client of the control socket: one request at a time, events kept in order. It raises NotQmp
    for anything that does not match tests/qmp/types.json.

    Without `subscribe` it is a plain QMP client. Without `check` it also accepts what QEMU sends."""

    def __init__(self, connection: socket.socket, subscribe: bool = True,
                 check: bool = True) -> None:
        self.socket = connection
        self.buffer = b""
        self.events: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.types = qmp_types.Client(subscribed=False) if check else None
        self.greeting = self._read(time.monotonic() + DEADLINE)
        if self.types:
            self.types.check(self.greeting)
        self.execute("qmp_capabilities")
        if subscribe:
            self.execute("events-subscribe")
            self.types = qmp_types.Client(subscribed=True) if check else None

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self.buffer:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the control socket was closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def _receive(self, deadline: float) -> None:
        message = self._read(deadline)
        if self.types and "event" in message:
            self.types.check(message)
        (self.events if "event" in message else self.replies).append(message)

    def execute(self, command: str, **arguments: Any) -> Any:
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + DEADLINE
        while not self.replies:
            self._receive(deadline)
        reply = self.replies.pop(0)
        if self.types:
            self.types.check(reply, command)
        if "error" in reply:
            raise CommandError(reply["error"])
        return reply["return"]

    def wait_event(self, name: str, matches: Callable[[dict[str, Any]], bool] = lambda data: True,
                   timeout: float = DEADLINE) -> dict[str, Any]:
        """The data of the first event of that name that matches, received or to come. Removes it
        and earlier events."""
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            for index in range(seen, len(self.events)):
                event = self.events[index]
                if event["event"] == name and matches(event.get("data", {})):
                    del self.events[: index + 1]
                    return event.get("data", {})
            seen = len(self.events)
            self._receive(deadline)

    def next_event(self, timeout: float = DEADLINE) -> dict[str, Any]:
        """The next event of any name."""
        deadline = time.monotonic() + timeout
        while not self.events:
            self._receive(deadline)
        return self.events.pop(0)

    def wait_step(self, operation: int, step: str, timeout: float = DEADLINE) -> dict[str, Any]:
        """The operation as reported at that step."""
        return self.wait_event(
            "OPERATION", lambda data: data["operation"]["id"] == operation and data["step"] == step,
            timeout)["operation"]

    def wait_end(self, operation: int, timeout: float = DEADLINE) -> dict[str, Any]:
        return self.wait_step(operation, "ended", timeout)

    def wait_ends(self, operations: list[int]) -> list[dict[str, Any]]:
        """The same of several, which may end in any order."""
        ended: dict[int, dict[str, Any]] = {}
        while len(ended) < len(operations):
            operation = self.wait_event("OPERATION", lambda data: data["step"] == "ended" and
                                        data["operation"]["id"] in operations)["operation"]
            ended[operation["id"]] = operation
        return [ended[number] for number in operations]

    def operation(self, number: int) -> dict[str, Any]:
        return next(op for op in self.execute("query-operations") if op["id"] == number)

    def connector(self, core_id: int) -> dict[str, Any]:
        return next(c for c in self.execute("query-connectors", resource="core")
                    if c["core-id"] == core_id)

    def block(self, number: int) -> dict[str, Any] | None:
        """The connector of a memory block; None if the block is not plugged in."""
        return next((c for c in self.execute("query-connectors", resource="memory")
                     if c["unit"] == number), None)

    def close(self) -> None:
        self.socket.close()


def initrd_of(host: Host) -> str:
    """The test guest's initramfs on the host, for the kernel in use."""
    return os.environ.get("PAPRIKA_TEST_INITRD") or host.path + "/initrd"


class Guest:
    """A paprika process with a guest. Leaving a `with` ends the process.

    The kernel is the stock one of the host; PAPRIKA_TEST_KERNEL names another on the host, and
    PAPRIKA_TEST_INITRD the initramfs with its modules. PAPRIKA_GUEST_OPTIONS are further options of
    each guest, such as a mode that is not the host's default. `prefix` is a command that executes the
    rest of its arguments."""

    def __init__(self, host: Host, *options: str, cpus: str = "boot=1,max=4", memory: str = "512M",
                 kernel: str | None = None, append: str = "console=hvc0 quiet", initrd: bool = True,
                 console: bool = True, prefix: Sequence[str] = ()) -> None:
        self.host = host
        self.directory = f"/tmp/paprika-test-{uuid.uuid4().hex[:12]}"
        host.run(["mkdir", self.directory], check=True)
        self.control_path = self.directory + "/control"
        self.console_path = self.directory + "/console"
        self.kernel = kernel or os.environ.get("PAPRIKA_TEST_KERNEL") or host.path + "/vmlinux"
        argv = [*prefix, host.path + "/bin/paprika", "run", "--kernel", self.kernel,
                "--append", append, "--cpus", cpus, "--memory", memory,
                "--control", self.control_path,
                "--console", "unix:" + self.console_path if console else "none",
                "--log-level", "info", *shlex.split(os.environ.get("PAPRIKA_GUEST_OPTIONS", "")), *options]
        if initrd:
            argv += ["--initrd", initrd_of(host)]
        self.process: Process = host.popen(argv)
        self.output = b""
        try:
            # Printed when the sockets exist.
            self.log = self.process.stderr.read_until(re.compile(rb"guest .* started"), DEADLINE)
            self.control = Control(host.connect_unix(self.control_path))
            self.tty = host.connect_unix(self.console_path) if console else None
        except BaseException as failure:
            self.close()
            raise AssertionError(f"{' '.join(argv)}: {self.process.stderr.peek()!r}") from failure

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and wait for its end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.close()
            self.host.run(["rm", "-rf", self.directory], check=True)

    # --- the console -------------------------------------------------------------------------

    def read_console(self, pattern: str, timeout: float = DEADLINE) -> re.Match[bytes]:
        """Read the console up to a match, and consume it; match.string[:match.start()] precedes the
        match. A match must not be longer than a line."""
        assert self.tty is not None
        deadline = time.monotonic() + timeout
        searched = 0  # no match begins before here
        while not (match := re.compile(pattern.encode()).search(self.output, searched)):
            searched = max(0, len(self.output) - 4096)
            self.tty.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.tty.recv(65536)
            except TimeoutError as late:
                raise AssertionError(f"no {pattern!r} on the console: {self.output!r}") from late
            assert data, f"console closed before {pattern!r}: {self.output!r}"
            self.output += data
        self.output = self.output[match.end():]
        return match

    def wait_ready(self) -> str:
        """Wait for the guest's shell; returns the CPUs that are online."""
        return self.read_console(r"PAPRIKA-GUEST-READY cpus=(\S+)\r?\n")[1].decode()

    def type(self, line: str) -> None:
        assert self.tty is not None
        self.tty.sendall(line.encode() + b"\n")

    def sh(self, command: str, timeout: float = DEADLINE) -> str:
        """Run a command in the guest, which must succeed; returns its output."""
        mark = uuid.uuid4().hex[:8]
        # The mark is split, so that an echo of the line does not match.
        self.type(f"{{ {command}; }} 2>&1; echo {mark[:4]}''{mark[4:]}:$?")
        match = self.read_console(rf"{mark}:(\d+)\r?\n", timeout)
        text = match.string[:match.start()].decode(errors="replace").replace("\r", "").strip()
        assert match[1] == b"0", f"{command!r} in the guest: status {match[1].decode()}: {text}"
        return text

    def online(self) -> str:
        return self.sh("cat /sys/devices/system/cpu/online")

    def set_online(self, cpu: int, online: bool) -> None:
        self.sh(f"echo {int(online)} > /sys/devices/system/cpu/cpu{cpu}/online")

    def runs_on(self, cpu: int) -> bool:
        """Wait until a process can run on that CPU of the guest: Linux allows it to processes in the
        background, some time after the CPU is online."""
        self.sh(f"until taskset -c {cpu} true 2> /dev/null; do usleep 10000; done")
        return True

    # --- cores -------------------------------------------------------------------------------

    def ask_add(self, core_id: int) -> int:
        return self.control.execute("device_add", driver="host-spapr-cpu-core", core_id=core_id,
                                    id=f"core{core_id}")["operation"]

    def ask_remove(self, core_id: int) -> int:
        return self.control.execute("device_del", id=f"core{core_id}")["operation"]

    def add(self, core_id: int) -> dict[str, Any]:
        """Add a core; it is done when the guest has started it."""
        return self.control.wait_end(self.ask_add(core_id))

    def remove(self, core_id: int) -> dict[str, Any]:
        return self.control.wait_end(self.ask_remove(core_id))

    def wait_online(self, expected: str) -> None:
        """Wait in the guest, because its sysfs changes a moment after the CPU runs."""
        # The loop runs in the guest: polling from here would cost a round trip each time.
        self.sh(f"until [ \"$(cat /sys/devices/system/cpu/online)\" = \"{expected}\" ]; "
                "do usleep 10000; done")

    # --- memory ------------------------------------------------------------------------------

    def ask_memory(self, blocks: int) -> list[int]:
        """Ask for a number of blocks of 256 MiB, those of the start included."""
        reply = self.control.execute("set-memory", size=blocks << 28)
        assert "incomplete" not in reply, reply
        return list(reply["operations"])

    def set_memory(self, blocks: int) -> list[dict[str, Any]]:
        """The same, until all operations have ended."""
        return self.control.wait_ends(self.ask_memory(blocks))

    # --- the end -----------------------------------------------------------------------------

    def wait_exit(self, timeout: float = DEADLINE) -> int:
        return self.process.wait(timeout)

    def left_behind(self) -> list[str]:
        """Files left in the guest's directory."""
        return self.host.run(["ls", self.directory], check=True).stdout.decode().split()


def state_of(guest: Guest, core_id: int) -> dict[str, Any]:
    """The state of a core that a refusal must not change."""
    connector = guest.control.connector(core_id)
    return {key: value for key, value in connector.items() if key not in ("history", "vcpus")} | {
        "vcpus": [(vcpu["id"], vcpu["state"]) for vcpu in connector["vcpus"]]}


def elf(code: list[int], *, machine: int = 21, size: int = 0x1000, pie: bool = False,
        endian: str = "be") -> bytes:
    """A ppc64 ELF kernel of big-endian instructions, linked and entered at 0; a static PIE if `pie`.
    `endian` is that of the headers."""
    order = {"be": ">", "le": "<"}[endian]
    text = b"".join(struct.pack(">I", word) for word in code)
    ident = b"\x7fELF\x02" + {"be": b"\x02", "le": b"\x01"}[endian] + b"\x01"
    header = struct.pack(order + "16sHHIQQQIHHHHHH", ident, 3 if pie else 2, machine, 1,
                         0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack(order + "IIQQQQQQ", 1, 7, 0x1000, 0, 0, len(text), max(size, len(text)),
                          0x1000)
    return (header + segment).ljust(0x1000, b"\0") + text


@contextlib.contextmanager
def scratch_directory(host: Host) -> Iterator[str]:
    """A directory on the host that any user may write to; removed at the end."""
    directory = f"/tmp/paprika-test-{uuid.uuid4().hex[:12]}"
    host.run(["mkdir", "-m", "777", directory], check=True)
    try:
        yield directory
    finally:
        host.run(["rm", "-rf", directory], check=True)


def put_kernel(host: Host, directory: str, name: str, content: bytes) -> str:
    """Put a kernel made by a test on the host."""
    path = f"{directory}/{name}"
    host.run(["sh", "-c", f"mkdir -p {directory} && cat > {path}"], input=content, check=True)
    return path
