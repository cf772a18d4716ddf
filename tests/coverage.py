# SPDX-License-Identifier: Apache-2.0
"""How much of the branches of each room the tests take, and whether that is enough.

usage: tests/coverage.py BUILD

BUILD is a build directory made with -Db_coverage=true, in which tests have run. gcovr reads what
they left; this adds it up by room, prints a table, and fails if a room is below its floor. For the
rooms that have one, each branch not taken is listed, so that a loss can be seen at once.

A branch is one of the ways a line's conditions can go, as the compiler made them: `a && b` has four.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# In percent of branches.
FLOORS = {"src/drc": 98.0, "src/spapr": 90.0, "src/virtio": 85.0}


def measured(build: Path) -> list[dict]:
    """gcovr's list of files, each with its lines and their branches."""
    # Its root is the build directory, from which the compiler has named the sources.
    command = ["gcovr", "--root", ".", "--filter", f"{re.escape(str(ROOT))}/src/", "--json", "-"]
    output = subprocess.run(command, cwd=build, check=True, stdout=subprocess.PIPE).stdout
    files = json.loads(output)["files"]
    for file in files:
        file["file"] = str((build / file["file"]).resolve().relative_to(ROOT))
    return files


def not_built(files: list[dict]) -> list[str]:
    """Sources that no test was built from: nothing is known of them, which is not nothing."""
    seen = {file["file"] for file in files}
    sources = (str(path.relative_to(ROOT)) for path in ROOT.glob("src/*/*.c"))
    return sorted(set(sources) - seen)


def percent(taken: int, total: int) -> float:
    return 100.0 * taken / total if total else 100.0


def main() -> int:
    files = measured(Path(sys.argv[1]))
    lines, lines_run, branches, taken = Counter(), Counter(), Counter(), Counter()
    missed: list[str] = []
    for file in files:
        room = str(Path(file["file"]).parent)
        for line in file["lines"]:
            if line["gcovr/noncode"]:
                continue
            lines[room] += 1
            lines_run[room] += line["count"] > 0
            ways = [branch["count"] > 0 for branch in line["branches"]]
            branches[room] += len(ways)
            taken[room] += sum(ways)
            if room in FLOORS and not all(ways):
                missed.append(f"{file['file']}:{line['line_number']}: "
                              f"{len(ways) - sum(ways)} of {len(ways)} branches not taken")

    failed = [room for room in FLOORS if percent(taken[room], branches[room]) < FLOORS[room]]
    failed += [room for room in FLOORS if not branches[room]]
    for text in missed:
        print(text)
    print(f"{'room':<12}{'lines':>7}{'run':>8}{'branches':>10}{'taken':>8}{'floor':>8}")
    for room in sorted(lines):
        floor = f"{FLOORS[room]:.0f} %" if room in FLOORS else ""
        print(f"{room:<12}{lines[room]:>7}{percent(lines_run[room], lines[room]):>6.1f} %"
              f"{branches[room]:>10}{percent(taken[room], branches[room]):>6.1f} %{floor:>8}")
    print("not in any native test:", ", ".join(not_built(files)) or "none")
    for room in failed:
        print(f"{room} is below its floor of {FLOORS[room]:.0f} % of branches")
    return bool(failed)


sys.exit(main())
