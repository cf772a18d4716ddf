# SPDX-License-Identifier: Apache-2.0
"""Compares the answers of paprika and of QEMU's pseries machine: each difference must be a row of
docs/differences.md, and each row a difference."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guest import DEADLINE, CommandError
from host_api import Host
from probe import CPU, ProbeError, ProbeGuest
from pseries import PseriesGuest
from scenarios import SCENARIOS, SERVICES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"
TOLD = {"DEVICE_DELETED": "deleted", "DEVICE_UNPLUG_GUEST_ERROR": "refused by the guest"}
# QEMU 7.2 damages its heap when many cores are removed. So each pair of machines runs a few of the
# scenarios that add or remove a core, each with a core of its own, or many of the others. If QEMU
# still aborts (once in some 200 batches), the batch is repeated.
BATCH, BATCH_WITHOUT = 10, 50
ATTEMPTS = 4


def told(machine: Any, core: int) -> str:
    """Events of the core since the last call. The reply to a request comes after the events that
    precede it."""
    machine.control.execute("query-status")
    news = [TOLD[event["event"]] for event in machine.control.events
            if event["event"] in TOLD and
            event["data"].get("device") in (f"core{core}", f"dimm{core}")]
    machine.control.events.clear()
    return "".join(f", {word}" for word in news)


# From 1 GiB on, where QEMU has its pluggable memory: the drc index of the block of "core" 0.
BLOCK = 0x80000004
LMB_BYTES = 256 << 20
MEMORY = "512M,slots=16,maxmem=8G", "size=512M,max=8G"


# The event of a fence, about a block of the 512 MiB at boot, as the probe names it; QEMU sends none.
FENCE = re.compile(r"0 add 8000000[01] fence")


def add_memory(machine: Any, number: int) -> None:
    machine.control.execute("object-add", qom_type="memory-backend-ram", id=f"m{number}",
                            size=LMB_BYTES)
    machine.control.execute("device_add", driver="pc-dimm", id=f"dimm{number}",
                            memdev=f"m{number}", addr=(BLOCK - (8 << 28) + number) * LMB_BYTES)


def remove_memory(machine: Any, number: int) -> None:
    machine.control.execute("device_del", id=f"dimm{number}")


def act(machine: Any, core: int, line: str) -> str:
    probe = machine.probe
    verb, _, rest = line.partition(" ")
    if verb in ("add", "remove"):
        try:
            (machine.ask_add if verb == "add" else machine.ask_remove)(core)
            return "ok"
        except CommandError:
            return "refused"
    if verb in ("add-memory", "remove-memory"):
        try:
            (add_memory if verb == "add-memory" else remove_memory)(machine, core)
            return "ok"
        except CommandError:
            return "refused"
    if verb == "reset":
        machine.control.execute("system_reset")
        probe.wait_note("probe ready", DEADLINE)
        probe.run("plan ignore")
        return "ok"
    if verb == "fetch":
        # A fence comes when it is due, behind whatever.
        while FENCE.match(answer := probe.run("fetch")):
            pass
        return answer
    if verb == "full":
        return " ".join(probe.run(rest).split()[:7])
    if verb == "there":
        return "there" if probe.token(rest) else "not there"
    words = rest.format(i=f"{CPU + core:x}", core=f"{core:x}", ram="2000000", end="20000000",
                        sense=f"{probe.token('get-sensor-state'):08x}", entity="0000232b")
    try:
        if verb == "guest":
            return probe.run(f"do {CPU + core:x} {words}")
        if verb == "block":
            return probe.run(f"do {BLOCK + core:x} {words}")
        answer = probe.run(f"{verb} {words}")
    except ProbeError as error:
        return str(error).split(" at ")[0]
    if verb == "hcall":
        return answer.split()[0]
    if verb == "rtas":
        # r3 of H_RTAS and the results; only the status if it is an error.
        answer = " ".join(answer.split()[1:]) if answer.startswith("0") else f"H_RTAS {answer}"
        return answer.split()[0] if answer.startswith("-") else answer
    return answer


def transcript(machine: Any, core: int, lines: list[str]) -> list[str]:
    answers = [act(machine, core, line) + told(machine, core) for line in lines]
    while machine.probe.run("fetch").startswith("0"):
        pass
    # Independent of the core.
    return [re.sub(rf"\b({CPU + core:x}|{BLOCK + core:x})\b", "INDEX", answer)
            for answer in answers]


def rows() -> dict[str, tuple[str, str, str]]:
    """The page's table: scenario -> paprika's answers, QEMU's, why."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = (cells[1], cells[2], cells[3])
    return found


def side_by_side(lines: list[str], ours: list[str], theirs: list[str]) -> tuple[str, str]:
    """The answers that differ, each with its line, in the form of the page."""
    different = [(line, a, b) for line, a, b in zip(lines, ours, theirs) if a != b]

    def cell(side: int) -> str:
        if len(lines) == 1:
            return f"`{different[0][side]}`" if different[0][side] else "nothing"
        return "; ".join(f"{d[0]}: `{d[side]}`" for d in different)

    return cell(1), cell(2)


def has_memory(lines: list[str]) -> bool:
    return "add-memory" in lines


def batches() -> Iterator[dict[str, list[str]]]:
    """A reset affects all cores, so it comes last on a machine."""
    moving = {name: lines for name, lines in SCENARIOS.items() if {"add", "remove"} & set(lines)}
    memory = {name: lines for name, lines in SCENARIOS.items() if has_memory(lines)}
    others = {name: lines for name, lines in SCENARIOS.items()
              if name not in moving | memory}
    for scenarios, size in ((moving, BATCH), (memory, BATCH), (others, BATCH_WITHOUT)):
        batch: dict[str, list[str]] = {}
        for name, lines in scenarios.items():
            batch[name] = lines
            if len(batch) == size or "reset" in lines:
                yield batch
                batch = {}
        if batch:
            yield batch


def measure(ours: ProbeGuest, theirs: PseriesGuest,
            batch: dict[str, list[str]]) -> dict[str, tuple[str, str]]:
    measured = {}
    for machine in (ours, theirs):
        machine.probe.run("plan ignore")
    for core, (name, lines) in enumerate(batch.items(), 1):
        a, b = transcript(ours, core, lines), transcript(theirs, core, lines)
        if a != b:
            measured[name] = side_by_side(lines, a, b)
    return measured


def measure_until_they_survive(start_probe: Callable[..., ProbeGuest],
                               batch: dict[str, list[str]]) -> dict[str, tuple[str, str]]:
    places = len(batch) + 2
    # QEMU crashes if cores are removed from a machine that has room for memory.
    memory = MEMORY if any(map(has_memory, batch.values())) else ("512M", "512M")
    for _ in range(ATTEMPTS):
        ours = start_probe(cpus=f"boot=1,max={places}", memory=memory[1])
        with PseriesGuest(places, memory=memory[0]) as theirs:
            try:
                return measure(ours, theirs, batch)
            except (EOFError, ConnectionError):
                assert ours.control.execute("query-status")["running"]
                status = theirs.process.wait(DEADLINE)
                print(f"QEMU has ended with status {status}, once more")
            finally:
                ours.close()
    raise AssertionError(f"QEMU ends each time in one of these: {', '.join(batch)}")


# Left out: two that stop the caller (H_CEDE, H_CONFER), two that move or stop it (H_JOIN and
# H_SIGNAL_SYS_RESET, which have scenarios instead), and two that end QEMU's process (0x14c, of a
# network adapter, and the negotiation with firmware, 0xf002).
NOT_SWEPT = "e0,e4,298,380,14c,f002"
RANGES = [(0, 0x600, 4), (0xef00, 0xef80, 4), (0xf000, 0xf0ff, 1), (0xf800, 0xf840, 4)]


def calls_there_are(machine: Any) -> set[int]:
    """The numbers of all hypervisor calls that are not answered H_FUNCTION."""
    found: set[int] = set()
    for first, last, step in RANGES:
        answer = machine.probe.run(f"sweep {first:x} {last:x} {step:x} {NOT_SWEPT} "
                                   + " ".join(["ffffffffffffffff"] * 9))
        found |= {int(word.partition("=")[0], 16) for word in answer.split()
                  if not word.startswith("unknown=")}
    return found


def calls_of_one_machine_on_the_page() -> set[int]:
    """Calls that one machine has and the other does not: as on the page."""
    numbers = set()
    for name, cells in rows().items():
        for line in SCENARIOS[name]:
            if not line.startswith("hcall"):
                continue
            if len(SCENARIOS[name]) == 1:
                answers = [cell.strip("`") for cell in cells[:2]]
            else:
                matches = [re.search(rf"{re.escape(line)}: `(-?\d+)", cell) for cell in cells[:2]]
                answers = [match[1] if match else "" for match in matches]
            if answers.count("-2") == 1:
                numbers.add(int(line.split()[1], 16))
    return numbers - {int(number, 16) for number in NOT_SWEPT.split(",")}


def test_no_hypervisor_call_of_one_machine_only_is_missing_on_the_page(start_probe) -> None:
    ours: ProbeGuest = start_probe(cpus="boot=1,max=2")
    with PseriesGuest(2) as theirs:
        here, there = calls_there_are(ours), calls_there_are(theirs)
    print(f"\nonly paprika: {sorted(map(hex, here - there))}")
    print(f"only QEMU: {sorted(map(hex, there - here))}")
    assert set(map(hex, here ^ there)) == set(map(hex, calls_of_one_machine_on_the_page()))


def services(tree: bytes) -> set[str]:
    """The RTAS services in a device tree: the properties of /rtas that are tokens."""
    source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts"], input=tree, check=True,
                            capture_output=True).stdout.decode()
    node = re.search(r"\n\trtas \{\n(.*?)\n\t\};", source, re.S)
    assert node is not None
    return set(re.findall(r"^\t\t([^\s=]+) = <0x20[0-9a-f]{2}>;$", node[1], re.M))


def test_no_service_is_left_out(host: Host, tmp_path: Path) -> None:
    """Each service is a scenario: does the machine have it?"""
    ours = services(host.run([f"{host.path}/bin/paprika", "dtb", "-o", "-"], check=True).stdout)
    theirs = services(PseriesGuest.device_tree(tmp_path / "theirs"))
    assert len(ours) > 15 and len(theirs) > 20
    assert ours | theirs <= set(SERVICES)


def on_the_page(cell: str, lines: list[str]) -> list[tuple[str, str]]:
    """Lines of a scenario, with the answers that a cell of its row has for them."""
    if len(lines) == 1:
        return [(lines[0], "" if cell == "nothing" else cell.strip("`"))]
    return re.findall(r"(?:^|; )([^`]+): `([^`]*)`", cell)


def test_our_answers_are_those_on_the_page(start_probe) -> None:
    documented = rows()
    seen = set()
    for batch in batches():
        batch = {name: lines for name, lines in batch.items() if name in documented}
        if not batch:
            continue
        memory = MEMORY if any(map(has_memory, batch.values())) else ("512M", "512M")
        ours = start_probe(cpus=f"boot=1,max={len(batch) + 2}", memory=memory[1])
        ours.probe.run("plan ignore")
        for core, (name, lines) in enumerate(batch.items(), 1):
            answers = list(zip(lines, transcript(ours, core, lines)))
            expected = on_the_page(documented[name][0], lines)
            assert expected, name
            assert [pair for pair in expected if pair not in answers] == [], name
            seen.add(name)
        ours.close()
    assert seen == set(documented)


@pytest.mark.long  # QEMU's machine is slow, and a new one for every few scenarios
def test_differences_are_those_on_the_page(start_probe) -> None:
    measured: dict[str, tuple[str, str]] = {}
    for batch in batches():
        measured |= measure_until_they_survive(start_probe, batch)
    documented = rows()
    print()
    for name, (a, b) in measured.items():
        print(f"| `{name}` | {a} | {b} | {documented.get(name, ('', '', ''))[2]} |")
    assert len(measured) < len(SCENARIOS)
    assert sorted(measured) == sorted(documented)
    for name, (a, b) in measured.items():
        assert (a, b) == documented[name][:2], name
        assert documented[name][2], f"{name}: no reason is given"
