# SPDX-License-Identifier: Apache-2.0
"""lab/bench: paprika beside QEMU as VMMs of one POWER host, in one run. See bench/README.md."""
from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from bench_figures import FIGURES, Value
from bench_vmm import VMMS, prepare, qemu_program
from host_api import CHECKOUT, Host, LabError, is_direct

RESULTS = CHECKOUT / "bench/results"
BASE = VMMS[0].name


def versions(host: Host) -> dict[str, str]:
    def first_line(*argv: str) -> str:
        return host.run(list(argv)).stdout.decode().split("\n")[0]

    def git(*argv: str) -> str:
        return subprocess.run(["git", *argv], cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "meson.build")
    return {"paprika": git("rev-parse", "--short=10", "HEAD") + (" with changes" if changed else ""),
            "qemu": first_line(qemu_program(host), "--version"),
            "host": first_line("uname", "-srm")}


def machine() -> dict[str, Any]:
    with open("/proc/loadavg", encoding="ascii") as load:
        return {"cpus": os.cpu_count(), "load": float(load.read().split()[0])}


class Figure:
    """The values of one figure, by case and VMM, in the order of the first appearance."""

    def __init__(self) -> None:
        self.cases: dict[str, dict[str, Any]] = {}

    def take(self, value: Value) -> None:
        case = self.cases.setdefault(value.case, {
            "unit": value.unit, "more_is_better": value.more_is_better, "values": {}})
        case["values"].setdefault(value.vmm, []).append(round(value.value, 4))


def spread(values: list[float]) -> str:
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratios(case: dict[str, Any], vmm: str) -> list[float]:
    """Pair by pair, how many times better paprika is: more than 1 is better."""
    pairs = zip(case["values"].get(BASE, []), case["values"][vmm])
    return [(a / b if case["more_is_better"] else b / a) for a, b in pairs if a > 0 and b > 0]


def table(cases: dict[str, dict[str, Any]]) -> str:
    """One line for each case and VMM."""
    lines = []
    for name, case in cases.items():
        lines.append(f"{name} [{case['unit']}]")
        for vmm, values in case["values"].items():
            found = ratios(case, vmm) if vmm != BASE else []
            better = f"   {BASE} {spread(found)} times as good" if found else ""
            lines.append(f"    {vmm:14} {spread(values)}{better}")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 runs in place of 7")
    parser.add_argument("--runs", type=int, help="so many runs")
    parser.add_argument("--only", action="append", choices=list(FIGURES), metavar="NAME",
                        help="this figure only; may be repeated: " + ", ".join(FIGURES))
    parser.add_argument("--vmm", action="append", choices=[vmm.name for vmm in VMMS], metavar="NAME", default=[],
                        help="this VMM only; may be repeated: " + ", ".join(vmm.name for vmm in VMMS))
    parser.add_argument("--json", action="store_true", help="print the result as JSON, not as tables")
    parser.add_argument("--no-result", action="store_true", help="keep no result in bench/results")
    parser.add_argument("--list", action="store_true", help="list the figures and the VMMs")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.list:
        for name, figure in FIGURES.items():
            print(f"{name:14} {(figure.__doc__ or '').strip()}")
        for vmm in VMMS:
            print(f"{vmm.name:14} {vmm.about}")
        return 0
    was_up = subprocess.run([CHECKOUT / "lab/host", "status"], capture_output=True).returncode == 0
    if not was_up:
        subprocess.run([CHECKOUT / "lab/host", "up"], check=True, stdout=sys.stderr)
    try:
        subprocess.run([CHECKOUT / "lab/build"], check=True, stdout=sys.stderr)
        measure(args)
    finally:
        if not was_up:
            subprocess.run([CHECKOUT / "lab/host", "down"], stdout=sys.stderr)
    return 0


def measure(args: argparse.Namespace) -> None:
    host = Host.open()
    prepare(host)
    runs = args.runs or (3 if args.quick else 7)
    begun = datetime.datetime.now(datetime.timezone.utc)
    result: dict[str, Any] = {
        "date": begun.strftime("%Y-%m-%d %H:%M UTC"), "runs": runs,
        "host_kind": "this machine" if is_direct() else "emulated: " + host.kind,  # type: ignore[attr-defined]
        "versions": versions(host), "machine_before": machine(), "figures": {}}
    for name in args.only or FIGURES:
        print(f"bench: {name}", file=sys.stderr)
        figure = Figure()
        for value in FIGURES[name](host, runs, args.vmm):
            figure.take(value)
        result["figures"][name] = figure.cases
    result["machine_after"] = machine()
    if not args.no_result:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{begun:%Y-%m-%d-%H%M}-{'direct' if is_direct() else host.kind}.json"  # type: ignore[attr-defined]
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"bench: {path.relative_to(CHECKOUT)}", file=sys.stderr)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print({key: value for key, value in result.items() if key != "figures"})
    if result["machine_before"]["load"] > 0.5:
        print("The machine was not quiet: times are noise, counts are not.")
    for name, cases in result["figures"].items():
        print(f"\n== {name}\n{table(cases)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"bench: {error}")
