# SPDX-License-Identifier: Apache-2.0
"""A stock kernel boots, sees the memory and CPUs it was given, and ends in each way."""

from __future__ import annotations

import re
import struct
import subprocess

import pytest

from guest import DEADLINE, Guest, elf, put_kernel
from host_api import Host


@pytest.mark.parametrize("count, online", [(1, "0"), (2, "0-1"), (4, "0-3")])
def test_boots_with_cores(start, count: int, online: str) -> None:
    guest: Guest = start(cpus=f"boot={count},max=4")
    assert guest.wait_ready() == online
    assert guest.sh("cat /proc/device-tree/compatible | tr '\\0' ' '").split()[-1] == "qemu,pseries"
    # Every CPU takes interrupts and runs processes.
    for cpu in range(count):
        assert guest.sh(f"taskset -c {cpu} echo alive") == "alive"
    cpus = guest.control.execute("query-cpus-fast")
    assert [cpu["props"]["core-id"] for cpu in cpus] == list(range(count))


def test_more_than_4_gib(start) -> None:
    guest: Guest = start(cpus="boot=2,max=2", memory="5G")
    guest.wait_ready()
    total_kib = int(guest.sh("grep MemTotal /proc/meminfo").split()[1])
    assert total_kib > 4.6 * 1024 * 1024
    # Touch memory beyond 4 GiB: fill more than what lies below it.
    guest.sh("mount -t tmpfs -o size=4700m big /root && "
             "dd if=/dev/zero of=/root/fill bs=1M count=64 2>/dev/null && rm /root/fill")
    # The RTAS blob and the tree must be below 4 GiB.
    base = guest.sh("hexdump -v -e '1/1 \"%02x\"' /proc/device-tree/rtas/linux,rtas-base")
    assert int(base, 16) < 2 << 30
    guest.sh("hwclock -r")


def test_initrd_above_what_the_machine_keeps(start, host: Host, scratch: str) -> None:
    """The kernel needs nearly all memory below 2 GiB, so the initrd does not fit behind it."""
    path = scratch + "/vmlinux"
    head = host.run(["head", "-c", "4096", host.path + "/vmlinux"], check=True).stdout
    first, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    segment = next(at for at in range(first, first + 56 * count, 56)
                   if struct.unpack_from("<I", head, at)[0] == 1)
    size = struct.pack("<Q", (2 << 30) - (5 << 20))
    host.run(["sh", "-c", f"cp {host.path}/vmlinux {path} && "
              f"dd of={path} bs=1 seek={segment + 40} conv=notrunc 2>/dev/null"],
             input=size, check=True)
    guest: Guest = start(kernel=path, memory="2304M")
    guest.wait_ready()
    where = guest.sh("hexdump -v -e '1/1 \"%02x\"' /proc/device-tree/chosen/linux,initrd-start")
    assert int(where, 16) == 2 << 30
    # The same after a reset.
    guest.control.execute("system_reset")
    guest.wait_ready()


def power_off_token(host: Host) -> int:
    tree = host.run([host.path + "/bin/paprika", "dtb", "-o", "-"], check=True).stdout
    source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts"], input=tree, check=True,
                            capture_output=True).stdout.decode()
    return int(re.search(r"power-off = <(0x[0-9a-f]+)>", source)[1], 16)


def address_printer(token: int) -> list[int]:
    """Instructions that clear the first 16 KiB of memory (the interrupt vectors), print their own
    address, and power off."""
    def d_form(opcode: int, target: int, source: int, value: int) -> int:
        return opcode << 26 | target << 21 | source << 16 | value & 0xffff

    def li(register: int, value: int) -> int:
        return d_form(14, register, 0, value)

    def load(register: int, value: int) -> list[int]:
        """lis, ori, sldi 32, oris, ori"""
        return [d_form(15, register, 0, value >> 48), d_form(24, register, register, value >> 32),
                0x780007c6 | register << 21 | register << 16,
                d_form(25, register, register, value >> 16),
                d_form(24, register, register, value)]

    def store(value: int, offset: int) -> list[int]:
        return [*load(6, value), d_form(36, 6, 10, 0x800 + offset)]

    first, second = struct.unpack(">QQ", b"lies at 0MiB\n\0\0\0")
    return [
        0x429f0005, 0x7d4802a6, d_form(14, 10, 10, -4),  # bcl, mflr r10, addi: r10 = own address
        li(11, -4), li(12, 0x1000), 0x7d8903a6, li(12, 0),  # mtctr
        0x958b0004, 0x4200fffc,  # stwu r12,4(r11); bdnz
        *load(6, first), *load(7, second),
        0x78000002 | 10 << 21 | 8 << 16 | 12 << 11 | 20 << 6,  # srdi r8,r10,20
        0x78000006 | 8 << 21 | 8 << 16 | 24 << 11 | 7 << 6,  # sldi r8,r8,56
        0x7ce74214,  # add r7,r7,r8
        *load(4, 0x71000000), li(5, 13), li(3, 0x58), 0x44000022,  # H_PUT_TERM_CHAR
        *store(token, 0), *store(2, 4), *store(1, 8), *store(0xffffffff, 12),
        *store(0xffffffff, 16), *store(0, 20),
        d_form(14, 4, 10, 0x800), *load(3, 0xf000), 0x44000022, 0x48000000]  # H_RTAS; b .


@pytest.mark.parametrize("endian", ["be", "le"])
@pytest.mark.parametrize("pie, megabytes", [(True, 4), (False, 0)])
def test_static_pie_leaves_the_vectors_alone(host: Host, scratch: str, endian: str, pie: bool,
                                             megabytes: int) -> None:
    """It clears the vectors first. A kernel that is linked to 0 must not do so."""
    code = address_printer(power_off_token(host))
    if not pie:
        code[3:9] = []
    path = put_kernel(host, scratch, "kernel", elf(code, pie=pie, endian=endian))
    result = host.run([host.path + "/bin/paprika", "run", "--kernel", path, "--no-sandbox"],
                      timeout=120)
    assert (result.rc, result.stdout) == (0, f"lies at {megabytes}MiB\n".encode()), result


def test_guest_memory_is_populated_as_it_is_touched(start) -> None:
    guest: Guest = start(memory="4G")
    guest.wait_ready()
    pid = guest.control.execute("query-cpus-fast")[0]["thread-id"]
    rss_kib = int(guest.host.run(
        ["sh", "-c", f"grep VmRSS /proc/{pid}/status"], check=True).stdout.split()[1])
    assert rss_kib < 1024 * 1024


def test_console_works_both_ways_and_takes_long_lines(start) -> None:
    guest: Guest = start()
    guest.wait_ready()
    # More than the 16 bytes of an hcall, less than the tty's line limit.
    text = "abcdefghij" * 30
    assert guest.sh(f"echo {text}") == text
    # More than any buffer in the other direction; every byte arrives.
    numbers = [str(number) for number in range(1, 14001)]
    assert guest.sh("seq 1 14000 > /tmp/n; tr '\\n' ' ' < /tmp/n").split() == numbers


def test_clock_is_the_hosts_and_settable(start) -> None:
    guest: Guest = start()
    guest.wait_ready()
    assert "20" in guest.sh("hwclock -r -u")
    guest.sh("date -u -s '2031-02-03 04:05:06' && hwclock -w -u")
    assert "2031" in guest.sh("hwclock -r -u")


def test_stray_access_reads_all_ones_and_the_guest_goes_on(start) -> None:
    guest: Guest = start()
    guest.wait_ready()
    assert guest.sh("devmem 0x200080000000 32").lower() == "0xffffffff"
    assert guest.sh("devmem 0x200080000000 32 5; echo on") == "on"
    metrics = guest.control.execute("query-metrics")
    assert metrics["stray-accesses"] >= 2
    assert b"where nothing is" in guest.process.stderr.peek()


def test_kvm_run_keeps_the_callers_registers(host: Host) -> None:
    """kvm-hv may return from KVM_RUN with the guest's FP and vector registers loaded."""
    result = host.run(["fp_probe"], timeout=300)
    assert result.rc == 0, result.stdout.decode()
    assert result.stdout.endswith(b" 0 clobbered\n")


# li r3,0; ori r3,r3,0xf000: H_RTAS. lis/ori r4: the block. sc 1. Then H_PUT_TERM_CHAR of "Y" if r3 is
# as expected, else of "N", and loop.
def rtas_with_block(address: int, expected: int) -> list[int]:
    return [
        0x38600000, 0x6063f000, 0x3c800000 | address >> 16, 0x60840000 | address & 0xffff,
        0x44000022,
        0x38c00059,                          # li r6,'Y'
        0x2c230000 | expected & 0xffff,      # cmpdi r3,expected
        0x41820008, 0x38c0004e,              # beq +8; li r6,'N'
        0x78c6c1c6,                          # sldi r6,r6,56
        0x38600058, 0x38800000, 0x38a00001,  # li r3,0x58; li r4,0; li r5,1
        0x44000022, 0x48000000]


@pytest.mark.parametrize("address, expected", [
    (0x7fff0000, -4),  # no RAM there
    (0x0ffffff8, -4),  # crosses the end of RAM
    (0x00000000, -4),  # in the code: nargs is a large number
    (0x0ffffff0, 0),   # a complete block with one result at the end of RAM; KVM reads 88 bytes
])
def test_bad_rtas_block_is_refused_and_the_machine_goes_on(start, host: Host, scratch: str,
                                                           address: int, expected: int) -> None:
    code = rtas_with_block(address, expected)
    if expected == 0:
        # stw token, nargs 0, nret 1 there first: li r7,1; lis r8,0xfff; ori r8; stw r7,8(r8)
        code = [0x38e00001, 0x3d000fff, 0x6108fff0, 0x90e80008] + code
    kernel = put_kernel(host, scratch, "rtas", elf(code))
    guest: Guest = start(kernel=kernel, initrd=False, memory="256M", append="")
    assert guest.read_console("[YN]")[0] == b"Y"
    assert guest.control.execute("query-status")["running"] is True


def test_power_off_ends_with_0(start) -> None:
    guest: Guest = start()
    guest.wait_ready()
    guest.type("poweroff")
    assert guest.control.wait_event("SHUTDOWN") == {"guest": True, "reason": "guest-shutdown"}
    assert guest.wait_exit() == 0
    assert guest.left_behind() == []


def test_system_powerdown_makes_the_guest_shut_down(start) -> None:
    guest: Guest = start()
    guest.wait_ready()
    guest.control.execute("system_powerdown")
    assert guest.wait_exit() == 0


def test_panic_ends_with_3(start) -> None:
    """6.1 passes the text to ibm,os-term; with 6.12 and 7.2 it is taken from the console."""
    guest: Guest = start()
    guest.wait_ready()
    guest.type("echo c > /proc/sysrq-trigger")
    assert "action" in guest.control.wait_event("GUEST_PANICKED")
    assert guest.wait_exit() == 3
    assert guest.left_behind() == []
    log = guest.process.stderr.read_until(re.compile(rb"the guest panicked: [^\n]*\n"), DEADLINE)
    assert b"sysrq triggered crash" in log


def test_reboot_starts_again_from_a_fresh_image(start) -> None:
    guest: Guest = start(cpus="boot=2,max=4")
    guest.wait_ready()
    # Twice in a row: test_cores.py.
    guest.type("reboot")
    assert guest.control.wait_event("RESET")["guest"] is True
    assert guest.wait_ready() == "0-1"


def test_system_reset_from_outside(start) -> None:
    guest: Guest = start(cpus="boot=4,max=4")
    guest.wait_ready()
    guest.control.execute("system_reset")
    assert guest.control.wait_event("RESET")["guest"] is False
    assert guest.wait_ready() == "0-3"


def test_quit_ends_with_0_and_answers_first(start, silent_kernel: str) -> None:
    guest: Guest = start(kernel=silent_kernel, initrd=False)
    assert guest.control.execute("quit") == {}
    assert guest.control.wait_event("SHUTDOWN")["guest"] is False
    assert guest.wait_exit() == 0
    assert guest.left_behind() == []


def test_stop_keeps_the_guest_still_and_cont_goes_on(start) -> None:
    guest: Guest = start(cpus="boot=2,max=2")
    guest.wait_ready()
    guest.control.execute("stop")
    assert guest.control.execute("query-status")["status"] == "paused"
    before = guest.control.execute("query-metrics")["hcalls"]
    guest.type("echo awake")
    assert guest.control.execute("query-metrics")["hcalls"] == before
    guest.control.execute("cont")
    guest.read_console("awake")
    guest.control.wait_event("STOP")
    guest.control.wait_event("RESUME")
    # A request for the present state causes no event.
    guest.control.execute("cont")
    assert guest.control.events == []
