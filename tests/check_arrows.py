# SPDX-License-Identifier: Apache-2.0
"""The arrows of the house: which room may include headers of which. Prints what breaks them.

Also: every source file carries its SPDX line and opens with a paragraph, and no line of the VMM's
guest-facing rooms calls what a guest must not be able to reach.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAY_INCLUDE = {
    "base": {"base"},
    "drc": {"drc"},
    "mem": {"mem", "base"},
    "kvm": {"kvm", "mem", "base"},
    "spapr": {"spapr", "drc", "kvm", "mem", "base"},
    "control": {"control", "spapr", "drc", "kvm", "base"},
    "sandbox": {"sandbox", "kvm", "base"},
    "vmm": {"vmm", "control", "sandbox", "spapr", "drc", "kvm", "mem", "base"},
    "ctl": {"ctl"},
}
# Where which outside library may appear.
ONLY_IN = {"ev.h": {"vmm", "control"}, "jansson.h": {"vmm", "control", "ctl"}, "linux/kvm.h": {"kvm"},
           "libfdt.h": {"spapr"}, "seccomp.h": {"sandbox"}}
# A guest can reach these rooms: nothing there ends the process.
GUEST_FACING = {"drc", "spapr"}
FORBIDDEN = re.compile(r"\b(abort|exit|_exit|assert|system|popen)\s*\(")
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def problems(path: Path) -> list[str]:
    room = path.parent.name
    text = path.read_text()
    found = []
    if "SPDX-License-Identifier: Apache-2.0" not in text[:120]:
        found.append("no SPDX line")
    elif not re.match(r"/\* SPDX[^\n]*\n/\*", text):
        found.append("does not open with a paragraph")
    for header in re.findall(r'#include "([^"]+)"', text):
        target = header.split("/")[0] if "/" in header else room
        if target not in MAY_INCLUDE[room]:
            found.append(f"{room} may not include {header}")
        if header == "kvm/internal.h" and room != "kvm":
            found.append(f"{header} is the kvm room's own")
        if header in ("spapr/machine.h", "spapr/hcall.h", "spapr/rtas.h") and room != "spapr":
            found.append(f"{header} is the spapr room's own")
    for header in re.findall(r"#include <([^>]+)>", text):
        if room not in ONLY_IN.get(header, {room}):
            found.append(f"{room} may not include <{header}>")
    if room in GUEST_FACING and (match := FORBIDDEN.search(COMMENT.sub("", text))):
        found.append(f"{match[1]}() where a guest can reach")
    return found


def main() -> int:
    count = 0
    paths = sorted((ROOT / "src").glob("*/*.[ch]"))
    for path in paths:
        for problem in problems(path):
            print(f"{path.relative_to(ROOT)}: {problem}")
            count += 1
    print(f"{len(paths)} files, {count} problems")
    return count != 0


sys.exit(main())
