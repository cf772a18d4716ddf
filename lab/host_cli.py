# SPDX-License-Identifier: Apache-2.0
"""The command line of the lab host (lab/host): start it, use it, stop it.

An instance is one emulated host: a QEMU process and a directory .lab/host-NAME with its pidfile, its
console log and, once it answers, state.json (port and key of the agent). `up` talks to QEMU over two
socket pairs, console and monitor, and waits for events: the host asks for its key, says it is ready,
or the console ends because QEMU has ended.
"""
from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from pathlib import Path
from typing import IO, Iterator, NoReturn

from host_api import (CHECKOUT, LAB, DirectHost, EmulatedHost, Host, LabError, Process, Sink,
                      instance_dir, is_direct, qemu_of)
from kinds import KINDS, Paths, command, kernel_name

def setup(kind: str | None = None) -> None:
    subprocess.run([CHECKOUT / "lab/setup", "--quiet", *(["--kind", kind] if kind else [])],
                   check=True, stdout=sys.stderr)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One `up` or `down` of an instance at a time."""
    LAB.mkdir(exist_ok=True)
    with open(LAB / f"{directory.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another up or down of this instance", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def console_tail(directory: Path) -> str:
    try:
        lines = (directory / "console.log").read_text(errors="replace").splitlines()[-15:]
        lines += (directory / "qemu.log").read_text(errors="replace").splitlines()[-5:]
    except OSError:
        lines = []
    return "".join(f"\n  | {line}" for line in lines)


def stop(directory: Path) -> bool:
    """Stops the instance's QEMU, if any, and removes its directory; true if there was one."""
    pidfd = qemu_of(directory)
    if pidfd is not None:
        with os.fdopen(pidfd):
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)
                if select.select([pidfd], [], [], 5)[0]:
                    break
            else:
                raise LabError(f"QEMU of {directory} does not end, not even on SIGKILL")
    shutil.rmtree(directory, ignore_errors=True)
    return pidfd is not None


def disk_of(writable: str | None) -> str:
    """QEMU's description of the disk: what is written to it is lost at the end, unless lab/debian-disk
    makes it."""
    return f"file={writable},cache=unsafe" if writable else f"file={LAB / 'host-disk'},snapshot=on"


class Hung(Exception):
    """The emulator hung or crashed while a host of an unreliable kind was starting."""


class Boot:
    """One attempt to start an instance: QEMU and the two sockets it is watched through."""

    def __init__(self, directory: Path, args: argparse.Namespace) -> None:
        kind = KINDS[args.kind]
        self.directory, self.silence = directory, kind.silence
        self.deadline = time.monotonic() + (args.timeout or kind.timeout)
        self.console, console = socket.socketpair()
        self.monitor, monitor = socket.socketpair()
        self.seen = b""
        suffix = kernel_name(kind)
        qemu = LAB / f"qemu-{kind.qemu}" / "qemu-system-ppc64"
        paths = Paths("qemu-system-ppc64" if kind.qemu == "system" else str(qemu),
                      LAB / f"host-vmlinux{suffix}", LAB / f"host-initrd{suffix}",
                      directory / "qemu.pid", console.fileno(), monitor.fileno(),
                      disk_of(os.environ.get("PAPRIKA_LAB_DISK")))
        with console, monitor, open(directory / "qemu.log", "wb") as log:
            self.qemu = subprocess.Popen(
                command(kind, f"paprika-lab-{directory.name}", paths, args.cpus or kind.cpus,
                        args.memory or kind.memory),
                cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(console.fileno(), monitor.fileno()))

    def expect(self, marker: bytes) -> None:
        """Waits until the host's console shows `marker`."""
        while marker not in self.seen:
            left = max(0.01, self.deadline - time.monotonic())
            self.console.settimeout(min(left, self.silence or left))
            try:
                data = self.console.recv(4096)
            except TimeoutError:
                if self.silence and left > self.silence:
                    raise Hung(f"no word on its console for {self.silence:g} s") from None
                raise LabError("the lab host did not come up in time; its console ends with:"
                               + console_tail(self.directory)) from None
            if not data:
                status = self.qemu.wait(5)
                if self.silence and status < 0:
                    raise Hung(f"QEMU was ended by signal {-status}")
                raise LabError("the lab host ended while starting:" + console_tail(self.directory))
            self.seen += data

    def hand_over(self, key: str) -> int:
        """Waits for the host, gives it the agent's key, and returns the agent's port."""
        self.expect(b"LAB-HOST-KEY?")
        self.console.sendall(key.encode() + b"\n")
        self.expect(b"LAB-HOST-READY")
        return self.forwarded_port()

    def forwarded_port(self) -> int:
        """Asks QEMU for the port that was assigned to the agent."""
        self.monitor.settimeout(max(1.0, self.deadline - time.monotonic()))
        with self.monitor.makefile("rw") as monitor:
            for execute, arguments in (("qmp_capabilities", {}),
                                       ("human-monitor-command", {"command-line": "info usernet"})):
                monitor.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
                monitor.flush()
                reply = {}
                while "return" not in reply:  # skip the greeting and events
                    reply = json.loads(monitor.readline())
        row = next(r.split() for r in reply["return"].splitlines() if "HOST_FORWARD" in r)
        return int(row[row.index("127.0.0.1") + 1])

    def abort(self) -> None:
        self.qemu.kill()
        self.qemu.wait()


def boot_host(directory: Path, args: argparse.Namespace) -> str:
    """Starts an instance, writes its state, and returns a line about it. If the emulator hangs or
    crashes, it is started once more; that is printed, kept in the state, and the first console log is
    kept too."""
    key, restarts = secrets.token_hex(16), []
    while True:
        boot = Boot(directory, args)
        try:
            state = {"kind": args.kind, "port": boot.hand_over(key), "key": key, "restarts": restarts}
            temporary = directory / "state.json.new"
            temporary.write_text(json.dumps(state))
            temporary.replace(directory / "state.json")
            host = EmulatedHost.of_instance(args.instance)
            kernel = host.run(["uname", "-rm"], timeout=30).stdout.decode().strip()
            return kernel + (", at the second attempt" if restarts else "")
        except Hung as hung:
            boot.abort()
            tail = console_tail(directory)
            if restarts:
                raise LabError(f"the lab host hung twice: {restarts[0]}, then {hung}:{tail}") from None
            restarts.append(str(hung))
            print(f"the {args.kind} host hung while starting ({hung}); starting it once more. Its console "
                  f"ends with:{tail}", file=sys.stderr)
            with contextlib.suppress(FileNotFoundError):  # QEMU had not come that far
                (directory / "console.log").replace(directory / "console-first.log")
        except BaseException:
            boot.abort()
            raise


def up(args: argparse.Namespace) -> int:
    wanted = args.kind or os.environ.get("PAPRIKA_LAB_KIND")
    args.kind = wanted or "nested"
    if args.kind not in KINDS:
        raise LabError(f"there is no kind \"{args.kind}\"; there are: {', '.join(KINDS)}")
    if is_direct():
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise LabError("cannot use /dev/kvm: load the module (modprobe kvm-hv, or kvm-pr) and see "
                           "that you may open it (usually: be in group kvm)")
        if wanted:
            raise LabError("this machine is the lab host, so there is no choice of kinds "
                           "(PAPRIKA_LAB=emulated emulates one)")
        setup()
        host = DirectHost()
        for name, target in (("vmlinux", "guest-vmlinux"), ("initrd", "guest-initrd")):
            host.put(LAB / target, name)
        print(f"this machine is the lab host (/dev/kvm); work directory {host.path}")
        return 0
    directory = instance_dir(args.instance)
    with locked(directory):
        with contextlib.suppress(LabError):
            there = EmulatedHost.of_instance(args.instance)
            there.run(["true"], timeout=10)
            if wanted and there.kind != wanted:
                print(f"lab/host: {directory.name} is up as {there.kind}; first: lab/host down",
                      file=sys.stderr)
                return 1
            print(f"already up ({directory.name}, {there.kind})")
            return 0
        if stop(directory):
            print("stopped a lab host that did not answer", file=sys.stderr)
        setup(args.kind)
        started = time.monotonic()
        directory.mkdir(parents=True)
        directory.chmod(0o700)
        about = boot_host(directory, args)
        print(f"up ({directory.name}, {args.kind}): {about}, {time.monotonic() - started:.1f} s")
    return 0


def down(args: argparse.Namespace) -> int:
    if is_direct():
        return 0
    directory = instance_dir(args.instance)
    with locked(directory):
        print("down" if stop(directory) else "was not up")
    return 0


def status(args: argparse.Namespace) -> int:
    if is_direct():
        print(f"up: this machine; work directory {DirectHost().path}")
        return 0
    directory = instance_dir(args.instance)
    pidfd = qemu_of(directory)
    if pidfd is None:
        died = (directory / "state.json").exists()
        print(f"{directory.name}: " + ("has died:" + console_tail(directory) if died else "down"))
        return 3
    os.close(pidfd)
    host = EmulatedHost.of_instance(args.instance)
    uptime = host.run(["cut", "-d ", "-f1", "/proc/uptime"], timeout=10).stdout.decode().strip()
    print(f"{directory.name}: {host.kind}, up for {uptime} s, agent on 127.0.0.1:{host.port}")
    for reason in host.restarts:
        print(f"  was started twice: {reason}")
    return 0


def log(args: argparse.Namespace) -> int:
    try:
        text = (instance_dir(args.instance) / "console.log").read_bytes()
    except FileNotFoundError:
        raise LabError("no console log: this instance was not started") from None
    sys.stdout.buffer.write(text)
    return 0


def _pass_input(process: Process) -> None:
    with contextlib.suppress(BrokenPipeError, OSError):
        while data := os.read(0, 65536):
            process.write(data)
        process.close_stdin()


def _write_to(stream: IO[bytes]) -> Sink:
    def write(data: bytes) -> None:
        try:
            stream.write(data)
            stream.flush()
        except BrokenPipeError:  # end as a local command does; the session ends with this process
            os._exit(128 + signal.SIGPIPE)
    return write


def _in_background() -> bool:
    """True if this process is in the background: then the command gets no input."""
    return os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp()


def run(args: argparse.Namespace) -> int:
    host = Host.open(args.instance)
    if isinstance(host, DirectHost):
        os.chdir(args.directory or host.path)
        if args.no_input:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        environment = host.environment(dict(e.split("=", 1) for e in args.env))
        os.execvpe(args.command[0], args.command, environment)
    terminal = None
    if args.terminal and os.isatty(0):
        columns, rows = os.get_terminal_size(0)
        terminal = (rows, columns)
    process = host.popen(args.command, cwd=args.directory, terminal=terminal,
                         env=dict(e.split("=", 1) for e in args.env),
                         stdout=_write_to(sys.stdout.buffer), stderr=_write_to(sys.stderr.buffer))

    def forward(number: int, _frame: object) -> None:
        if number == signal.SIGINT:  # a second ^C ends the session
            signal.signal(signal.SIGINT, signal.default_int_handler)
        process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, forward)
    saved = termios.tcgetattr(0) if terminal else None
    try:
        if terminal:
            tty.setraw(0)
        if args.no_input or _in_background():
            process.close_stdin()
        else:
            threading.Thread(target=_pass_input, args=(process,), daemon=True).start()
        returncode = process.wait()
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
    return 128 - returncode if returncode < 0 else returncode


def put(args: argparse.Namespace) -> int:
    Host.open(args.instance).put(args.file, args.destination)
    return 0


def sync(args: argparse.Namespace) -> int:
    files = {name: local for name, _, local in (f.partition("=") for f in args.files)}
    try:
        host = Host.open(args.instance)
    except LabError as error:
        if not args.if_up:
            raise
        print(f"nothing installed: {error}")
        return 0
    for name in host.sync(files):
        print(f"installed {name}")
    return 0


def get(args: argparse.Namespace) -> int:
    Host.open(args.instance).get(args.file, args.destination)
    return 0


def path(args: argparse.Namespace) -> int:
    print(DirectHost().path if is_direct() else EmulatedHost.path)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lab/host", description="The lab host: a POWER machine with KVM to run paprika on.")
    parser.add_argument("--instance", help="which one, if several run side by side "
                        "(default: $PAPRIKA_LAB_INSTANCE, else 'default')")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(function: object, text: str) -> argparse.ArgumentParser:
        name = function.__name__  # type: ignore[attr-defined]
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        return command

    command = add(up, "start it (does nothing if it is up)")
    command.add_argument("--timeout", type=float, help="seconds to wait (default: the kind's)")
    command.add_argument("--kind", metavar="KIND",
                         help="which kind (default: $PAPRIKA_LAB_KIND, else nested): "
                         + "; ".join(f"{name}: {kind.notes}" for name, kind in KINDS.items()))
    command.add_argument("--cpus", type=int, help="its CPUs (default: the kind's, mostly 2)")
    command.add_argument("--memory", help="its memory, used as touched (default 8G)")
    command = add(run, "run a command there; input, output, signals and exit status pass through")
    command.add_argument("-n", dest="no_input", action="store_true", help="give it no input")
    command.add_argument("-t", dest="terminal", action="store_true", help="give it a terminal")
    command.add_argument("-C", dest="directory", help="start in this directory")
    command.add_argument("-e", dest="env", action="append", default=[], metavar="NAME=VALUE")
    command.add_argument("command", nargs=argparse.REMAINDER)
    for function, text in ((put, "copy a file to the host's work directory, or to DESTINATION"),
                           (get, "copy a file from the host")):
        command = add(function, text)
        command.add_argument("file")
        command.add_argument("destination", nargs="?")
    command = add(sync, "copy those files that differ from what the host has")
    command.add_argument("--if-up", action="store_true", help="do nothing if the host is not up")
    command.add_argument("files", nargs="+", metavar="NAME=FILE")
    add(path, "print the work directory inside the host")
    add(status, "tell whether it is up (exit status 3 if not)")
    add(log, "print its console")
    add(down, "stop it and remove what it left")
    args = parser.parse_args()
    if args.function is run:
        args.command = args.command[1:] if args.command[:1] == ["--"] else args.command
        if not args.command or not all("=" in e for e in args.env):
            parser.error("usage: lab/host run [-n] [-t] [-C DIR] [-e NAME=VALUE] CMD...")
    return args


def main() -> NoReturn:
    try:
        args = parse()
        code = args.function(args)
        sys.stdout.flush()
    except (LabError, subprocess.TimeoutExpired, OSError) as error:
        print(f"lab/host: {error}", file=sys.stderr)
        code = 127
    except subprocess.CalledProcessError as error:
        code = error.returncode
    except KeyboardInterrupt:
        code = 130
    # Not sys.exit(): a thread may still be blocked in read(0).
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
