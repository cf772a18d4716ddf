# SPDX-License-Identifier: Apache-2.0
"""The command line on a real host: a wrong option gets one line and leaves no file; signals, the
device tree file, `paprika check` and paprikactl's exit codes."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from guest import CommandError, Guest, elf, put_kernel
from host_api import Host


def complain(host: Host, scratch: str, *options: str, command: str = "run",
             prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run paprika with a wrong option: its status and its one line. It must leave no file."""
    before = host.run(["ls", scratch], check=True).stdout
    result = host.run([*prefix, host.path + "/bin/paprika", command, *options], timeout=60)
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("paprika: "), result
    assert "; " in lines[0], f"no remedy in {lines[0]!r}"
    assert host.run(["ls", scratch], check=True).stdout == before
    return result.rc, lines[0]


def kernel_of(host: Host) -> list[str]:
    return ["--kernel", host.path + "/vmlinux"]


@pytest.mark.parametrize("options, status, word", [
    (["--memory", "300M"], 2, "--memory 300M"),
    (["--memory", "100T"], 2, "104857600 MiB"),
    (["--memory", "4096T"], 2, "4294967296 MiB"),
    (["--control", ""], 2, "--control"),
    (["--memory", "0"], 2, "memory"),
    (["--memory", "lots"], 2, "lots"),
    (["--cpus", "boot=1,max=9000"], 2, "9000"),
    (["--cpus", "boot=3,max=2"], 2, "3"),
    (["--cpus", "boot=1,max=4,threads=2"], 2, "threads"),
    (["--cpus", "boot=one"], 2, "one"),
    (["--unplug-deadline", "soon"], 2, "soon"),
    (["--console", "printer"], 2, "printer"),
    (["--console", "file:/no/such/folder/log"], 2, "/no/such/folder"),
    (["--console", "unix:/no/such/folder/tty"], 2, "/no/such/folder"),
    (["--control", "/no/such/folder/control"], 2, "/no/such/folder"),
    (["--control", "/tmp/" + "x" * 200], 2, "xxx"),
    (["--config", "/no/such/config.json"], 2, "/no/such/config.json"),
    (["--frobnicate"], 2, "--frobnicate"),
    (["--initrd", "/no/such/initrd"], 2, "/no/such/initrd"),
])
def test_bad_options(host: Host, scratch: str, options: list[str], status: int,
                     word: str) -> None:
    rc, line = complain(host, scratch, *kernel_of(host), "--console", "none",
                        "--control", scratch + "/control", *options)
    assert (rc, word in line) == (status, True), line


def test_bad_kernels(host: Host, scratch: str) -> None:
    whole = elf([0x48000000])
    files = {
        "empty": (b"", "empty"),
        "text": (b"#!/bin/sh\n" * 100, "text"),
        "x86": (elf([0], machine=62), "x86"),
        "truncated": (whole[:0x1001], "truncated"),
        "gzip": (b"\x1f\x8b\x08" + bytes(100), "compressed"),
    }
    for name, (content, word) in files.items():
        path = put_kernel(host, scratch, name, content)
        rc, line = complain(host, scratch, "--kernel", path, "--console", "none")
        assert rc == 2 and name in line, line
    for path in ("/no/such/kernel", scratch, "/dev/zero"):
        rc, line = complain(host, scratch, "--kernel", path, "--console", "none")
        assert rc == 2 and path in line, line
    rc, line = complain(host, scratch, "--console", "none")
    assert rc == 2 and "--kernel" in line


def test_initrd_that_does_not_fit(host: Host, scratch: str) -> None:
    big = scratch + "/big"
    host.run(["truncate", "-s", "300M", big], check=True)
    rc, line = complain(host, scratch, *kernel_of(host), "--initrd", big, "--memory", "256M",
                        "--console", "none")
    assert rc != 0 and "--memory" in line and big in line


def test_host_without_kvm(host: Host, scratch: str) -> None:
    hidden = ("unshare", "-m", "sh", "-c",
              'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$@"', "sh")
    rc, line = complain(host, scratch, *kernel_of(host), "--console", "none", prefix=hidden)
    assert rc == 5 and "/dev/kvm" in line
    check = host.run([*hidden, host.path + "/bin/paprika", "check"])
    assert check.rc == 5 and b"fail  /dev/kvm" in check.stdout


def test_no_permission_for_kvm(host: Host, scratch: str) -> None:
    closed = ("unshare", "-m", "sh", "-c",
              'mount -t tmpfs none /dev && mknod -m 600 /dev/kvm c 10 232 && '
              'mknod -m 666 /dev/null c 1 3 && exec as_nobody "$@"', "sh")
    rc, line = complain(host, scratch, *kernel_of(host), "--console", "none", prefix=closed)
    assert rc == 5 and "/dev/kvm" in line and "group" in line


def test_no_module_for_kvm(host: Host, scratch: str) -> None:
    """The device exists and has no driver: membership in a group does not help."""
    empty = ("unshare", "-m", "sh", "-c",
             'mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 250 && '
             'mknod -m 666 /dev/null c 1 3 && exec "$@"', "sh")
    rc, line = complain(host, scratch, *kernel_of(host), "--console", "none", prefix=empty)
    assert rc == 5 and "kvm_hv" in line and "group" not in line


def test_descriptors_for_vcpus(host: Host, scratch: str) -> None:
    """dtb makes all boot vCPUs, as run does, and both raise the soft limit. Beyond the hard limit
    the remedy is named, and works."""
    dtb = ("dtb", "-o", "/dev/null", "--cpus")
    program = host.path + "/bin/paprika"
    host.run(["sh", "-c", 'ulimit -Sn 128 && exec "$@"', "sh", program, *dtb, "160"], check=True)
    limited = ("sh", "-c", 'ulimit -n 128 && exec "$@"', "sh")
    rc, line = complain(host, scratch, *dtb[1:], "boot=160,max=200", command="dtb", prefix=limited)
    assert rc == 1 and "ulimit -Hn" in line and "fewer --cpus" in line
    host.run([*limited, program, *dtb, "boot=64,max=200"], check=True)


def test_unreadable_kernel(host: Host, scratch: str) -> None:
    path = put_kernel(host, scratch, "secret", elf([0x48000000]))
    host.run(["chmod", "600", path], check=True)
    rc, line = complain(host, scratch, "--kernel", path, "--console", "none",
                        prefix=("as_nobody",))
    assert rc == 2 and path in line and "ermission" in line


def test_control_socket_in_use_and_stale(start, host: Host, silent_kernel: str,
                                         scratch: str) -> None:
    guest: Guest = start(kernel=silent_kernel, initrd=False, console=False)
    rc, line = complain(host, scratch, "--kernel", silent_kernel, "--console", "none",
                        "--control", guest.control_path)
    assert rc != 0 and guest.control_path in line and "in use" in line
    # The live server is not disturbed.
    assert guest.control.execute("query-status")["running"] is True
    # A killed process leaves its socket; the next start takes the path over.
    pid = guest.control.execute("query-cpus-fast")[0]["thread-id"]
    host.run(["kill", "-9", str(pid)], check=True)
    assert guest.wait_exit() == -signal.SIGKILL
    with host.popen([host.path + "/bin/paprika", "run", "--kernel", silent_kernel, "--console",
                     "none", "--control", guest.control_path, "--log-level", "info"]) as again:
        again.stderr.read_until(b"started", 60)
        again.send_signal(signal.SIGTERM)
        assert again.wait(60) == 0
    assert guest.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_in_good_order(start, silent_kernel: str, number: signal.Signals) -> None:
    """Linux guests: test_ends.py."""
    guest: Guest = start(cpus="boot=2,max=2", kernel=silent_kernel, initrd=False)
    guest.process.send_signal(number)
    assert guest.control.wait_event("SHUTDOWN")["reason"] == "host-signal"
    assert guest.wait_exit() == 0
    assert guest.left_behind() == []


def test_sigkill_leaves_no_process(start, silent_kernel: str) -> None:
    guest: Guest = start(cpus="boot=2,max=2", kernel=silent_kernel, initrd=False)
    guest.process.send_signal(signal.SIGKILL)
    assert guest.wait_exit() == -signal.SIGKILL
    # nothing_left looks for processes; the only file is the socket the next start replaces.
    assert set(guest.left_behind()) <= {"control", "console"}


def test_device_tree_file_satisfies_dtc(host: Host, scratch: str, tmp_path) -> None:
    path = scratch + "/tree.dtb"
    host.run([host.path + "/bin/paprika", "dtb", "-o", path, "--cpus", "boot=2,max=8", "--memory",
              "6G"], check=True)
    local = tmp_path / "tree.dtb"
    host.get(path, local)
    source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(local)], check=True,
                            capture_output=True, text=True).stdout
    assert source.count("ibm,my-drc-index") == 2
    assert "/memreserve/" in source


def test_check_says_what_is_there(host: Host) -> None:
    lines = json.loads(host.run([host.path + "/bin/paprika", "check", "--json"], check=True).stdout)
    assert all(line["result"] in ("ok", "warn") for line in lines), lines
    assert {"/dev/kvm", "guest: radix, xics", "interrupts XICS", "sandbox seccomp",
            "sandbox Landlock"} <= {line["name"] for line in lines}


def test_version_and_help(host: Host) -> None:
    program = host.path + "/bin/paprika"
    assert host.run([program, "--version"], check=True).stdout.startswith(b"paprika 0.")
    usage = host.run([program, "--help"], check=True).stdout
    for option in (b"--kernel", b"--cpus", b"--control", b"--unplug-deadline", b"--no-reboot"):
        assert option in usage


def test_config_file(start, host: Host, scratch: str, silent_kernel: str) -> None:
    config = {"kernel": silent_kernel, "cpus": {"boot": 2, "max": 4}, "memory": "512M",
              "console": "none", "control": scratch + "/control", "name": "from-file",
              "log-level": "info"}
    put_kernel(host, scratch, "config.json", json.dumps(config).encode())
    with host.popen([host.path + "/bin/paprika", "run", "--config",
                     scratch + "/config.json"]) as process:
        process.stderr.read_until(b'"from-file" started', 60)
        listed = host.run([host.path + "/bin/paprikactl", "--socket", scratch + "/control",
                           "--json", "cpu", "list"], check=True)
        assert len(json.loads(listed.stdout)) == 4
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def ctl(guest: Guest, *arguments: str) -> tuple[int, str]:
    result = guest.host.run([guest.host.path + "/bin/paprikactl", "--socket", guest.control_path,
                             *arguments], timeout=90)
    return result.rc, (result.stdout + result.stderr).decode()


def test_paprikactl_tells_outcomes_by_its_status(start, silent_kernel: str) -> None:
    guest: Guest = start(cpus="boot=1,max=2")
    guest.wait_ready()
    assert ctl(guest, "cpu", "add", "1", "--wait")[0] == 0
    guest.wait_online("0-1")
    guest.set_online(0, False)
    status, text = ctl(guest, "cpu", "remove", "core1", "--wait")
    assert (status, "rejected" in text, "isolation-state" in text) == (3, True, True), text
    guest.set_online(0, True)
    assert ctl(guest, "cpu", "remove", "core1", "--wait")[0] == 0
    assert ctl(guest, "cpu", "remove", "core1", "--wait")[0] == 1  # not found
    assert ctl(guest, "cpu", "remove")[0] == 2
    assert ctl(guest, "status")[0] == 0
    status, text = ctl(guest, "--json", "execute", "query-version")
    assert status == 0 and "paprika" in text


def test_a_core_id_is_not_the_guests_cpu_number(start) -> None:
    """Linux numbers CPUs in the order in which they appear; physical_id is the vCPU."""
    guest: Guest = start(cpus="boot=1,max=4")
    guest.wait_ready()
    for core, number in ((3, 1), (1, 2)):
        assert ctl(guest, "cpu", "add", str(core), "--wait")[0] == 0
        guest.wait_online(f"0-{number}")
        physical = guest.sh(f"cat /sys/devices/system/cpu/cpu{number}/physical_id")
        assert int(physical) == core


def test_paprikactl_on_a_silent_guest(start, silent_kernel: str) -> None:
    guest: Guest = start(cpus="boot=3,max=3", kernel=silent_kernel, initrd=False, console=False)
    status, text = ctl(guest, "cpu", "remove", "core1", "--wait", "--timeout", "5")
    assert (status, "not fetched by the guest yet" in text) == (4, True), text
    number = guest.control.execute("query-operations")[0]["id"]
    with guest.host.popen([guest.host.path + "/bin/paprikactl", "--socket", guest.control_path,
                           "cpu", "remove", "core1", "--wait"]) as waiting:
        # Its second request shows that it waits.
        guest.control.wait_event(
            "OPERATION", lambda data: data["operation"]["notifications"] == 2)
        guest.control.execute("operation-cancel", id=number)
        assert waiting.wait(60) == 6
    with guest.host.popen([guest.host.path + "/bin/paprikactl", "--socket", guest.control_path,
                           "cpu", "remove", "core2", "--wait"]) as waiting:
        guest.control.wait_event(
            "OPERATION", lambda data: data["operation"]["device"] == "core2")
        guest.control.execute("system_reset")
        assert waiting.wait(60) == 5


def test_precise_errors_and_the_connection_stays(start, silent_kernel: str) -> None:
    guest: Guest = start(kernel=silent_kernel, initrd=False, console=False)
    control = guest.control
    for request, text in [
        ({"execute": "no-such"}, "no-such"),
        ({"execute": "device_add", "arguments": {"driver": "x", "core-id": 1}}, "'x'"),
        ({"execute": "device_add", "arguments": {"driver": "host-spapr-cpu-core"}}, "core-id"),
        ({"execute": "device_add", "arguments": {
            "driver": "host-spapr-cpu-core", "core-id": "one"}}, "core-id"),
        ({"execute": "stop", "arguments": {"now": True}}, "now"),
        ({"execute": "device_del", "arguments": {"id": 5}}, "id"),
    ]:
        with pytest.raises(CommandError, match=text):
            control.execute(request["execute"], **request.get("arguments", {}))
    assert control.execute("query-status")["running"] is True
