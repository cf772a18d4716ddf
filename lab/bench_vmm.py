# SPDX-License-Identifier: Apache-2.0
"""The VMMs that lab/bench compares, as a table, and what is read of a running one from the host's kernel:
processor time of each thread, system calls by thread and number, exits by kind, memory.

All have the same guest: kernel, initramfs, memory, one vCPU, and disks of the same content.
"""
from __future__ import annotations

import collections
import os
import re
import subprocess
import time
import uuid
from typing import NamedTuple, Sequence

from guest import Guest
from host_api import LAB, Host, is_direct

MEMORY_MIB = 512
WORK = "/tmp/paprika-bench"  # on the host: a file system of its own (see prepare)
INITRD = WORK + "/initrd"
APPEND = "console=hvc0 quiet"
FS_MIB = 512
SLOW_US = 1000  # of a request to one of the slow disks
QEMU_MACHINE = ("pseries,accel=kvm,kernel-irqchip=on,ic-mode=xics,x-vof=on,cap-htm=off,cap-cfpc=broken,"
                "cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off")
SYSCALLS = {
    3: "read", 4: "write", 54: "ioctl", 118: "fsync", 120: "clone", 148: "fdatasync", 167: "poll",
    174: "rt_sigprocmask", 179: "pread64", 180: "pwrite64", 221: "futex", 238: "epoll_wait", 281: "ppoll",
    303: "epoll_pwait", 320: "preadv", 321: "pwritev", 334: "send", 341: "sendmsg", 342: "recvmsg",
    380: "preadv2", 381: "pwritev2", 426: "io_uring_enter"}
IOCTL = 54
DEADLINE_S = 600  # of a boot beside much other work


class Disk(NamedTuple):
    """An image on the host, and whether the host's page cache is passed by."""

    path: str
    direct: bool


class Vmm(NamedTuple):
    """A row. `kind` is "paprika" or "qemu"."""

    name: str
    kind: str
    about: str
    prefix: tuple[str, ...] = ()
    aio: str = ""
    iothread: bool = False


VMMS = (
    Vmm("paprika", "paprika", "as it comes: one thread for the queue; io_uring"),
    Vmm("paprika-sync", "paprika", "the same where io_uring is forbidden", prefix=("bin/no_uring",)),
    Vmm("qemu-threads", "qemu", "virtio-blk-pci, aio=threads, in the main loop (QEMU's default)", aio="threads"),
    Vmm("qemu-uring", "qemu", "virtio-blk-pci, aio=io_uring, in the main loop", aio="io_uring"),
    Vmm("qemu-iothread", "qemu", "virtio-blk-pci, aio=io_uring, in a thread of its own (iothread)",
        aio="io_uring", iothread=True),
)


def qemu_program(host: Host) -> str:
    return "qemu-system-ppc64" if is_direct() else host.path + "/bench/qemu/qemu-system-ppc64"


class BenchGuest(Guest):
    """A guest below one of the VMMs. `pid` is its process on the host."""

    def __init__(self, host: Host, vmm: Vmm, disks: Sequence[Disk] = ()) -> None:
        self.host, self.vmm, self.output = host, vmm, b""
        self.directory = f"{WORK}/{uuid.uuid4().hex[:12]}"
        host.run(["mkdir", self.directory], check=True)
        self.console_path = self.directory + "/console"
        self.kernel = os.environ.get("PAPRIKA_TEST_KERNEL") or host.path + "/vmlinux"
        argv = self.paprika(disks) if vmm.kind == "paprika" else self.qemu(disks)
        prefix = [host.path + "/" + vmm.prefix[0], *vmm.prefix[1:]] if vmm.prefix else []
        self.begun = time.monotonic()
        self.process = host.popen(
            ["sh", "-c", f'echo $$ > {self.directory}/pid; exec "$@"', "start", *prefix, *argv])
        try:
            # The shell that writes the number may not have begun yet.
            host.run(["sh", "-c", f"until test -S {self.console_path}; do "
                      f"if pid=$(cat {self.directory}/pid 2>/dev/null) && test -n \"$pid\"; then "
                      "kill -0 $pid || exit 1; fi; usleep 5000; done"], timeout=DEADLINE_S, check=True)
            self.tty = host.connect_unix(self.console_path)
            self.pid = int(host.run(["cat", self.directory + "/pid"], check=True).stdout)
        except BaseException as failure:
            error = self.process.stderr.peek()
            self.close()
            raise AssertionError(f"{' '.join(argv)}: {error!r}") from failure

    def paprika(self, disks: Sequence[Disk]) -> list[str]:
        options = [f"--disk=file={disk.path},id=disk{i}" + (",direct" if disk.direct else "")
                   for i, disk in enumerate(disks)]
        return [self.host.path + "/bin/paprika", "run", "--kernel", self.kernel, "--initrd", INITRD,
                "--append", APPEND, "--cpus", "boot=1,max=1", "--memory", f"{MEMORY_MIB}M",
                "--console", "unix:" + self.console_path, *options]

    def qemu(self, disks: Sequence[Disk]) -> list[str]:
        options = ["-object", "iothread,id=io"] if self.vmm.iothread else []
        for i, disk in enumerate(disks):
            cache = "none" if disk.direct else "writeback"
            options += ["-drive", f"if=none,id=disk{i},format=raw,file={disk.path},cache={cache},aio={self.vmm.aio}",
                        "-device", f"virtio-blk-pci,drive=disk{i},disable-legacy=on"
                        + (",iothread=io" if self.vmm.iothread else "")]
        return [qemu_program(self.host), "-name", "bench,debug-threads=on", "-M", QEMU_MACHINE, "-smp", "1",
                "-m", f"{MEMORY_MIB}M", "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", self.kernel, "-initrd", INITRD, "-append", APPEND,
                "-chardev", f"socket,id=console,path={self.console_path},server=on,wait=off",
                "-device", "spapr-vty,chardev=console", *options]

    def ready(self) -> float:
        """Wait for the shell; seconds since the start."""
        self.read_console(r"PAPRIKA-GUEST-READY cpus=(\S+)\r?\n", DEADLINE_S)
        return time.monotonic() - self.begun

    # --- read from the host's kernel -----------------------------------------------------------

    def script(self, text: str) -> str:
        return self.host.run(["sh", "-c", text], timeout=DEADLINE_S, check=True).stdout.decode()

    def threads(self) -> dict[int, tuple[str, int]]:
        """Of each thread: name and ns of processor time."""
        text = self.script(f"for t in /proc/{self.pid}/task/*; do "
                           'echo "${t##*/} $(cut -d" " -f1 $t/schedstat 2>/dev/null) $(cat $t/comm 2>/dev/null)"; done')
        rows = (line.split(" ", 2) for line in text.splitlines())
        return {int(row[0]): (row[2], int(row[1])) for row in rows if len(row) == 3 and row[1]}

    def vcpus(self) -> set[int]:
        """Threads that run the guest."""
        return {tid for tid, (name, _) in self.threads().items()
                if re.match(r"CPU \d+/KVM|vcpu", name)}

    def exits(self) -> dict[str, int]:
        """KVM's counters of this guest, by kind."""
        text = self.script(f"cd /sys/kernel/debug/kvm/{self.pid}-* && grep -H . *_exits *mmio* 2>/dev/null; true")
        rows = (line.split(":", 1) for line in text.splitlines())
        return {name: int(value) for name, value in rows if value.strip().isdigit()}

    def memory(self) -> dict[str, int]:
        """KiB resident beyond the guest's RAM, and how much of that is anonymous."""
        text = self.script(f"cat /proc/{self.pid}/smaps")
        sums: dict[str, int] = collections.Counter()
        ram = False
        for name, value in re.findall(r"^(Size|Rss|Anonymous): +(\d+) kB", text, re.M):
            if name == "Size":
                ram = MEMORY_MIB << 10 <= int(value) <= (MEMORY_MIB + 8) << 10
            elif not ram:
                sums[name] += int(value)
        return {"rss": sums["Rss"], "anonymous": sums["Anonymous"]}


class Calls:
    """Counts the system calls of all threads on the host, by thread and number, in the kernel."""

    trigger = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/trigger"

    def __init__(self, host: Host) -> None:
        self.host = host

    def _set(self, text: str) -> None:
        self.host.run(["sh", "-c", f"echo '{text}' > {self.trigger}"], check=True)

    def __enter__(self) -> Calls:
        self._set("hist:keys=common_pid,id:size=4096")
        return self

    def __exit__(self, *_: object) -> None:
        self._set("!hist:keys=common_pid,id:size=4096")

    def read(self) -> dict[tuple[int, int], int]:
        text = self.host.run(["cat", self.trigger.replace("trigger", "hist")], check=True).stdout.decode()
        return {(int(tid), int(number)): int(count) for tid, number, count in re.findall(
            r"common_pid: +(\d+), id: +(\d+) +\} +hitcount: +(\d+)", text)}


def prepare(host: Host) -> None:
    """On the host: QEMU, a file system in a disk in memory, the initramfs, access to counters."""
    there = host.run(["sh", "-c", f"test -e {WORK}/ready"]).rc == 0
    if there:
        return
    if not is_direct():
        host.put(LAB / "bench.tar", "bench.tar")
        host.run(["sh", "-c", "mkdir -p bench && tar -C bench -xf bench.tar && rm bench.tar && "
                  f"for m in bench/modules/*; do case $m in *brd.ko) insmod $m rd_nr=1 rd_size={FS_MIB << 10};; "
                  f"*null_blk.ko) insmod $m nr_devices={len(VMMS)} queue_mode=2 irqmode=2 gb=1 bs=512 "
                  f"completion_nsec={SLOW_US * 1000} hw_queue_depth=128 submit_queues=1;; "
                  "*) insmod $m 2>/dev/null || true;; esac; done; "
                  "mount -t tracefs tracefs /sys/kernel/tracing; mount -t debugfs debugfs /sys/kernel/debug; true"],
                 timeout=120, check=True)
        image = LAB / "bench-fs.img"
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=16",
                        image, f"{FS_MIB}M"], check=True)
        packed = subprocess.run(["gzip", "-1c", image], check=True, capture_output=True).stdout
        image.unlink()
        host.run(["sh", "-c", "gzip -dc > /dev/ram0"], input=packed, timeout=300, check=True)
        host.run(["sh", "-c", f"mkdir {WORK} && mount -t ext4 /dev/ram0 {WORK}"], check=True)
    else:
        host.run(["mkdir", "-p", WORK], check=True)
    host.run(["sh", "-c", f"cat > {INITRD}"], check=True, timeout=300,
             input=(LAB / "guest-bench").read_bytes() + (LAB / "guest-initrd").read_bytes())
    host.run(["touch", f"{WORK}/ready"], check=True)


def slow_disk(host: Host, vmm: Vmm) -> str:
    """A block device whose requests take SLOW_US each, as many at once as there are; it has no content. On this
    machine, whose modules are not ours to load: a file."""
    if is_direct():
        return make_image(host, vmm.name + "-direct", 48)
    return f"/dev/nullb{VMMS.index(vmm)}"


def make_image(host: Host, name: str, mib: int) -> str:
    """An image whose blocks are all allocated."""
    path = f"{WORK}/{name}.img"
    host.run(["sh", "-c", f"dd if=/dev/zero of={path} bs=1M count={mib} 2>/dev/null && sync {path}"],
             timeout=120, check=True)
    return path
