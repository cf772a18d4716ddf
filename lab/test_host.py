# SPDX-License-Identifier: Apache-2.0
"""Tests of lab/host_api.py on each kind of host.

The agent is built for this machine too, and tested without emulation; the emulated host is tested
if it is up. Run with: pytest lab
"""
from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest

import host_api
from host_api import DirectHost, EmulatedHost, Host, LabError


@pytest.fixture(scope="module", params=["agent", "direct", "emulated"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if request.param == "emulated":
        try:
            yield EmulatedHost.of_instance()
        except LabError as error:
            pytest.skip(str(error))
        return
    if request.param == "direct":
        yield DirectHost()
        return
    work = tmp_path_factory.mktemp("agent")
    sources = [host_api.CHECKOUT / "lab" / name for name in ("agent.c", "agent_proxy.c")]
    subprocess.run(["gcc", "-std=c11", "-g", "-fsanitize=address,undefined", "-Wall", "-Wextra",
                    "-Wconversion", "-Werror", "-o", work / "agent", *sources], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    agent = subprocess.Popen([work / "agent", str(port), work, "READY"], stdout=subprocess.PIPE,
                             env={**os.environ, "LAB_KEY": "secret"})
    assert agent.stdout and agent.stdout.readline() == b"READY\n"
    host = EmulatedHost(port, "secret")
    host.path = str(work)
    yield host
    agent.kill()
    agent.wait()


def expect_gone(host: Host, pid: int, seconds: float = 10) -> None:
    """Ending takes time: a signal has to arrive, and a parent or process 1 has to reap."""
    deadline = time.monotonic() + seconds
    while host.run(["test", "-e", f"/proc/{pid}"]).rc == 0:
        assert time.monotonic() < deadline, f"process {pid} is still there"


def test_streams_and_status(host: Host) -> None:
    script = 'cat; echo to stderr >&2; echo "$VARIABLE $PWD"; exit 7'
    result = host.run(["sh", "-c", script], b"some input\n", cwd="/", env={"VARIABLE": "value"})
    assert result == (7, b"some input\nvalue /\n", b"to stderr\n")


def test_signal_is_reported(host: Host) -> None:
    assert host.run(["sh", "-c", "kill -9 $$"]).rc == -9


def test_cannot_start(host: Host) -> None:
    with pytest.raises(LabError, match="no-such-command"):
        host.run(["no-such-command"])
    with pytest.raises(LabError):
        host.run(["true"], cwd="/no/such/directory")


def test_much_data_both_ways(host: Host) -> None:
    data = os.urandom(3_000_000)
    assert host.run(["cat"], data).stdout == data


def test_input_nobody_reads_does_not_block_signals(host: Host) -> None:
    with host.popen(["sh", "-c", "echo ready; exec sleep 100"]) as process:
        process.stdout.readline(10)
        with pytest.raises(subprocess.TimeoutExpired):
            process.write(bytes(2_000_000), timeout=0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


def test_input_after_reader_closed(host: Host) -> None:
    assert host.run(["sh", "-c", "exec <&-; sleep 0.2; echo done"], bytes(2_000_000)).stdout == b"done\n"


def test_status_arrives_although_input_was_left_unread(host: Host) -> None:
    """Closing with unread input would reset the connection, and lose the status."""
    for _ in range(40):
        with host.popen(["true"]) as process:
            # Sends until the command has ended; the last input stays unread.
            with contextlib.suppress(BrokenPipeError):
                while process.poll() is None:
                    process.write(b"x" * 1000, timeout=10)
            assert process.wait(10) == 0


def test_command_sees_signal(host: Host) -> None:
    script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    with host.popen(["sh", "-c", script]) as process:
        assert process.stdout.readline(10) == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 3
        assert process.stdout.read(0) == b"caught\n"


def test_children_end_with_the_command(host: Host) -> None:
    result = host.run(["sh", "-c", "sleep 100 & echo $!"], timeout=10)
    assert result.rc == 0
    expect_gone(host, int(result.stdout))


def test_stubborn_children_end_too(host: Host) -> None:
    script = "(trap '' TERM; sleep 100; sleep 100; sleep 100) & trap '' TERM; echo $!; wait"
    process = host.popen(["sh", "-c", script])
    pid = int(process.stdout.readline(10))
    process.close()
    expect_gone(host, pid)


def test_timeout_ends_the_command(host: Host) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        host.run(["sh", "-c", "echo $$; exec sleep 100"], timeout=1)
    expect_gone(host, int(caught.value.output))


def test_read_until(host: Host) -> None:
    with host.popen(["sh", "-c", "printf 'one\\ntwo 2'; cat; echo end"]) as process:
        assert process.stdout.read_until(re.compile(rb"two \d"), 10) == b"one\ntwo 2"
        with pytest.raises(TimeoutError):
            process.stdout.readline(0.1)
        process.write(b"typed\n")
        assert process.stdout.readline(10) == b"typed\n"
        process.close_stdin()
        assert process.stdout.readline(10) == b"end\n"
        with pytest.raises(EOFError):
            process.stdout.readline(10)


def test_many_at_once(host: Host) -> None:
    processes = [host.popen(["cat"]) for _ in range(20)]
    for number, process in enumerate(processes):
        process.write(b"%d" % number)
        process.close_stdin()
    for number, process in enumerate(processes):
        assert process.wait(20) == 0 and process.stdout.read(0) == b"%d" % number


def test_put_get_sync(host: Host, tmp_path: Path) -> None:
    local = tmp_path / "tool"
    local.write_bytes(b"#!/bin/sh\necho it runs\n")
    local.chmod(0o755)
    host.run(["rm", "-f", "tool", "tool2"], check=True)
    name = host.put(local)
    assert name == f"{host.path}/tool" and host.run(["./tool"]).stdout == b"it runs\n"
    host.get(name, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
    assert (tmp_path / "back").stat().st_mode == local.stat().st_mode
    assert host.sync({"tool": local, "tool2": local}) == ["tool2"]
    assert host.sync({"tool": local, "tool2": local}) == []


@pytest.fixture
def server(host: Host) -> Iterator[tuple[Host, str]]:
    """A UNIX socket on the host that returns the input after its end."""
    if isinstance(host, EmulatedHost) and host.path == EmulatedHost.path:
        pytest.skip("there is no Python in the emulated host")
    path = f"{host.path}/socket"
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                data = b""
                while piece := connection.recv(65536):
                    data += piece
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield host, path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_unix_socket_half_close(server: tuple[Host, str]) -> None:
    host, path = server
    data = os.urandom(1_000_000)
    with host.connect_unix(path) as connection:
        connection.settimeout(10)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        back = b""
        while piece := connection.recv(65536):
            back += piece
    assert back == data


def test_unix_socket_last_words(host: Host) -> None:
    """Data that a server sends before it hangs up arrives, although it has not read its input."""
    if isinstance(host, EmulatedHost) and host.path == EmulatedHost.path:
        pytest.skip("there is no Python in the emulated host")
    path = f"{host.path}/hangs-up"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    full, said = threading.Event(), []

    def fill(connection: socket.socket) -> int:
        """Send until all buffers are full."""
        sent = 0
        connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                sent += connection.send(bytes(4096))
        return sent

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            full.wait(10)
            said.append(fill(connection))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with host.connect_unix(path) as connection:
            fill(connection)
            full.set()
            thread.join(20)
            connection.settimeout(10)
            heard = 0
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    heard += len(piece)
    os.unlink(path)
    assert said == [heard]


def test_no_unix_socket(host: Host) -> None:
    with pytest.raises(LabError, match="no-such-socket"):
        host.connect_unix("/no-such-socket")


def test_wrong_key_is_refused(host: Host) -> None:
    if isinstance(host, DirectHost):
        pytest.skip("no agent here")
    with pytest.raises(LabError, match="wrong key"):
        EmulatedHost(host.port, "guess").run(["true"])
