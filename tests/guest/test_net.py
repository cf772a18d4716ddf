# SPDX-License-Identifier: Apache-2.0
"""Networks of real guests: passt as an ordinary user, a socket, a tap.

A web server on the host has a file, which the guest fetches and whose digest it compares.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from guest import DEADLINE, Guest
from guest_disks import ctl, slots
from host_api import Host, is_direct
from test_disks import power_off

Starter = Callable[..., Guest]

# The lab host has nothing that gives a user the rights to its devices.
NOBODY = ("unshare", "-m", "sh", "-c",
          'chmod 777 /tmp/paprika-test-* && mount -t tmpfs none /dev && mknod -m 666 /dev/kvm c 10 232 && '
          'mknod -m 666 /dev/null c 1 3 && exec as_nobody "$@"', "sh")
# What udhcpc runs: the guest has no other place to keep an address.
DHCP = (r"""printf '#!/bin/sh\n[ "$1" != bound ] || { ip addr add $ip/$mask dev $interface; """
        r"""ip route add default via $router; echo "bound $ip $router"; }\n' > /tmp/bound; chmod 755 /tmp/bound; """
        "ip link set eth0 up; udhcpc -q -n -i eth0 -t 10 -s /tmp/bound")
MEGABYTES = 1

pytestmark = pytest.mark.skipif(is_direct(), reason="sets up networks of the host, which must be the lab's")


@pytest.fixture
def web(host: Host, scratch: str) -> Iterator[tuple[int, str]]:
    """A web server of the host: its port, and the SHA-256 of /file."""
    content = hashlib.sha256(scratch.encode()).digest() * (MEGABYTES << 15)
    host.run(["sh", "-c", f"cat > {scratch}/file"], content, check=True)
    with host.popen(["httpd", "-f", "-p", "8080", "-h", scratch]) as server:
        yield 8080, hashlib.sha256(content).hexdigest()
        server.kill()
        server.wait(DEADLINE)


def carrier(guest: Guest) -> str:
    return guest.sh("cat /sys/class/net/eth0/carrier")


def troubles(guest: Guest) -> str:
    """Lines of the guest's kernel log that say of trouble; picked in the guest, whose console is slow."""
    return guest.sh("dmesg -r | grep -E 'WARN|[Cc]all [Tt]race|BUG|Oops|^<[0-3]>' | grep -vE ' (nvram|SED): ' || true")


def passts(host: Host) -> list[str]:
    return host.run(["sh", "-c", "pidof passt || true"]).stdout.decode().split()


def wait_no_passt(host: Host) -> None:
    host.run(["sh", "-c", "while pidof passt; do usleep 10000; done"], timeout=DEADLINE, check=True)


@contextmanager
def passt_at(host: Host, path: str) -> Iterator[None]:
    """A passt that somebody else has started. As root it changes to nobody."""
    host.run(["chmod", "777", path.rpartition("/")[0]], check=True)
    with host.popen(["passt", "--foreground", "--socket", path]) as passt:
        host.run(["sh", "-c", f"until [ -S {path} ]; do usleep 10000; done"], timeout=DEADLINE, check=True)
        yield
        passt.kill()
        passt.wait(DEADLINE)
    host.run(["rm", "-f", path], check=True)


def fetch(guest: Guest, address: str, port: int, digest: str) -> None:
    said = guest.sh(f"wget -q -O - http://{address}:{port}/file | sha256sum", 300)
    assert said.split()[0] == digest, said


def test_passt_as_an_ordinary_user(start: Starter, host: Host, web: tuple[int, str]) -> None:
    """An address by DHCP, a file from the host; then passt is killed, and the guest lives."""
    host.run(["chmod", "755", host.path], check=True)
    guest: Guest = start("--net", "passt,mac=52:54:00:12:34:56", prefix=NOBODY)
    guest.wait_ready()
    assert guest.sh("cat /sys/class/net/eth0/address") == "52:54:00:12:34:56"
    bound = re.search(r"bound (\S+) (\S+)", guest.sh(DHCP, 120))
    assert bound and bound[1] == "10.0.2.15"
    fetch(guest, bound[2], *web)
    assert troubles(guest) == ""
    assert carrier(guest) == "1"
    host.run(["kill", "-KILL", *passts(host)], check=True)
    lost = guest.control.wait_event("NET_LINK_LOST")
    assert lost["device"] == "net0" and "closed" in lost["reason"]
    guest.control.wait_event("NETDEV_STREAM_DISCONNECTED", lambda data: data["netdev-id"] == "net0")
    guest.sh("until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do usleep 10000; done")
    guest.sh("ip link set eth0 down; ip link set eth0 up")
    power_off(guest)


def test_passt_ends_with_the_guest(start: Starter, host: Host) -> None:
    guest: Guest = start("--net", "passt", "--net", "passt")
    assert len(passts(host)) == 2
    guest.wait_ready()
    addresses = set(guest.sh("cat /sys/class/net/eth*/address").split())
    assert len(addresses) == 2 and all(int(address[:2], 16) & 3 == 2 for address in addresses)
    power_off(guest)
    wait_no_passt(host)


@pytest.mark.long
def test_a_socket(start: Starter, host: Host, scratch: str, web: tuple[int, str]) -> None:
    """A passt that somebody else has started; the guest reboots, and goes on with it."""
    path = scratch + "/passt"
    with passt_at(host, path):
        guest: Guest = start("--net", f"unix={path},mtu=1400,id=lan")
        for boot in (1, 2):
            guest.wait_ready()
            assert guest.sh("cat /sys/class/net/eth0/mtu") == "1400"
            bound = re.search(r"bound (\S+) (\S+)", guest.sh(DHCP, 120))
            assert bound
            fetch(guest, bound[2], *web)
            guest.control.execute("system_reset" if boot == 1 else "quit")
        guest.wait_exit()


@pytest.mark.long
def test_one_comes_and_goes(start: Starter, host: Host, scratch: str, web: tuple[int, str]) -> None:
    """Added to a running guest by paprikactl, twice; its link is taken down and up."""
    path = scratch + "/passt"
    guest: Guest = start("--hotplug-ports", "1", "--unplug-deadline", "60")
    guest.wait_ready()
    for _ in range(2):
        with passt_at(host, path):
            ctl(guest, "net", "add", f"unix={path}", "--id", "lan", "--wait")
            assert slots(guest)["lan"]["driver"] == "virtio-net-pci"
            bound = re.search(r"bound (\S+) (\S+)", guest.sh(DHCP, 120))
            assert bound
            fetch(guest, bound[2], *web)
            guest.control.execute("set_link", name="lan", up=False)
            guest.sh("until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do usleep 10000; done")
            guest.control.execute("set_link", name="lan", up=True)
            guest.sh("until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do usleep 10000; done")
            fetch(guest, bound[2], *web)
            ctl(guest, "net", "remove", "lan", "--wait")
            guest.sh("! ls /sys/class/net/eth0 2> /dev/null")
            assert guest.control.execute("query-netdevs") == []
    assert troubles(guest) == ""
    power_off(guest)


def make_tap(host: Host, name: str, queues: int = 1) -> None:
    host.run(["make_tap", name, str(queues)], check=True)
    host.run(["ip", "addr", "add", "192.168.7.1/24", "dev", name], check=True)
    host.run(["ip", "link", "set", name, "up"], check=True)


def remove_tap(host: Host, name: str) -> None:
    host.run(["ip", "link", "del", name])


@pytest.mark.parametrize("queues", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_tap(start: Starter, host: Host, web: tuple[int, str], queues: int) -> None:
    make_tap(host, "lab0", queues)
    try:
        guest: Guest = start("--net", f"tap=lab0,queues={queues}", cpus="boot=2,max=2")
        guest.wait_ready()
        guest.sh("ip addr add 192.168.7.2/24 dev eth0; ip link set eth0 up")
        guest.sh("ping -c 3 -w 30 192.168.7.1")
        fetch(guest, "192.168.7.1", *web)
        assert troubles(guest) == ""
        remove_tap(host, "lab0")
        assert guest.control.wait_event("NET_LINK_LOST")["device"] == "net0"
        guest.sh("until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do usleep 10000; done")
        power_off(guest)
    finally:
        remove_tap(host, "lab0")


def test_networks_that_cannot_be_used(host: Host, scratch: str, silent_kernel: str) -> None:
    """One line with a remedy for each."""
    from test_cli import complain

    def refused(rc: int, net: str, *words: str) -> None:
        status, line = complain(host, scratch, "--kernel", silent_kernel, "--console", "none", "--net", net)
        assert status == rc and all(word in line for word in words), (status, line)

    refused(5, "tap=nowhere", "nowhere", "ip tuntap add")
    refused(1, f"unix={scratch}/none", "none", "start what listens")
    refused(2, "fd=0", "3")
    refused(2, "passt,mac=01:00:00:00:00:00", "mac")
