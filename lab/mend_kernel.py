# SPDX-License-Identifier: Apache-2.0
"""Copies a guest's vmlinux without the CPU offline deadlock of Linux 6.1 to 6.15.

In swake_up_one_online() an outgoing CPU wakes the RCU thread by way of another CPU, and can wait
for ever (docs/known-problems.md). Linux 6.16 calls swake_up_one() in all cases. This program replaces
the branch by a nop, with the same effect. It searches for the instruction, and refuses a kernel in
which the code differs.

usage: mend_kernel.py VMLINUX OUTPUT
"""

from __future__ import annotations

import os
import re
import struct
import sys
from pathlib import Path
from typing import NamedTuple

NOP = 0x60000000
FUNCTION, CALLED = "swake_up_one_online", "swake_up_one"


class Unexpected(Exception):
    """The kernel is not as expected; the text says how."""


class Symbol(NamedTuple):
    address: int
    size: int
    offset: int  # in the file


def symbols(image: bytes, wanted: set[str]) -> dict[str, Symbol]:
    """Those functions of a little-endian ELF file."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise Unexpected("it is no little-endian 64-bit ELF file")
    start, = struct.unpack_from("<Q", image, 40)
    entry, count = struct.unpack_from("<HH", image, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, start + n * entry) for n in range(count)]
    table = next((s for s in sections if s[1] == 2), None)
    if table is None:
        raise Unexpected("it has no symbol table")
    strings = sections[table[6]]
    names = image[strings[4]:strings[4] + strings[5]]
    found: dict[str, Symbol] = {}
    for name, info, _, section, address, size in struct.iter_unpack(
            "<IBBHQQ", image[table[4]:table[4] + table[5]]):
        text = names[name:names.index(b"\0", name)].decode(errors="replace")
        if text in wanted and info & 15 == 2:
            inside = sections[section]
            found[text] = Symbol(address, size, address - inside[3] + inside[4])
    return found


def branch_of(image: bytes, function: Symbol, called: Symbol) -> int:
    """File offset of the branch that selects how to wake: the function's only `beq`, which skips the
    call and stays inside the function."""
    words = [word for word, in struct.iter_unpack(
        "<I", image[function.offset:function.offset + (function.size & ~3)])]
    branches = [n for n, word in enumerate(words) if word & 0xffff8003 == 0x41820000]
    if len(branches) != 1:
        raise Unexpected(f"{FUNCTION}() has {len(branches)} branches of that kind, not 1")
    at = branches[0]
    if not 2 <= (words[at] & 0x7ffc) >> 2 < len(words) - at:
        raise Unexpected(f"the branch in {FUNCTION}() leads out of it")
    call, here = words[at + 1], function.address + (at + 1) * 4
    distance = (call & 0x3fffffc) - ((call & 0x2000000) << 1)
    # A local call enters past the two instructions that set up the TOC pointer.
    if call & 0xfc000003 != 0x48000001 or here + distance - called.address not in (0, 8):
        raise Unexpected(f"no call of {CALLED}() follows the branch in {FUNCTION}()")
    return function.offset + at * 4


def mend(image: bytes) -> tuple[bytes, str]:
    """The changed kernel, and a text that says what was done."""
    found = symbols(image, {FUNCTION, CALLED})
    if CALLED not in found:
        raise Unexpected(f"it has no {CALLED}()")
    if FUNCTION not in found:
        return image, "as it is; it has no " + FUNCTION + "()"
    at = branch_of(image, found[FUNCTION], found[CALLED])
    return image[:at] + struct.pack("<I", NOP) + image[at + 4:], "with one instruction changed"


def main() -> int:
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        image, done = mend(source.read_bytes())
    except Unexpected as error:
        print(f"mend_kernel: {source}: {error}", file=sys.stderr)
        return 1
    new = output.with_name(output.name + ".new")
    new.write_bytes(image)
    os.replace(new, output)
    version = re.search(rb"Linux version (\S+)", image)
    print(f"{version[1].decode() if version else source}: {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
