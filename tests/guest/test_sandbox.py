# SPDX-License-Identifier: Apache-2.0
"""The sandbox with a real guest. (All other guest tests run in it, too.)"""

from __future__ import annotations

import re

import pytest

from guest import DEADLINE, Control, Guest, initrd_of
from host_api import Host


def field(guest: Guest, name: str) -> dict[str, str]:
    """A field of /proc/PID/task/TID/status for each thread of the VMM, by the thread's name."""
    pid = guest.control.execute("query-cpus-fast")[0]["thread-id"]
    text = guest.host.run(["sh", "-c", f"cat /proc/{pid}/task/*/status"],
                          check=True).stdout.decode()
    values = re.findall(rf"^Name:\s(\S+)$.*?^{name}:\s(\S+)$", text, re.M | re.S)
    assert len(values) > 1
    return dict(values)


def test_every_row_holds_and_nothing_else(host: Host) -> None:
    result = host.run([host.path + "/bin/sandbox_rows"], timeout=DEADLINE)
    said = result.stdout.decode().strip()
    assert result.rc == 0, said
    assert re.search(r"\d{3,} probes, 0 problems$", said), said


def test_files_that_may_be_removed(host: Host, scratch: str) -> None:
    host.run(["mkdir", scratch + "/beside", scratch + "/elsewhere"], check=True)
    host.run(["touch", scratch + "/beside/socket", scratch + "/elsewhere/file"], check=True)
    said = host.run([host.path + "/bin/sandbox_inside", scratch + "/beside/socket",
                     scratch + "/elsewhere/file"], check=True).stdout.decode().splitlines()
    if said[0] == "without Landlock: done":
        pytest.skip("this host's kernel has no Landlock, or has not enabled it")
    assert said == ["with Landlock: done", "elsewhere: EACCES", "beside: done"]


def test_threads_and_files_of_a_running_guest(start, host: Host) -> None:
    guest: Guest = start(cpus="boot=2,max=3")
    guest.wait_ready()
    assert field(guest, "Seccomp_filters") == {"paprika": "1", "vcpu0": "1", "vcpu1": "1"}
    assert guest.add(2)["outcome"] == "done"
    assert field(guest, "Seccomp_filters")["vcpu2"] == "2"
    assert set(field(guest, "NoNewPrivs").values()) == {"1"}
    pid = guest.control.execute("query-cpus-fast")[0]["thread-id"]
    script = f"cd /proc/{pid}/fd && for fd in *; do [ $fd -le 2 ] || readlink $fd; done"
    listed = host.run(["sh", "-c", script], check=True).stdout.decode().splitlines()
    kinds = sorted(re.sub(r"\[\d+\]", "", kind) for kind in listed)
    # Two listening sockets with a client each; the rest belongs to the machine.
    assert kinds == sorted([
        guest.kernel, initrd_of(host), "/dev/kvm", "anon_inode:kvm-vm",
        "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]",
        "socket:", "socket:", "socket:", "socket:",
        *(f"anon_inode:kvm-vcpu:{n}" for n in range(3)),
        *(kind for kind in kinds if re.fullmatch(r"anon_inode:.*xi(cs|ve).*", kind))])


@pytest.mark.parametrize("device, option", [("mknod -m 666 /dev/kvm c 10 232", ""),
                                            ("true", "--kvm-fd 9")],
                         ids=["opens it", "is given it"])
def test_an_ordinary_user_who_may_use_kvm(host: Host, scratch: str, device: str,
                                          option: str) -> None:
    """And cannot read its own process's files."""
    options = (f"run --kernel {host.path}/vmlinux --initrd {host.path}/initrd {option} "
               f"--cpus boot=1,max=2 --console none --control {scratch}/control --log-level info")
    script = (f"exec 9<>/dev/kvm; exec unshare -m sh -c 'mount -t tmpfs none /dev && {device} && "
              f"mknod -m 666 /dev/null c 1 3 && exec as_nobody {host.path}/bin/paprika {options}'")
    with host.popen(["sh", "-c", script]) as process:
        process.stderr.read_until(re.compile(rb"guest .* started"), DEADLINE)
        control = Control(host.connect_unix(scratch + "/control"))
        pid = control.execute("query-cpus-fast")[0]["thread-id"]
        status = host.run(["cat", f"/proc/{pid}/status"], check=True).stdout.decode()
        assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.M)
        peek = host.run(["as_nobody", "/bin/busybox", "cat", f"/proc/{pid}/environ"])
        assert peek.rc != 0 and b"ermission denied" in peek.stderr
        # The guest handles events once it is up.
        number = control.execute("device_add", driver="host-spapr-cpu-core", core_id=1,
                                 id="core1")["operation"]
        assert control.wait_end(number)["outcome"] == "done"
        control.execute("system_reset")
        control.execute("quit")
        control.close()
        assert process.wait(DEADLINE) == 0
    assert host.run(["ls", scratch], check=True).stdout == b""


@pytest.mark.parametrize("redirection, words", [
    ("", "not open"), ("9</dev/null", "not /dev/kvm"), ("9</etc/hostname", "not /dev/kvm"),
    ("9</dev", "not /dev/kvm")])
def test_a_descriptor_that_is_not_kvm(host: Host, redirection: str, words: str) -> None:
    result = host.run(
        ["sh", "-c", f"[ -e /etc/hostname ] || {{ mkdir -p /etc; echo lab >/etc/hostname; }}; "
         f"exec {host.path}/bin/paprika run --kernel {host.path}/vmlinux --console none "
         f"--kvm-fd 9 {redirection}"], timeout=DEADLINE)
    said = result.stderr.decode()
    assert result.rc == 2 and words in said and "--kvm-fd" in said, said
    assert len(said.splitlines()) == 1 and "; " in said
