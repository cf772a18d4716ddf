# SPDX-License-Identifier: Apache-2.0
"""A probe guest in QEMU's pseries machine, on this machine, for comparison with paprika.

It needs no KVM and no lab host: the processor is emulated (TCG). The machine uses the minimal
firmware x-vof and XICS. The requests that the comparison needs are named as in `guest.Guest`.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from guest import Control
from host_api import LAB
from probe import Probe

MACHINE = ("pseries,x-vof=on,ic-mode=xics,cap-htm=off,cap-cfpc=broken,cap-sbbc=broken,"
           "cap-ibs=broken,cap-ccf-assist=off")
CORE = "power9_v2.0-spapr-cpu-core"


class PseriesGuest:
    """A QEMU process with a probe guest. Leaving a `with` ends the process."""

    def __init__(self, places: int = 4, endian: str = "le",
                 memory: str = "512M") -> None:
        process = shutil.which("qemu-system-ppc64")
        assert process is not None, "there is no qemu-system-ppc64; lab/setup installs it"
        mine, theirs = zip(socket.socketpair(), socket.socketpair())
        argv = [process, "-M", MACHINE, "-cpu", "POWER9", "-accel", "tcg", "-m", memory,
                "-smp", f"1,maxcpus={places}", "-nodefaults", "-display", "none",
                "-kernel", str(LAB / f"probe-{endian}"),
                "-chardev", f"socket,id=tty,fd={theirs[0].fileno()}",
                "-device", "spapr-vty,chardev=tty",
                "-chardev", f"socket,id=qmp,fd={theirs[1].fileno()}",
                "-mon", "chardev=qmp,mode=control"]
        self.process = subprocess.Popen(argv, pass_fds=[end.fileno() for end in theirs],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for end in theirs:
            end.close()
        try:
            self.control = Control(mine[1], subscribe=False, check=False)
            self.probe = Probe(mine[0])
        except BaseException as failure:
            self.close()
            assert self.process.stderr is not None
            raise AssertionError(f"{' '.join(argv)}: {self.process.stderr.read()!r}") from failure
        self.tty = mine[0]

    @staticmethod
    def device_tree(path: Path) -> bytes:
        """The machine's device tree; `path` is a file to write it to."""
        subprocess.run(["qemu-system-ppc64", "-M", f"{MACHINE},dumpdtb={path}", "-cpu", "POWER9",
                        "-accel", "tcg", "-m", "512M", "-nodefaults", "-display", "none"],
                       check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return path.read_bytes()

    def __enter__(self) -> PseriesGuest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask_add(self, core_id: int) -> None:
        self.control.execute("device_add", driver=CORE, core_id=core_id, id=f"core{core_id}")

    def ask_remove(self, core_id: int) -> None:
        self.control.execute("device_del", id=f"core{core_id}")
