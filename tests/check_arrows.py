# SPDX-License-Identifier: Apache-2.0
"""Which room may include headers of which, and inside a room which floor of which. Prints what
breaks the rules.

Also: every source file carries its SPDX line and opens with a comment; the name of a static function
occurs once in src; and the rooms a guest can reach call nothing that ends the process.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# base < mem < {drc, kvm, virtio} < pci < spapr < {control, sandbox} < vmm
MAY_INCLUDE = {
    "base": {"base"},
    "mem": {"mem", "base"},
    "drc": {"drc"},
    "kvm": {"kvm", "mem", "base"},
    "virtio": {"virtio", "mem", "base"},
    "pci": {"pci", "virtio", "kvm", "mem", "base"},
    "spapr": {"spapr", "pci", "virtio", "drc", "kvm", "mem", "base"},
    "control": {"control", "spapr", "drc", "kvm", "base"},
    "sandbox": {"sandbox", "kvm", "base"},
    "vmm": {"vmm", "control", "sandbox", "spapr", "virtio", "drc", "kvm", "mem", "base"},
    "ctl": {"ctl"},
}
# Floors inside a room, the lowest first. A file may include its own header, and headers of the
# floors below it. "name" stands for name.c and name.h; either may be named by itself. To check a
# room, list its files here.
FLOORS: dict[str, list[set[str]]] = {
    "base": [{"err", "be", "le", "mac"}, {"log"}, {"complain"}],
    "mem": [{"gmem"}],
    "drc": [{"operation"}, {"drc"}, {"drc_rows"}, {"drc_logical", "drc_lmb", "drc_pci"}],
    "kvm": [
        {"mode.h"},
        {"kvm"},
        {"mode.c", "internal"},
        {"check", "host", "ioctls", "vcpu", "vm", "irq_xics", "irq_xive", "mmu_radix", "mmu_hash",
         "flavour_pr", "device_io"},
    ],
    "pci": [{"config"}, {"msix", "port", "virtio_registers"}, {"virtio_pci"}],
    "spapr": [
        {"spapr", "irq", "node"},
        {"irqchip.h"},
        {"irq_xics", "irq_xive"},
        {"news", "irqchip.c"},
        {"vty", "event", "event_log"},
        {"cpu", "fence"},
        {"connector"},
        {"device.h"},
        {"device_parts"},
        {"device.c", "device_request", "device_fence"},
        {"core", "core_node", "memory", "memory_node", "phb", "phb_node", "phb_port"},
        {"machine.h"},
        {"rtas", "rtas_cpu", "rtas_dr", "rtas_pci", "rtas_system"},
        {"hcall.h"},
        {"hcall_pr", "hcall_xive"},
        {"hcall.c"},
        {"tree"},
        {"machine.c", "query"},
    ],
    "virtio": [
        {"queue", "thread"},
        {"disk.h"},
        {"disk_sync"},
        {"disk.c", "disk_uring", "net_port"},
        {"net_stream", "net_tap"},
        {"device.h"},
        {"backing", "vhost.h"},
        {"vhost_user", "vhost_kernel"},
        {"model", "blk.h", "net.h"},
        {"device.c", "rng", "blk_request.h", "net_lane", "vhost.c", "vhost_devices"},
        {"blk.c", "blk_request.c", "blk_disk", "net.c", "net_rx"},
    ],
    "control": [
        {"guest", "framer", "json_out", "listen", "output", "parse", "watch"},
        {"bus"},
        {"command.h"},
        {"block", "netdev"},
        {"chardev"},
        {"devices"},
        {"query"},
        {"command.c", "commands"},
        {"control.h"},
        {"client"},
        {"control.c"},
    ],
    "sandbox": [{"rules"}, {"sandbox"}],
    "vmm": [
        {"options.h"},
        {"option_row"},
        {"virtiofsd", "passt"},
        {"options.c", "option_unknown", "option_disk", "option_item", "option_memory", "option_net",
         "option_share", "config", "check", "loader", "loop", "device_reports", "notify",
         "terminal"},
        {"plug"},
        {"console"},
        {"vmm"},
        {"run"},
        {"main"},
    ],
    "ctl": [{"ctl"}, {"connection", "disk", "lists", "net", "paprikactl", "print", "resize", "share", "verbs",
                                "wait"}],
}
# These files have no header of their own; they share one that is on their floor.
SHARES_HEADER = {
    "control/commands.c": "command.h",
    "spapr/core_node.c": "core.h",
    "spapr/memory_node.c": "memory.h",
    "spapr/rtas_cpu.c": "rtas.h",
    "spapr/rtas_dr.c": "rtas.h",
    "spapr/phb_node.c": "phb.h",
    "spapr/phb_port.c": "phb.h",
    "spapr/rtas_pci.c": "rtas.h",
    "spapr/rtas_system.c": "rtas.h",
    "vmm/option_disk.c": "option_row.h",
    "vmm/option_net.c": "option_row.h",
    "vmm/option_item.c": "option_row.h",
    "vmm/option_memory.c": "option_row.h",
    "vmm/option_share.c": "option_row.h",
}
# What other rooms may include of these; of the rooms not named here, everything.
PUBLIC = {"spapr": {"spapr.h"}, "kvm": {"kvm.h"}}
# Where which outside library may appear.
ONLY_IN = {"ev.h": {"vmm", "control"}, "jansson.h": {"vmm", "control", "ctl"},
           "linux/kvm.h": {"kvm"}, "libfdt.h": {"spapr"}, "seccomp.h": {"sandbox"},
           "liburing.h": {"virtio"}}
# A guest can reach these rooms: nothing there ends the process.
GUEST_FACING = {"drc", "mem", "pci", "spapr", "virtio"}
FORBIDDEN = re.compile(r"\b(abort|exit|_exit|assert|system|popen)\s*\(")
COMMENT = re.compile(r"/\*.*?\*/", re.S)
STATIC = re.compile(r"^static (?:inline |__attribute__\(\(.*?\)\) )*[\w \t*]*?\b(?!__attribute__)(\w+)\(",
                    re.M)


def floor_of(room: str, name: str) -> int | None:
    for number, names in enumerate(FLOORS[room]):
        if name in names or name.rsplit(".", 1)[0] in names:
            return number
    return None


def floor_problem(room: str, name: str, header: str) -> str | None:
    """What is wrong with a file of a room including a header of the same room."""
    if room not in FLOORS:
        return None
    mine, its = floor_of(room, name), floor_of(room, header)
    if mine is None or its is None:
        return f"{name if mine is None else header} is on no floor of {room}"
    own = SHARES_HEADER.get(f"{room}/{name}", name.rsplit(".", 1)[0] + ".h")
    if header == own or its < mine:
        return None
    return f"{name} may not include {header}: it is on floor {its}, this file on {mine}"


def problems(path: Path) -> list[str]:
    room = path.parent.name
    text = path.read_text()
    found = []
    if "SPDX-License-Identifier: Apache-2.0" not in text[:120]:
        found.append("no SPDX line")
    elif not re.match(r"/\* SPDX[^\n]*\n/\*", text):
        found.append("does not open with a comment")
    if room in FLOORS and floor_of(room, path.name) is None:
        found.append(f"is on no floor of {room}")
    for header in re.findall(r'#include "([^"]+)"', text):
        target, name = header.split("/") if "/" in header else (room, header)
        if target not in MAY_INCLUDE[room]:
            found.append(f"{room} may not include {header}")
        elif target != room and name not in PUBLIC.get(target, {name}):
            found.append(f"{header} is the {target} room's own")
        elif target == room and (problem := floor_problem(room, path.name, name)):
            found.append(problem)
    for header in re.findall(r"#include <([^>]+)>", text):
        if room not in ONLY_IN.get(header, {room}):
            found.append(f"{room} may not include <{header}>")
    if room in GUEST_FACING and (match := FORBIDDEN.search(COMMENT.sub("", text))):
        found.append(f"{match[1]}() where a guest can reach")
    return found


def names_twice(paths: list[Path]) -> list[str]:
    """Static functions whose name another file of src has too."""
    where = defaultdict(set)
    for path in paths:
        for name in STATIC.findall(COMMENT.sub("", path.read_text())):
            where[name].add(path)
    return [f"{name}() is static in {', '.join(sorted(f'{p.parent.name}/{p.name}' for p in files))}"
            for name, files in sorted(where.items())
            if len(files) > 1]


def main() -> int:
    paths = sorted((ROOT / "src").glob("*/*.[ch]"))
    found = [f"{path.relative_to(ROOT)}: {problem}" for path in paths for problem in problems(path)]
    found += names_twice(paths)
    print("".join(line + "\n" for line in found) + f"{len(paths)} files, {len(found)} problems")
    return len(found) != 0


sys.exit(main())
