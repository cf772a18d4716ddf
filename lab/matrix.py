# SPDX-License-Identifier: Apache-2.0
"""The matrix: kinds of host x checks. For each row a host is started, the checks run on it as parts of
the probe, guest and soak tiers, and the host is stopped. The table comes last, with the reasons for what
failed or was left out; it is also in .lab/matrix, beside the output of each check.

A row is a kind, with options of paprika if it is to run in another mode than the host's default:
`lab/matrix nested "powernv10 --irqchip xive"`.
"""
from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

import junit
from host_api import CHECKOUT, LAB, EmulatedHost, LabError, is_direct
from kinds import KINDS

RESULTS = LAB / "matrix"
CYCLES = 200  # of the soak test: it compares what it samples from the 100th on


class Check(NamedTuple):
    name: str
    tests: list[str]  # for pytest
    limit: int = 1800  # seconds; ends what hangs, and is far above what any host needs

    @property
    def file(self) -> str:
        return self.name.replace(", ", "-")


def guest(file: str, *names: str) -> list[str]:
    return [f"tests/guest/test_{file}.py::test_{name}" for name in names]


CHECKS = [
    Check("boot", guest("boot", "boots_with_cores[1-0]", "console_works_both_ways_and_takes_long_lines",
                        "power_off_ends_with_0")),
    Check("panic", guest("boot", "panic_ends_with_3")),
    Check("SMP", guest("boot", "boots_with_cores[2-0-1]", "boots_with_cores[4-0-3]")),
    Check("add, remove", guest("cores", "cores_in_any_order", "two_cores_removed_at_the_same_time",
                               "boot_cores_can_be_removed_but_core_0_cannot")),
    Check("refuse, retry", guest(
        "cores", "refused_removal_is_rejected_at_once_and_leaves_all_as_it_was",
        "guest_gives_a_core_back_and_takes_it_again")),
    Check("memory", guest("memory", "blocks_come_and_go", "added_memory_survives_a_reset")
          + guest("fence", "memory_that_cannot_go_offline")),
    Check("reset", guest("boot", "reboot_starts_again_from_a_fresh_image", "system_reset_from_outside")
          + guest("cores", "reset_with_a_removal_pending", "reboot_keeps_the_cores_that_are_there")),
    Check("kexec", guest("kexec", "cores_come_and_go_from_kernel_to_kernel")),
    Check("probe", ["tests/probe"], 3600),
    Check("soak", ["tests/soak/test_soak.py::test_cycles"], 3600),
]


class Cell(NamedTuple):
    text: str  # what the table shows
    passed: bool
    reason: str = ""


class Row(NamedTuple):
    kind: str
    options: str
    cells: dict[str, Cell]  # "host", then the names of CHECKS

    @property
    def name(self) -> str:
        return f"{self.kind} {self.options}".strip()


def say(text: str) -> None:
    print(text, flush=True)


def cell_of(results: junit.Results, seconds: float) -> Cell:
    """The cell of a check that ran to its end."""
    reason = "; ".join(dict.fromkeys(results.failures + results.reasons))
    count = f"{results.passed}/{results.passed + results.failed}"
    if results.failed or not results.passed:
        return Cell(f"FAIL {count} {seconds:.0f} s", False, reason or "no test ran")
    skipped = f" ({results.skipped} skipped)" if results.skipped else ""
    return Cell(f"ok {count} {seconds:.0f} s{skipped}", True, reason)


def table(rows: list[Row]) -> str:
    """The table, as Markdown, followed by a line for each reason."""
    names = ["host", *(check.name for check in CHECKS)]
    used = [name for name in names if any(name in row.cells for row in rows)]
    lines = [["kind", *used]] + [
        [row.name, *(row.cells[name].text if name in row.cells else "" for name in used)] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(used) + 1)]

    def drawn(line: list[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    reasons = [f"{row.name}, {name}: {cell.reason}"
               for row in rows for name, cell in row.cells.items() if cell.reason]
    return "\n".join([drawn(lines[0]), rule, *map(drawn, lines[1:]), *([""] if reasons else []), *reasons])


# ---- one row ----


def lab(*command: str, log: Path, limit: float) -> tuple[int, str]:
    """Runs a command of the lab; its status and output, which is also in `log`."""
    try:
        done = subprocess.run([CHECKOUT / "lab" / command[0], *command[1:]], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=limit)
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, output = -1, (late.stdout or b"") + f"\nno end after {limit:g} s\n".encode()
    log.write_bytes(output)
    return status, output.decode(errors="replace")


def start_host(kind: str, folder: Path) -> Cell:
    """Starts the host and installs what the checks need."""
    began = time.monotonic()
    for command in (("setup", "--quiet", "--kind", kind), ("host", "up", "--kind", kind), ("build",)):
        if command[0] == "host":
            began = time.monotonic()
        status, output = lab(*command, log=folder / f"{command[0]}.log", limit=1800)
        if command[0] == "host":
            seconds = time.monotonic() - began
        if status != 0:
            lines = output.strip().splitlines() or ["?"]
            return Cell("FAIL", False, f"{command[0]}: " + " / ".join(lines[-3:]))
    restarts = EmulatedHost.of_instance().restarts
    reason = "".join(f"was started twice: {restart}" for restart in restarts)
    return Cell(f"{seconds:.0f} s" + (" (2nd try)" if restarts else ""), True, reason)


def answers() -> bool:
    try:
        EmulatedHost.of_instance().run(["true"], timeout=30)
        return True
    except (LabError, subprocess.TimeoutExpired):
        return False


def run_check(check: Check, options: str, folder: Path) -> Cell:
    xml, log = folder / f"{check.file}.xml", folder / f"{check.file}.log"
    xml.unlink(missing_ok=True)
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider",
               f"--junitxml={xml}", *check.tests]
    environment = {**os.environ, "PAPRIKA_GUEST_OPTIONS": options, "PAPRIKA_SOAK_CYCLES": str(CYCLES)}
    began = time.monotonic()
    with open(log, "wb") as output:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=CHECKOUT,
                           env=environment, timeout=check.limit)
        except subprocess.TimeoutExpired:
            return Cell(f"HANG {check.limit} s", False, f"no end after {check.limit} s")
    if not xml.exists():
        return Cell("FAIL", False, f"pytest did not run; see {log}")
    return cell_of(junit.read(xml), time.monotonic() - began)


def run_row(kind: str, options: str, wanted: list[Check], folder: Path) -> Row:
    row = Row(kind, options, {})
    folder.mkdir(parents=True, exist_ok=True)
    say(f"=== {row.name}")
    try:
        row.cells["host"] = start_host(kind, folder)
        say(f"host: {row.cells['host'].text} {row.cells['host'].reason}")
        if not row.cells["host"].passed:
            return row
        for check in wanted:
            if why := KINDS[kind].left_out.get(check.name):
                row.cells[check.name] = Cell("left out", True, why)
                continue
            cell = run_check(check, options, folder)
            if gone := not answers():
                # The console tells why; it ends with the host.
                _, console = lab("host", "log", log=folder / f"console-{check.file}.log", limit=60)
                last = (console.strip().splitlines() or ["nothing"])[-1]
                cell = Cell(f"{cell.text}, HOST DIED", False, f"{cell.reason}; the host died: {last}")
            row.cells[check.name] = cell
            say(f"{check.name}: {cell.text} {cell.reason}")
            if gone or cell.text.startswith("HANG"):  # what hangs may have left guests behind
                lab("host", "down", log=folder / "down.log", limit=60)
                again = start_host(kind, folder)
                if not again.passed:
                    row.cells["host"] = again
                    break
    finally:
        lab("host", "down", log=folder / "down.log", limit=60)
    return row


# ---- the command line ----


def every_kind() -> list[str]:
    """All that differ in what guests see: a disk of the host makes no difference to them."""
    return [name for name, kind in KINDS.items() if not kind.disk]


def row_of(text: str) -> list[tuple[str, str]]:
    kind, *options = shlex.split(text) or [""]
    if kind not in KINDS:
        raise LabError(f"there is no kind \"{kind}\"; there are: {', '.join(KINDS)}")
    return [(kind, shlex.join(options))] if options else [(kind, mode) for mode in KINDS[kind].modes]


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="lab/matrix", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="KIND", help="default: all kinds, in all their modes")
    parser.add_argument("--checks", help="which, separated by \"|\" (default all): "
                        + " | ".join(check.name for check in CHECKS))
    args = parser.parse_args()
    try:
        if is_direct():
            raise LabError("this machine is the lab host, so there is one kind: use lab/test")
        rows = [one for text in args.rows or every_kind() for one in row_of(text)]
        names = [name.strip() for name in (args.checks or "").split("|") if name.strip()]
        if unknown := [name for name in names if name not in [check.name for check in CHECKS]]:
            raise LabError(f"there is no check \"{unknown[0]}\"")
    except LabError as error:
        print(f"lab/matrix: {error}", file=sys.stderr)
        sys.exit(2)
    os.environ.setdefault("PAPRIKA_LAB_INSTANCE", "matrix")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the host on the way out
    wanted = [check for check in CHECKS if not names or check.name in names]
    done: list[Row] = []
    for kind, options in rows:
        folder = RESULTS / (kind + "".join(options.split()))
        done.append(run_row(kind, options, wanted, folder))
    text = table(done)
    (RESULTS / "table.md").write_text(text + "\n")
    say("\n" + text)
    sys.exit(0 if all(cell.passed for row in done for cell in row.cells.values()) else 1)


if __name__ == "__main__":
    main()
