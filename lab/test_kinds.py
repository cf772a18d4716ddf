# SPDX-License-Identifier: Apache-2.0
"""Tests of the kinds of host: the table, starting a host that hangs, and the matrix. QEMU is a script
here."""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import host_cli
import junit
import kinds
import matrix
from host_api import CHECKOUT, LabError
from kinds import KINDS, Kind

PATHS = kinds.Paths("QEMU", Path("KERNEL"), Path("INITRD"), Path("PID"), 5, 6)

# It says a word for each start. Then it hangs, crashes, or does what a host and QEMU's monitor do.
FAKE_QEMU = '''#!/usr/bin/python3
import json, os, re, socket, sys
def end(name):
    text = next(a for a in sys.argv if a.startswith(f"socket,id={name},"))
    return socket.socket(fileno=int(re.search(r"fd=([0-9]+)", text)[1]))
console, monitor = end("console"), end("monitor")
with open("../starts", "a") as starts: starts.write("start\\n")
number = len(open("../starts").readlines())
with open("console.log", "w") as log: log.write(f"skiboot, start {number}\\n")
console.sendall(b"skiboot\\n")
act = open("../acts").read().split()[number - 1]
if act == "hang": console.recv(1)
if act == "crash": os.abort()
if act == "exit": sys.exit(1)
console.sendall(b"LAB-HOST-KEY?\\n")
console.recv(100)
console.sendall(b"LAB-HOST-READY\\n")
lines = monitor.makefile("rw")
for request in lines:
    text = "TCP[HOST_FORWARD] 12 127.0.0.1 4711 10.0.2.15 7000 0 0"
    lines.write(json.dumps({"return": text if "human" in request else {}}) + "\\n")
    lines.flush()
'''


def command(name: str) -> list[str]:
    return kinds.command(KINDS[name], "NAME", PATHS, 2, "8G")


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_nested_is_what_it_was() -> None:
    assert command("nested") == [
        "QEMU", "-name", "NAME", "-machine",
        "pseries,cap-nested-hv=on,cap-htm=off,x-vof=on,cap-cfpc=broken,cap-sbbc=broken,"
        "cap-ibs=broken,cap-ccf-assist=off,memory-backend=ram",
        "-object", "memory-backend-ram,id=ram,size=8G,reserve=off", "-m", "8G", "-cpu", "POWER9",
        "-smp", "2", "-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-no-reboot",
        "-pidfile", "PID", "-chardev", "socket,id=console,fd=5,logfile=console.log",
        "-device", "spapr-vty,chardev=console", "-chardev", "socket,id=monitor,fd=6",
        "-mon", "monitor,mode=control",
        "-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:7000",
        "-device", "virtio-net-pci,netdev=net,romfile=", "-kernel", "KERNEL", "-initrd", "INITRD",
        "-append", "console=hvc0 panic=-1 quiet"]
    assert (KINDS["nested"].silence, kinds.kernel_name(KINDS["nested"])) == (0, "")


@pytest.mark.parametrize("name", KINDS)
def test_devices_are_attached_as_the_machine_has_it(name: str) -> None:
    bare = KINDS[name].machine.startswith("powernv")
    assert ("-nodefaults" in command(name)) == (not bare)
    assert ("-serial" in command(name), "bus=pcie.0" in " ".join(command(name))) == (bare, bare)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_that_may_hang_gives_signs_of_life(name: str) -> None:
    kind = KINDS[name]
    assert not (kind.silence and "quiet" in kind.append)
    assert kind.silence < kind.timeout
    assert set(kind.left_out) <= {check.name for check in matrix.CHECKS}


@pytest.mark.parametrize("name, answer", [
    ("nested", "kind_qemu=system kind_kernel= kind_suffix= kind_disk="),
    ("powernv10", "kind_qemu=trixie kind_kernel= kind_suffix= kind_disk="),
    ("nested-4k", "kind_qemu=system kind_kernel=bookworm-backports/linux-image-powerpc64le "
                  "kind_suffix=-bookworm-backports-linux-image-powerpc64le kind_disk="),
    ("pr-power8", "kind_qemu=system kind_kernel=pr kind_suffix=-pr kind_disk="),
    ("debian", "kind_qemu=system kind_kernel= kind_suffix=-disk kind_disk=yes")])
def test_what_setup_is_told(name: str, answer: str) -> None:
    program = [sys.executable, "-B", CHECKOUT / "lab/kinds.py", name]
    assert subprocess.check_output(program, text=True).strip() == answer


def test_only_a_host_with_a_disk_may_connect_to_the_network() -> None:
    for name, kind in KINDS.items():
        assert ("restrict=on" in option(command(name), "-netdev")) == (not kind.disk)


# ---- a host that hangs ----


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    """A function that starts a host whose QEMU does these things, one at each start."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "qemu-system-ppc64"
    fake.write_text(FAKE_QEMU)
    fake.chmod(0o755)
    directory = tmp_path / "host-test"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    answer = SimpleNamespace(stdout=b"6.1 ppc64le\n")
    monkeypatch.setattr(host_cli.EmulatedHost, "of_instance",
                        lambda _: SimpleNamespace(run=lambda *_, **__: answer))
    monkeypatch.setitem(KINDS, "wobbly", Kind("pseries", "POWER9", silence=60))
    # Long enough for the script to start on a busy machine.
    monkeypatch.setitem(KINDS, "silent", Kind("pseries", "POWER9", silence=5))
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def start_host(kind: str, *acts: str) -> tuple[str, dict[str, object]]:
        (tmp_path / "acts").write_text(" ".join(acts))
        args = argparse.Namespace(kind=kind, timeout=60, cpus=None, memory=None, instance=None)
        about = host_cli.boot_host(directory, args)
        return about, json.loads((directory / "state.json").read_text())

    yield start_host
    for process in started[:-1]:
        assert process.poll() is not None
    started[-1].kill()
    started[-1].wait()


def test_a_host_that_starts_is_started_once(start) -> None:
    about, state = start("wobbly", "work")
    assert about == "6.1 ppc64le"
    assert (state["kind"], state["port"], state["restarts"]) == ("wobbly", 4711, [])


@pytest.mark.parametrize("kind, act, reason", [
    ("silent", "hang", "no word on its console for 5 s"),
    ("wobbly", "crash", "QEMU was ended by signal 6")])
def test_one_that_hangs_is_started_once_more_and_that_is_told(
        start, kind: str, act: str, reason: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    about, state = start(kind, act, "work")
    assert about == "6.1 ppc64le, at the second attempt"
    assert state["restarts"] == [reason]
    printed = capsys.readouterr().err
    assert reason in printed and "skiboot, start 1" in printed
    assert (tmp_path / "host-test/console-first.log").read_text() == "skiboot, start 1\n"


def test_one_that_hangs_twice_is_an_error(start) -> None:
    with pytest.raises(LabError, match=r"(?s)hung twice: no word.*then QEMU was ended by signal 6.*start 2"):
        start("silent", "hang", "crash")


@pytest.mark.parametrize("kind, act", [("nested", "crash"), ("wobbly", "exit")])
def test_nothing_else_is_tried_twice(start, kind: str, act: str) -> None:
    with pytest.raises(LabError, match="ended while starting"):
        start(kind, act)


# ---- the matrix ----


def test_rows_of_the_matrix() -> None:
    assert matrix.row_of("nested") == [("nested", mode) for mode in KINDS["nested"].modes]
    assert matrix.row_of("powernv10 --irqchip xive") == [("powernv10", "--irqchip xive")]
    with pytest.raises(LabError, match="no kind \"newton\""):
        matrix.row_of("newton")


@pytest.mark.parametrize("folder", ["guest", "probe", "soak"])
def test_checks_name_tests_that_exist(folder: str) -> None:
    tests = [test for check in matrix.CHECKS for test in check.tests if test.startswith(f"tests/{folder}")]
    subprocess.run([sys.executable, "-B", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
                    *tests], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE)


def test_cells_and_table(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(
        '<testsuites><testsuite tests="4" failures="1" errors="0" skipped="1"><testcase name="good"/>'
        '<testcase name="bad"><failure message="no"/></testcase><testcase name="better"/>'
        '<testcase name="not"><skipped message="no XIVE here"/></testcase></testsuite></testsuites>')
    results = junit.read(tmp_path / "r.xml")
    assert results == (2, 1, 1, ["bad"], ["no XIVE here"])
    bad = matrix.cell_of(results, 12.4)
    assert bad == ("FAIL 2/3 12 s", False, "bad; no XIVE here")
    good = matrix.cell_of(results._replace(failed=0, failures=[]), 3)
    assert good == ("ok 2/2 3 s (1 skipped)", True, "no XIVE here")
    assert not matrix.cell_of(junit.Results(0, 0, 0, [], []), 1).passed
    text = matrix.table([matrix.Row("nested", "", {"host": matrix.Cell("3 s", True), "boot": bad}),
                         matrix.Row("powernv9", "--mmu hash", {"host": matrix.Cell("9 s", True)})])
    assert text.splitlines() == [
        "| kind                | host | boot          |",
        "|---------------------|------|---------------|",
        "| nested              | 3 s  | FAIL 2/3 12 s |",
        "| powernv9 --mmu hash | 9 s  |               |",
        "",
        "nested, boot: bad; no XIVE here"]
