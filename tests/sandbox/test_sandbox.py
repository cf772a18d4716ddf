# SPDX-License-Identifier: Apache-2.0
"""The sandbox on this machine: its table, what is left inside, what is handed in from outside.
PAPRIKA_SANDBOX_BUILD is where meson put the programs; it wants the client tests' variables, too
(lab/test sandbox sets them all). What a real guest leaves of it is in tests/guest/test_sandbox.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lab"), str(ROOT / "tests/clients")]
from guest import DEADLINE, Control, elf  # noqa: E402
from play import play  # noqa: E402
from test_terminal import Shell  # noqa: E402

BUILD = Path(os.environ["PAPRIKA_SANDBOX_BUILD"])
# Stands for systemd: the descriptor given becomes 3, and LISTEN_PID the one who gets it.
ACTIVATOR = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[2]))
os.environ["LISTEN_FDS"] = sys.argv[3]
os.execv(sys.argv[4], sys.argv[4:])
"""


@pytest.fixture
def kernel(tmp_path: Path) -> str:
    """A kernel that is never run."""
    path = tmp_path / "kernel"
    path.write_bytes(elf([0x48000000]))
    return str(path)


class Program:
    """paprika above the fake KVM, once its guest has started."""

    def __init__(self, kernel: str, *options: str, prefix: tuple[str, ...] = (),
                 pass_fds: tuple[int, ...] = (), environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*prefix, str(BUILD / "paprika-plain"), "run", "--kernel", kernel, "--console", "none",
             "--cpus", "boot=2,max=4", "--log-level", "info", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            pass_fds=pass_fds, env={**os.environ, **(environment or {})})
        assert self.process.stderr is not None
        self.said = ""
        for line in self.process.stderr:
            self.said += line
            if " started" in line:
                break

    def wait(self) -> int:
        self.said += self.process.communicate(timeout=DEADLINE)[1]
        return self.process.returncode

    def end(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.wait() == 0, self.said

    def files(self) -> dict[int, str]:
        directory = f"/proc/{self.process.pid}/fd"
        return {int(fd): re.sub(r"\d+", "N", os.readlink(f"{directory}/{fd}"))
                for fd in os.listdir(directory) if int(fd) > 2}

    def status(self, field: str) -> dict[str, str]:
        """A field of each thread's status, by the thread's name."""
        result = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            lines = dict(line.split(":\t", 1)
                         for line in (task / "status").read_text().splitlines() if ":\t" in line)
            result[lines["Name"]] = lines[field]
        return result

    def limit(self, name: str) -> list[str]:
        text = Path(f"/proc/{self.process.pid}/limits").read_text()
        match = re.search(rf"^{name} +(\S+) +(\S+)", text, re.M)
        assert match
        return list(match.groups())


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    running: list[Program] = []
    yield running
    for program in running:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()


def own(field: str) -> int:
    """What this process has of it: a container may have put a filter around all of us."""
    match = re.search(rf"^{field}:\t(\d+)$", Path("/proc/self/status").read_text(), re.M)
    assert match
    return int(match[1])


def connect(path: str) -> Control:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return Control(connection)


def fails(kernel: str, *options: str, prefix: tuple[str, ...] = (),
          pass_fds: tuple[int, ...] = ()) -> str:
    """Start it with something wrong: its one line."""
    result = subprocess.run(
        [*prefix, str(BUILD / "paprika-plain"), "run", "--kernel", kernel, "--console", "none",
         *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
        pass_fds=pass_fds)
    assert result.returncode == 2, result
    assert len(result.stderr.splitlines()) == 1 and "; " in result.stderr, result
    return result.stderr


# --- The tables ------------------------------------------------------------------------------


def test_every_row_holds_and_nothing_else() -> None:
    result = subprocess.run([BUILD / "sandbox_rows"], capture_output=True, text=True,
                            timeout=DEADLINE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\d{3,} probes, 0 problems$", result.stdout.strip()), result.stdout


def test_every_row_has_a_reason() -> None:
    listed = subprocess.run([BUILD / "sandbox_rows", "list"], capture_output=True, text=True,
                            check=True).stdout.splitlines()
    assert len(listed) > 40
    assert all(re.fullmatch(r"(loop|vCPU|device|all) +\w+\(.*\)( fails)?: \S.*", line) for line in listed)


def test_kvm_requests_are_those_of_the_table() -> None:
    sources = sorted((ROOT / "src/kvm").glob("*.c"))
    called = {name for path in sources if path.name != "ioctls.c"
              for name in re.findall(r"\bioctl\([^;,]*,\s*(\w+)", path.read_text())}
    rows = re.findall(r"\bROW\((KVM_\w+)", (ROOT / "src/kvm/ioctls.c").read_text())
    assert sorted(called) == sorted(rows)


def test_entering_fails_loudly_or_not_at_all() -> None:
    result = subprocess.run([BUILD / "setup_walk"], capture_output=True, text=True,
                            timeout=DEADLINE)
    assert result.returncode == 0, result.stdout + result.stderr


# --- Inside ----------------------------------------------------------------------------------


def test_nothing_but_the_listed_files_is_open(kernel: str, tmp_path: Path,
                                              programs: list[Program]) -> None:
    stray = os.open("/etc/passwd", os.O_RDONLY)
    program = Program(kernel, "--control", str(tmp_path / "control"), pass_fds=(stray,))
    programs.append(program)
    os.close(stray)
    assert sorted(program.files().values()) == sorted([
        re.sub(r"\d+", "N", kernel), "anon_inode:[eventpoll]", "anon_inode:[eventfd]",
        "anon_inode:[timerfd]", "socket:[N]"])
    program.end()


def test_every_thread_is_confined(kernel: str, tmp_path: Path, programs: list[Program]) -> None:
    path = str(tmp_path / "control")
    program = Program(kernel, "--control", path)
    programs.append(program)
    names = ["paprika-plain", "vcpu0", "vcpu1"]
    assert program.status("NoNewPrivs") == dict.fromkeys(names, "1")
    assert program.status("Seccomp") == dict.fromkeys(names, "2")
    control = connect(path)
    control.execute("device_add", driver="host-spapr-cpu-core", core_id=2, id="core2")
    # It has inherited the loop's filter, and has one of its own on top.
    around = own("Seccomp_filters")
    assert {name: int(count) - around
            for name, count in program.status("Seccomp_filters").items()} == {
        "paprika-plain": 1, "vcpu0": 1, "vcpu1": 1, "vcpu2": 2}
    control.execute("system_reset")
    control.execute("stop")
    control.execute("cont")
    assert program.limit("Max core file size") == ["0", "0"]
    # Those of one more vCPU and of all clients there may be.
    soft, hard = program.limit("Max open files")
    assert soft == hard and int(hard) <= max(program.files()) + 1 + 2 + 19
    control.close()
    program.end()
    assert not os.path.exists(path)


def test_all_clients_and_all_cores_find_a_descriptor(kernel: str, tmp_path: Path,
                                                     programs: list[Program]) -> None:
    path = str(tmp_path / "control")
    program = Program(kernel, "--control", path)
    programs.append(program)
    controls = [connect(path) for _ in range(16)]
    for number in (2, 3):
        controls[0].execute("device_add", driver="host-spapr-cpu-core", core_id=number,
                            id=f"core{number}")
    with socket.socket(socket.AF_UNIX) as last:
        last.connect(path)
        last.settimeout(DEADLINE)
        assert b"Too many clients" in last.recv(4096)
    for control in controls:
        assert control.execute("query-status")["running"] is True
        control.close()
    program.end()


@pytest.mark.parametrize("who, thread", [("loop", "of the loop"), ("vcpu", "of a vCPU")])
def test_an_intruder_ends_the_process(kernel: str, programs: list[Program], who: str,
                                      thread: str) -> None:
    environment = {"LD_PRELOAD": str(BUILD / "libintruder.so"), "PAPRIKA_INTRUDER": who}
    program = Program(kernel, environment=environment)
    programs.append(program)
    assert program.wait() == -signal.SIGSYS, program.said
    assert f"paprika: the sandbox refused the system call socket {thread}; " in program.said
    # Without the sandbox it does as it likes.
    program = Program(kernel, "--no-sandbox", environment=environment)
    programs.append(program)
    program.end()


def test_the_call_is_named_on_a_terminal_too(kernel: str) -> None:
    shell = Shell(["env", f"LD_PRELOAD={BUILD / 'libintruder.so'}", "PAPRIKA_INTRUDER=vcpu",
                   str(BUILD / "paprika-plain"), "run", "--kernel", kernel])
    try:
        assert shell.wait() == -signal.SIGSYS
        # It had been taken over, and says so before the line that names the call.
        assert re.fullmatch("paprika: Ctrl-A x .*\n.*socket of a vCPU.*\n", shell.said), shell.said
    finally:
        shell.close()


@pytest.mark.parametrize("who", ["loop", "vcpu"])
@pytest.mark.parametrize("options", [(), ("--no-sandbox",)], ids=["sandbox", "no sandbox"])
def test_a_stack_that_overflows_ends_it(tmp_path: Path, who: str,
                                                         options: tuple[str, ...]) -> None:
    kernel = tmp_path / "talks"
    kernel.write_bytes(play("put on", "again"))
    shell = Shell(["env", f"LD_PRELOAD={BUILD / 'libintruder.so'}", f"PAPRIKA_INTRUDER=deep-{who}",
                   str(BUILD / "paprika-plain"), "run", "--kernel", str(kernel), *options])
    try:
        assert shell.wait() == -signal.SIGSEGV, shell.said
        # A vCPU's thread may not touch the terminal.
        assert who == "vcpu" or shell.settings() == shell.before
    finally:
        shell.close()


def test_files_that_may_be_removed(tmp_path: Path) -> None:
    beside, elsewhere = tmp_path / "beside/socket", tmp_path / "elsewhere/file"
    for path in (beside, elsewhere):
        path.parent.mkdir()
        path.touch()
    said = subprocess.run([BUILD / "sandbox_inside", beside, elsewhere], capture_output=True,
                          text=True, check=True, timeout=DEADLINE).stdout.splitlines()
    if said[0] == "without Landlock: done":
        pytest.skip("this machine's kernel has no Landlock, or has not enabled it")
    assert said == ["with Landlock: done", "elsewhere: EACCES", "beside: done"]
    assert elsewhere.exists() and not beside.exists()


def test_a_kernel_without_landlock_or_seccomp(tmp_path: Path) -> None:
    for name in ("beside", "elsewhere"):
        (tmp_path / name).touch()
    argv = [str(BUILD / "sandbox_inside"), str(tmp_path / "beside"), str(tmp_path / "elsewhere")]
    result = subprocess.run([*argv, "seccomp"], capture_output=True, text=True, timeout=DEADLINE)
    assert result.returncode == 1 and "cannot limit system calls" in result.stderr, result
    said = subprocess.run([*argv, "landlock_create_ruleset"], capture_output=True, text=True,
                          check=True, timeout=DEADLINE).stdout.splitlines()
    assert said == ["without Landlock: done", "elsewhere: done", "beside: done"]


def test_no_sandbox_is_loud_and_off(kernel: str, programs: list[Program]) -> None:
    program = Program(kernel, "--no-sandbox")
    programs.append(program)
    assert re.search("^paprika: warn .*--no-sandbox", program.said, re.M)
    assert set(program.status("Seccomp").values()) == {str(own("Seccomp"))}
    program.end()


def test_check_tells_what_there_is() -> None:
    lines = json.loads(subprocess.run([BUILD / "paprika-plain", "check", "--json"],
                                      capture_output=True, check=True).stdout)
    results = {line["name"]: line["result"] for line in lines}
    assert results["sandbox seccomp"] == "ok"
    assert results["sandbox Landlock"] in ("ok", "warn")


# --- From outside ----------------------------------------------------------------------------


def activator(fd: int, pid: int = 0, count: int = 1) -> tuple[str, ...]:
    return (sys.executable, "-c", ACTIVATOR, str(fd), str(pid), str(count))


def test_socket_passed_by_systemd(kernel: str, tmp_path: Path, programs: list[Program]) -> None:
    path = str(tmp_path / "passed")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        program = Program(kernel, "--control", "systemd", prefix=activator(listening.fileno()),
                          pass_fds=(listening.fileno(),))
        programs.append(program)
        control = connect(path)
        assert control.execute("query-status")["running"] is True
        control.execute("quit")
        control.close()
        assert program.wait() == 0, program.said
    # It is not ours to remove: systemd starts the next one with it.
    assert os.path.exists(path)


def test_socket_not_passed_by_systemd(kernel: str, tmp_path: Path) -> None:
    path = str(tmp_path / "passed")
    assert "no socket" in fails(kernel, "--control", "systemd")
    with socket.socket(socket.AF_UNIX) as made:
        options = {"pass_fds": (made.fileno(),)}
        asked = (kernel, "--control", "systemd")
        made.bind(path)
        assert "not a listening" in fails(*asked, prefix=activator(made.fileno()), **options)
        made.listen()
        # Meant for another process, or not one.
        assert "no socket" in fails(*asked, prefix=activator(made.fileno(), pid=1), **options)
        assert "not one" in fails(*asked, prefix=activator(made.fileno(), count=2), **options)
    with socket.socket(socket.AF_INET) as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        assert "not a listening" in fails(kernel, "--control", "systemd",
                                          prefix=activator(made.fileno()),
                                          pass_fds=(made.fileno(),))


def test_a_path_may_be_called_systemd(kernel: str, tmp_path: Path,
                                      programs: list[Program]) -> None:
    program = Program(kernel, "--control", str(tmp_path / "systemd"))
    programs.append(program)
    connect(str(tmp_path / "systemd")).close()
    program.end()


@pytest.mark.parametrize("value", ["2", "0", "-1", "x", "99999999999", ""])
def test_kvm_fd_is_a_number(kernel: str, value: str) -> None:
    assert "--kvm-fd" in fails(kernel, f"--kvm-fd={value}")


def test_kvm_fd_in_a_config_file(kernel: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"kvm-fd": 1}))
    assert "3 or more" in fails(kernel, "--config", str(config))


def test_sandbox_needs_proc(kernel: str) -> None:
    hidden = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    if subprocess.run([*hidden, "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount anything")
    result = subprocess.run(
        [*hidden, str(BUILD / "paprika-plain"), "run", "--kernel", kernel, "--console", "none"],
        capture_output=True, text=True, timeout=DEADLINE)
    assert result.returncode == 1 and "/proc" in result.stderr, result
