# SPDX-License-Identifier: Apache-2.0
"""Commands on the lab host, for lab/host and for the tests.

The lab host is a machine with a POWER /dev/kvm. On a POWER machine it is the machine itself
(`DirectHost`), else an emulated one that `lab/host up` has started (`EmulatedHost`), reached through
the agent of lab/agent.c. Both have the same methods:

    host = Host.open()
    host.run(["uname", "-m"])                          # Result(rc, stdout, stderr)
    process = host.popen(["bin/paprika", ...])         # streams, signals, exit status
    control = host.connect_unix(f"{host.path}/control.sock")

Every wait is for an event and takes a timeout.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Mapping, NamedTuple, Sequence

CHECKOUT = Path(__file__).resolve().parent.parent
SUITE = os.environ.get("PAPRIKA_SUITE") or "bookworm"  # as in lab/setup
LAB = CHECKOUT / ".lab" / ("" if SUITE == "bookworm" else SUITE)
INPUT_WINDOW = 262144  # these two as in agent.c
FRAME_MAX = 16384
Sink = Callable[[bytes], None]


class LabError(Exception):
    """An error with a text that says what the user has to do."""


class Result(NamedTuple):
    rc: int  # exit status, or minus the signal number
    stdout: bytes
    stderr: bytes


class Stream:
    """The output of a process, collected by a thread; reads take deadlines.

    It is not bounded, so a process never blocks on a full pipe. For large output pass a sink to
    popen().
    """

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink, self._data, self._ended = sink, bytearray(), False
        self._changed = threading.Condition()

    def _feed(self, data: bytes) -> None:
        if self._sink:
            self._sink(data)
            return
        with self._changed:
            self._data += data
            self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def read_until(self, pattern: bytes | re.Pattern[bytes], timeout: float) -> bytes:
        """Returns (and consumes) everything up to and including the first match of `pattern`.

        Raises TimeoutError or EOFError that quotes the output, which is not consumed.
        """
        compiled = re.compile(re.escape(pattern)) if isinstance(pattern, bytes) else pattern
        with self._changed:
            self._changed.wait_for(lambda: self._ended or compiled.search(self._data), timeout)
            match = compiled.search(self._data)
            if not match:
                error = EOFError if self._ended else TimeoutError
                raise error(f"no {compiled.pattern!r} in {bytes(self._data[-2000:])!r}")
            taken = bytes(self._data[: match.end()])
            del self._data[: match.end()]
            return taken

    def readline(self, timeout: float) -> bytes:
        return self.read_until(b"\n", timeout)

    def read(self, timeout: float | None = None) -> bytes:
        """Returns everything up to the end of the stream, or raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended, timeout):
                raise TimeoutError(f"stream still open after {timeout} s")
            return self.peek(consume=True)

    def peek(self, consume: bool = False) -> bytes:
        """Returns, without waiting, the output that has not been consumed."""
        with self._changed:
            data = bytes(self._data)
            if consume:
                self._data.clear()
            return data


class Process:
    """A command on the host. Ending it (or leaving a `with`) ends its whole process group."""

    def __init__(self, argv: Sequence[str], stdout: Sink | None, stderr: Sink | None) -> None:
        self.argv, self.stdout, self.stderr = list(argv), Stream(stdout), Stream(stderr)
        self.returncode: int | None = None
        self._failure: str | None = None
        self._ended = threading.Event()

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Writes all of `data` to standard input; BrokenPipeError if the command has ended."""
        raise NotImplementedError

    def close_stdin(self) -> None:
        raise NotImplementedError

    def send_signal(self, number: int) -> None:
        """Sends a signal to the whole process group; does nothing once the command has ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the command (SIGTERM, two seconds later SIGKILL)."""
        raise NotImplementedError

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status, or minus the signal number; all output has arrived by then."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(
                self.argv, timeout or 0, self.stdout.peek(), self.stderr.peek())
        if self.returncode is None:
            raise LabError(f"{self.argv[0]}: {self._failure}")
        return self.returncode

    def _finish(self, returncode: int | None, failure: str | None = None) -> None:
        self.returncode, self._failure = returncode, failure
        self.stdout._end()
        self.stderr._end()
        self._ended.set()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Host:
    """The machine paprika runs on. `path` is the work directory inside it; relative file names and
    commands start there, and `path`/bin comes first in PATH."""

    path: str

    @staticmethod
    def open(instance: str | None = None) -> "Host":
        """Returns the host of this checkout; LabError if it is not up."""
        return DirectHost() if is_direct() else EmulatedHost.of_instance(instance)

    def popen(self, argv: Sequence[str], *, cwd: str | None = None,
              env: Mapping[str, str] | None = None, stdout: Sink | None = None,
              stderr: Sink | None = None, terminal: tuple[int, int] | None = None) -> Process:
        """Starts argv; LabError if it cannot be started. `env` adds to the host's environment.

        `stdout`/`stderr`: called with each piece of output, from another thread, in place of
        collecting it. `terminal` (rows, columns): run on a terminal (emulated host only).
        """
        raise NotImplementedError

    def connect_unix(self, path: str, timeout: float = 10) -> socket.socket:
        """Returns a socket connected to the UNIX stream socket `path` of the host."""
        raise NotImplementedError

    def run(self, argv: Sequence[str], input: bytes | None = None, timeout: float = 60, *,
            cwd: str | None = None, env: Mapping[str, str] | None = None,
            check: bool = False) -> Result:
        """Runs argv to its end. On subprocess.TimeoutExpired the command has been told to end.
        With `check`, anything but exit status 0 raises LabError."""
        deadline = time.monotonic() + timeout
        with self.popen(argv, cwd=cwd, env=env) as process:
            try:
                if input:
                    process.write(input, timeout)
            except BrokenPipeError:
                pass  # the command has ended; its status says how
            process.close_stdin()
            rc = process.wait(max(0.0, deadline - time.monotonic()))
            result = Result(rc, process.stdout.read(0), process.stderr.read(0))
        if check and rc != 0:
            raise LabError(f"{' '.join(argv)}: status {rc}: {result.stderr.decode(errors='replace')}")
        return result

    def put(self, local: str | os.PathLike[str], remote: str | None = None) -> str:
        """Copies a file to the host, mode bits included, and returns its name there. The file
        appears whole or not at all, and may replace one that is being executed."""
        target = self._target(os.fspath(local), remote)
        mode = f"{os.stat(local).st_mode & 0o7777:o}"
        script = 'cat > "$1.new" && chmod "$2" "$1.new" && mv -f "$1.new" "$1"'
        self.run(["sh", "-c", script, "put", target, mode], Path(local).read_bytes(), 300, check=True)
        return target

    def sync(self, files: Mapping[str, str | os.PathLike[str]]) -> list[str]:
        """Puts those files (name on the host -> local file) that are missing or differ on the host,
        and returns their names."""
        sums = self.run(["sha256sum", *files]).stdout.decode().splitlines()
        there = {name: digest for digest, _, name in (line.partition("  ") for line in sums)}
        changed = [name for name, local in files.items() if there.get(name)
                   != hashlib.sha256(Path(local).read_bytes()).hexdigest()]
        for name in changed:
            self.put(files[name], name)
        return changed

    def get(self, remote: str, local: str | os.PathLike[str] | None = None) -> None:
        """Copies a file from the host (default: into the current directory), mode bits included."""
        destination = Path(local or ".")
        if destination.is_dir():
            destination /= os.path.basename(remote)
        out = self.run(["sh", "-c", 'stat -L -c %a "$1" && cat "$1"', "get", remote], timeout=300,
                       check=True).stdout
        mode, _, content = out.partition(b"\n")
        temporary = destination.with_name(destination.name + ".new")
        temporary.write_bytes(content)
        temporary.chmod(int(mode, 8))
        temporary.replace(destination)

    def _target(self, local: str, remote: str | None) -> str:
        target = os.path.join(self.path, remote or "")
        return target + os.path.basename(local) if target.endswith("/") else target


# ---- the emulated host ----


def is_direct() -> bool:
    """True if this machine is the lab host (PAPRIKA_LAB=direct|emulated overrides)."""
    wanted = os.environ.get("PAPRIKA_LAB")
    return wanted == "direct" if wanted else os.uname().machine == "ppc64le"


def instance_dir(instance: str | None = None) -> Path:
    name = instance or os.environ.get("PAPRIKA_LAB_INSTANCE") or "default"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise LabError(f"'{name}' is no instance name: use letters, digits, '.', '_' and '-'")
    return LAB / f"host-{name}"


def qemu_of(directory: Path) -> int | None:
    """Returns a pidfd of the instance's QEMU if it runs. The pid may have been reused, so the process
    must also have the pid file in its command line."""
    pidfile = directory / "qemu.pid"
    try:
        pid = int(pidfile.read_text())
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    try:
        if os.fsencode(pidfile) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _receive(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("the host closed the connection")
        data += piece
    return bytes(data)


def _read_frame(sock: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack(">cI", _receive(sock, 5))
    return kind, _receive(sock, length)


def _frame(kind: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">cI", kind, len(payload)) + payload


class EmulatedHost(Host):
    """A running instance that `lab/host up` has started."""

    path = "/lab"
    kind = "unknown"  # as in kinds.py
    restarts: Sequence[str] = ()  # why it had to be started once more

    def __init__(self, port: int, key: str) -> None:
        self.port, self._key = port, key

    @classmethod
    def of_instance(cls, instance: str | None = None) -> "EmulatedHost":
        directory = instance_dir(instance)
        pidfd = qemu_of(directory)
        if pidfd is None or not (directory / "state.json").exists():
            raise LabError(f"the lab host ({directory.name}) is not up; start it with: lab/host up")
        os.close(pidfd)
        state = json.loads((directory / "state.json").read_text())
        host = cls(int(state["port"]), str(state["key"]))
        host.kind, host.restarts = state["kind"], state["restarts"]
        return host

    def _session(self, request: list[tuple[bytes, bytes]], timeout: float) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            frames = [(b"K", self._key.encode())] + request
            sock.sendall(b"".join(_frame(*f) for f in frames))
            kind, text = _read_frame(sock)
            if kind != b"k":
                raise LabError(text.decode(errors="replace"))
            sock.settimeout(None)
            return sock
        except OSError as error:
            sock.close()
            raise LabError(f"the lab host does not answer: {error}; see: lab/host log") from error
        except BaseException:
            sock.close()
            raise

    def popen(self, argv: Sequence[str], *, cwd: str | None = None,
              env: Mapping[str, str] | None = None, stdout: Sink | None = None,
              stderr: Sink | None = None, terminal: tuple[int, int] | None = None) -> Process:
        request = [(b"A", os.fsencode(a)) for a in argv]
        request += [(b"E", os.fsencode(f"{k}={v}")) for k, v in (env or {}).items()]
        request += [(b"C", os.fsencode(cwd))] if cwd else []
        request += [(b"P", struct.pack(">HH", *terminal))] if terminal else []
        return _RemoteProcess(self._session(request + [(b"X", b"")], 30), argv, stdout, stderr)

    def connect_unix(self, path: str, timeout: float = 10) -> socket.socket:
        return self._session([(b"U", os.fsencode(os.path.join(self.path, path)))], timeout)


class _RemoteProcess(Process):
    def __init__(self, sock: socket.socket, argv: Sequence[str], stdout: Sink | None,
                 stderr: Sink | None) -> None:
        super().__init__(argv, stdout, stderr)
        self._sock, self._window = sock, INPUT_WINDOW
        self._window_changed, self._send_lock = threading.Condition(), threading.Lock()
        threading.Thread(target=self._receive_all, daemon=True).start()

    def _receive_all(self) -> None:
        try:
            while True:
                kind, payload = _read_frame(self._sock)
                if kind == b"o":
                    self.stdout._feed(payload)
                elif kind == b"r":
                    self.stderr._feed(payload)
                elif kind == b"w":
                    with self._window_changed:
                        self._window += struct.unpack(">I", payload)[0]
                        self._window_changed.notify_all()
                elif kind in (b"x", b"s"):
                    self._finish(payload[0] if kind == b"x" else -payload[0])
                    break
        except OSError as error:
            self._finish(None, f"the session broke: {error}; see: lab/host status")
        finally:
            with self._window_changed:
                self._window_changed.notify_all()

    def _send(self, frame: bytes) -> None:
        try:
            with self._send_lock:
                self._sock.sendall(frame)
        except OSError as error:
            raise BrokenPipeError(f"{self.argv[0]} has ended") from error

    def write(self, data: bytes, timeout: float | None = None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        for start in range(0, len(data), FRAME_MAX):
            piece = data[start : start + FRAME_MAX]
            with self._window_changed:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._window_changed.wait_for(
                        lambda: self._ended.is_set() or self._window >= len(piece), left):
                    raise subprocess.TimeoutExpired(self.argv, timeout or 0)
                self._window -= len(piece)
            if self._ended.is_set():
                raise BrokenPipeError(f"{self.argv[0]} has ended")
            self._send(_frame(b"I", piece))

    def close_stdin(self) -> None:
        try:
            self._send(_frame(b"I"))
        except BrokenPipeError:
            pass

    def send_signal(self, number: int) -> None:
        try:
            self._send(_frame(b"S", bytes([number])))
        except BrokenPipeError:
            pass

    def close(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the receiving thread and tells the agent
        except OSError:
            pass
        self._ended.wait()
        self._sock.close()


# ---- this machine as the host ----


class DirectHost(Host):
    """A POWER machine with /dev/kvm: commands run on this machine."""

    def __init__(self) -> None:
        self.path = str(LAB / "direct")
        os.makedirs(f"{self.path}/bin", exist_ok=True)

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.path}/bin:{os.environ.get('PATH', '/bin')}", **(env or {})}

    def popen(self, argv: Sequence[str], *, cwd: str | None = None,
              env: Mapping[str, str] | None = None, stdout: Sink | None = None,
              stderr: Sink | None = None, terminal: tuple[int, int] | None = None) -> Process:
        try:
            child = subprocess.Popen(
                argv, cwd=cwd or self.path, env=self.environment(env), bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True)
        except OSError as error:
            raise LabError(f"{argv[0]}: {error.strerror}") from error
        return _LocalProcess(child, argv, stdout, stderr)

    def connect_unix(self, path: str, timeout: float = 10) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(os.path.join(self.path, path))
        except OSError as error:
            sock.close()
            raise LabError(f"{path}: {error}") from error
        sock.settimeout(None)
        return sock

    def put(self, local: str | os.PathLike[str], remote: str | None = None) -> str:
        target = self._target(os.fspath(local), remote)
        shutil.copy(local, target + ".new")
        os.replace(target + ".new", target)
        return target


class _LocalProcess(Process):
    """As in the agent: the command has a process group, and no process of it outlives it."""

    def __init__(self, child: subprocess.Popen[bytes], argv: Sequence[str], stdout: Sink | None,
                 stderr: Sink | None) -> None:
        super().__init__(argv, stdout, stderr)
        self._child, self._group_lock, self._reaped = child, threading.Lock(), False
        self._readers = [threading.Thread(target=self._pump, args=a, daemon=True)
                         for a in ((child.stdout, self.stdout), (child.stderr, self.stderr))]
        for thread in self._readers + [threading.Thread(target=self._supervise, daemon=True)]:
            thread.start()

    @staticmethod
    def _pump(pipe: object, stream: Stream) -> None:
        with pipe:  # type: ignore[attr-defined]
            while data := pipe.read(65536):  # type: ignore[attr-defined]
                stream._feed(data)

    def _supervise(self) -> None:
        # The leader stays a zombie until the group has ended, so its pid cannot be reused.
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        self.send_signal(signal.SIGTERM)
        for thread in self._readers:
            thread.join(2)
        with self._group_lock:
            os.killpg(self._child.pid, signal.SIGKILL)
            returncode = self._child.wait()
            self._reaped = True
        for thread in self._readers:
            thread.join(2)  # a process outside the group may hold the pipe; do not wait for it
        self._finish(returncode)

    def write(self, data: bytes, timeout: float | None = None) -> None:
        assert self._child.stdin
        deadline = None if timeout is None else time.monotonic() + timeout
        os.set_blocking(self._child.stdin.fileno(), False)
        view = memoryview(data)
        while view:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([], [self._child.stdin], [], left)[1]:
                raise subprocess.TimeoutExpired(self.argv, timeout or 0)
            view = view[self._child.stdin.write(view) or 0:]

    def close_stdin(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()

    def send_signal(self, number: int) -> None:
        with self._group_lock:
            if not self._reaped:
                os.killpg(self._child.pid, number)

    def close(self) -> None:
        self.send_signal(signal.SIGTERM)
        if not self._ended.wait(2):
            self.kill()
        self._ended.wait()
        self.close_stdin()
