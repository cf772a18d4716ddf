# SPDX-License-Identifier: Apache-2.0
"""What is said when something cannot be done: one line that names it, and a remedy. The remedy is
then carried out, and has to work."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from conftest import FAKE
from guest import Control, elf

PAPRIKA = FAKE[0]
CTL = os.environ["PAPRIKACTL"]


def run(program: str, *words: str, **options) -> tuple[int, str, str]:
    result = subprocess.run([program, *words], capture_output=True, text=True, timeout=90,
                            **options)
    return result.returncode, result.stdout, result.stderr


def complaint(text: str) -> str:
    assert re.fullmatch(r"paprika(ctl)?: [^\n]+\n", text), text
    return text


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What there is to give to options; the working directory of the programs."""
    (tmp_path / "kernel").write_bytes(elf([0x48000000]))
    (tmp_path / "large-kernel").write_bytes(elf([0x48000000], size=400 << 20))
    (tmp_path / "high-kernel").write_bytes(elf([0x48000000], size=2 << 30))
    (tmp_path / "initrd").write_bytes(b"x")
    (tmp_path / "full-kernel").write_bytes(elf([0x48000000], size=(2 << 30) - (5 << 20)))
    (tmp_path / "initrd-260M").touch()
    os.truncate(tmp_path / "initrd-260M", 260 << 20)  # takes no room
    (tmp_path / "config.json").write_text('{"kernal": "kernel"}')
    return tmp_path


# (what is wrong; what the message names; how the remedy is read from the message; what is then
# given, with what was read in place of {}). All of it is given to `paprika dtb -o /dev/null`.
REMEDIES = [
    (["--memory", "300M"], "300M", r"(--memory \d+M)", ["{}"]),
    (["--memory", "300M"], "300M", r"or (\d+M)", ["--memory", "{}"]),
    (["--memory", "1"], "--memory 1 ", r"(--memory \d+M)", ["{}"]),
    (["--memory", "lots"], "lots", r"like (\d+M)", ["--memory", "{}"]),
    (["--memory", "99999999T"], "99999999T", r"like (\d+M)", ["--memory", "{}"]),
    (["--memory", "512"], "--memory 512 ", r"(--memory \d+M)", ["{}"]),
    (["--memory", "10000T"], "10485760000 MiB", r"no more than (\d+T)",
     ["--memory", "1G,max={}"]),
    (["--memory", "1G,max=300M"], "max=300M", r"(--memory max=\d+M)", ["{},size=256M"]),
    (["--memory", "1G,slots=4"], "slots=4", r"are (size), max", ["--memory", "{}=1G"]),
    (["--memory", "1G,,"], "an empty item", r"(--memory \S+),", ["{}"]),
    (["--memory", "1G,2G"], "size twice", r"(--memory \S+)", ["{}"]),
    (["--memory", "1G,reset=no"], '"no"', r"or (reset=\w+)", ["--memory", "1G,{}"]),
    (["--memory", "1G,max=512M"], "at most 512 MiB", r"(--memory \S+),", ["{}"]),
    (["--memory", "1G,max=5T"], "5242880 MiB", r"no more than (\d+T)", ["--memory", "1G,max={}"]),
    (["--cpus", "boot=0"], "boot", r"(--cpus \S+)", ["{}"]),
    (["--cpus", "2,4"], "boot", r"(--cpus \S+)", ["{}"]),
    (["--cpus", "boot=3,max=2"], "3", r"(boot=N,max=M)", ["--cpus", "boot=2,max=3"]),
    (["--cpus", "4,threads=3"], "3 threads", r"threads=1, 2, (4)", ["--cpus", "4,threads={}"]),
    (["--cpus", "3,threads=2"], "boot=3", r"(multiples)", ["--cpus", "4,threads=2"]),
    (["--cpus", "max=9000"], "9000", r"no more than (\d+)", ["--cpus", "max={}"]),
    (["--cpus", "threads=8,max=9000"], "9000", r"no more than (\d+)",
     ["--cpus", "threads=8,max={}"]),
    (["--cpus", "threads=8,max=70000"], "70000", r"(max vCPUs)", ["--cpus", "threads=8,max=2048"]),
    (["--kernel", "large-kernel", "--memory", "256M"], "large-kernel", r"(--memory \d+M)",
     ["--kernel", "large-kernel", "{}"]),
    (["--kernel", "high-kernel", "--memory", "8G"], "high-kernel", r"(linked lower)",
     ["--kernel", "kernel"]),
    (["--kernel", "kernel", "--initrd", "initrd-260M", "--memory", "256M"], "initrd-260M",
     r"(--memory \d+M)", ["--kernel", "kernel", "--initrd", "initrd-260M", "{}"]),
    (["--kernel", "full-kernel", "--initrd", "initrd-260M", "--memory", "2G"], "initrd-260M",
     r"(--memory \d+M)", ["--kernel", "full-kernel", "--initrd", "initrd-260M", "{}"]),
    (["--initrd", "initrd"], "initrd", r"(--kernel)", ["--kernel", "kernel", "--initrd", "initrd"]),
    (["-kernel", "kernel"], "-kernel", r"mean (--\w+)", ["{}", "kernel"]),
    (["-m", "1G"], "-m", r"(--memory \w+)", ["{}"]),
    (["-smp", "2"], "-smp", r"(--cpus)", ["{}", "2"]),
    (["--control", "x"], "--control", r"(another command)", []),
    (["--log-level", "loud"], "loud", r"use (\w+)", ["--log-level", "{}"]),
    (["--kvm-fd", "2"], "2", r"(open descriptor)", []),
    (["--hotplug-ports", "32"], "32", r"to (\d+)", ["--hotplug-ports", "{}"]),
]


@pytest.mark.parametrize("wrong, named, pattern, right", REMEDIES)
def test_the_remedy_works(files: Path, wrong: list[str], named: str, pattern: str,
                          right: list[str]) -> None:
    dtb = ("dtb", "-o", "/dev/null")
    status, output, text = run(PAPRIKA, *dtb, *wrong, cwd=files)
    remedy = re.search("; .*" + pattern, complaint(text))
    assert status == 2 and output == "" and named in text and remedy, text
    words = " ".join(right).replace("{}", remedy[1]).split()
    assert run(PAPRIKA, *dtb, *words, cwd=files) == (0, "", ""), words


@pytest.mark.parametrize("name", ["control", "name", "initrd", "config", "console", "kernel"])
def test_empty_values_are_refused(files: Path, name: str) -> None:
    status, _, text = run(*FAKE, "--kernel", "kernel", f"--{name}", "", cwd=files)
    assert status == 2 and f"--{name}" in complaint(text), text


@pytest.mark.parametrize("words", [
    ["--help"], ["help"], ["help", "run"], ["--version"], ["check"], ["check", "--json"],
    ["check", "--papr"], ["dtb", "-o", "-"], ["run", "--help"]])
def test_output_to_a_full_disk(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run([PAPRIKA, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                                timeout=90)
    assert result.returncode == 1 and "standard output: No space" in complaint(result.stderr)


def test_ctl_output_to_a_full_disk(socket_path: str) -> None:
    for words in (["--help"], ["help"], ["--version"], ["status"], ["cpu", "list"], ["connectors"],
                  ["memory", "list"], ["operations"], ["--json", "status"], ["execute", "query-metrics"]):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([CTL, "--socket", socket_path, *words], stdout=full,
                                    stderr=subprocess.PIPE, text=True, timeout=90)
        assert result.returncode == 1 and "No space" in complaint(result.stderr), words


def test_help_and_version() -> None:
    for program, name in ((PAPRIKA, "paprika"), (CTL, "paprikactl")):
        status, text, _ = run(program, "--version")
        assert status == 0 and re.fullmatch(name + r" \d\S*\n", text)
        for word in ("help", "--help"):
            status, text, _ = run(program, word)
            assert status == 0 and name in text
    status, text, _ = run(PAPRIKA, "help", "dtb")
    assert status == 0 and "--output FILE" in text and "--control" not in text
    status, _, text = run(PAPRIKA, "--kernel", "x")
    assert status == 2 and "paprika run --kernel" in complaint(text)


@pytest.mark.parametrize("words, named", [
    ([], "no command"),
    (["cpu"], "cpu list, cpu add, cpu remove, cpu set)"),
    (["cpu", "ad", "1"], "cpu ad (did you mean one of these: cpu list, cpu add, cpu remove, cpu set)"),
    (["cpu", "add", "x"], 'CORE-ID must be a number of 0 or more, not "x"'),
    (["cpu", "add", "-1"], '"-1"'),
    (["cpu", "add"], "CORE-ID"),
    (["cpu", "set", "two"], 'N must be a number of 0 or more, not "two"'),
    (["memory"], "memory list, memory add, memory remove, memory set)"),
    (["memory", "set"], "SIZE"),
    (["memory", "set", "2X"], 'SIZE must be a size like 2G or 512M, not "2X"'),
    (["memory", "set", "2GB"], '"2GB"'),
    (["memory", "set", "+2G"], '"+2G"'),
    (["memory", "set", " 2G"], '" 2G"'),
    (["memory", "add", "0"], '"0"'),
    (["memory", "add", "G"], '"G"'),
    (["memory", "add", "9999999T"], '"9999999T"'),
    (["cancel", "first"], '"first"'),
    (["operations", "one"], '"one"'),
    (["execute", "{"], "JSON object"),
    (["stauts"], "status"),
    (["--sokcet", "x", "status"], "--sokcet (did you mean --socket?)"),
    (["--socket"], "--socket needs a value"),
    (["--socket", "", "status"], "--socket is empty"),
    (["--json=1", "status"], "--json takes no value"),
    (["-x", "status"], "-x"),
    (["--timeout", "0", "status"], "above 0"),
    (["--timeout", "soon", "status"], "soon"),
])
def test_ctl_knows_what_is_wrong_before_it_connects(tmp_path: Path, words: list[str],
                                                    named: str) -> None:
    status, output, text = run(CTL, *words, env={"PAPRIKA_SOCKET": str(tmp_path / "none")})
    assert (status, output) == (2, "") and named in complaint(text), text


def test_ctl_on_what_is_no_control_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "other")
    status, _, text = run(CTL, "--socket", path, "status")
    assert status == 1 and "--socket" in complaint(text)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with subprocess.Popen([CTL, "--socket", path, "status"], stderr=subprocess.PIPE,
                              text=True) as client:
            connection, _ = server.accept()
            connection.sendall(b"Welcome to the console\n")
            _, text = client.communicate(timeout=90)
            connection.close()
    assert client.returncode == 1 and "not QMP" in complaint(text)


def test_ctl_gives_up_on_a_vmm_that_does_not_answer(vmm) -> None:
    """--timeout is for all of it: also when the connections have queued up. The message names who
    does not answer, and its remedy works."""
    process = vmm.process
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        for words in (["status"], ["cpu", "add", "2"], ["events"], ["execute", "stop"]):
            status, _, text = run(CTL, "--socket", vmm.path, *words, "--timeout", "0.3")
            assert status == 1 and "within 0.3 s" in complaint(text), text
            assert f"process {process.pid} is stopped: kill -CONT {process.pid}" in text, text
        # The sixteen and one that are let in before they are accepted, and then some.
        for _ in range(20):
            status, _, text = run(CTL, "--socket", vmm.path, "status", "--timeout", "0.1")
            assert status == 1 and "within 0.1 s" in complaint(text), text
    finally:
        process.send_signal(signal.SIGCONT)
    assert run(CTL, "--socket", vmm.path, "status", "--timeout", "60")[0] == 0


def test_ctl_gives_up_on_a_vmm_that_stops_meanwhile(vmm) -> None:
    """The request has been sent, and no answer comes."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(vmm.path)
    watcher = Control(connection)
    with subprocess.Popen([CTL, "--socket", vmm.path, "cpu", "remove", "core1", "--timeout", "5"],
                          stderr=subprocess.PIPE, text=True) as client:
        # Asked, but the guest of the fake never answers.
        watcher.wait_event("OPERATION", lambda data: data["step"] == "notified")
        watcher.execute("query-status")  # the reply to the removal has been sent by now
        vmm.process.send_signal(signal.SIGSTOP)
        try:
            _, text = client.communicate(timeout=90)
        finally:
            vmm.process.send_signal(signal.SIGCONT)
    watcher.close()
    assert client.returncode == 4 and "is stopped: kill -CONT" in text, text


def test_ctl_events_end_with_the_timeout(socket_path: str) -> None:
    assert run(CTL, "--socket", socket_path, "events", "--follow", "--timeout", "0.2")[0] == 0
    status, _, text = run(CTL, "--socket", socket_path, "events", "--timeout", "0.2")
    assert status == 4 and "no event" in complaint(text)


def test_the_page_of_calls_is_what_the_program_prints() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/papr.md"
    assert run(PAPRIKA, "check", "--papr") == (0, page.read_text(), "")


def test_the_page_of_calls_is_for_people() -> None:
    status, output, text = run(PAPRIKA, "check", "--papr", "--json")
    assert (status, output) == (2, "") and "leave --json out" in complaint(text)
