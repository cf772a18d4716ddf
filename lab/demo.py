# SPDX-License-Identifier: Apache-2.0
"""The demo: boots a stock Linux guest from a disk, adds a core, removes it, has a removal refused, and
asks again; then the same with memory, which the guest refuses without a word; then adds a second disk, and
removes it in the middle of its use. It prints what the guest and the control socket report, and ends with
status 1 if anything differs from what it announces."""

from __future__ import annotations

import sys
import time
from typing import Any

import guest_disks
import guest_memory
from guest import Guest, scratch_directory
from host_api import Host, LabError


def say(text: str = "") -> None:
    print(text, flush=True)


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"demo: this should not happen: {what}")


def show_guest(guest: Guest) -> None:
    say(f"      the guest's own view: CPUs online {guest.online()}")


def show_end(operation: dict[str, Any]) -> None:
    evidence = operation["evidence"]
    say(f"      operation {operation['id']}: {operation['kind']} of {operation['device']}: "
        f"{operation['outcome']} after {evidence['elapsed-ms']} ms")
    steps = ", ".join(f"{step['step']} {step['at-ms']}" for step in operation["steps"]
                      if step["step"] not in ("requested", "ended"))
    say(f"      steps (ms): {steps}")


def show_evidence(operation: dict[str, Any]) -> None:
    evidence = operation["evidence"]
    say(f"      evidence: RTAS {evidence['call']}, indicator {evidence['indicator']} "
        f"set to {evidence['value']}, by vCPU {evidence['vcpu']}, in phase "
        f"\"{evidence['phase']}\"; {evidence['threads-running']} of {evidence['threads']} "
        "threads of the core running")
    if evidence.get("inferred"):
        say(f"      inferred: {evidence['inferred']}")


def add(guest: Guest, core: int) -> None:
    say(f"    > device_add driver=host-spapr-cpu-core core-id={core} id=core{core}")
    ended = guest.add(core)
    show_end(ended)
    expect(ended["outcome"] == "done", "the core was not added")
    guest.wait_online("0-1")
    show_guest(guest)


def remove(guest: Guest, core: int) -> dict[str, Any]:
    say(f"    > device_del id=core{core}")
    ended = guest.remove(core)
    show_end(ended)
    return ended


def tell_of_disks(guest: Guest, image: str) -> None:
    say("7. A second disk: it is added, and written to by two processes past the guest's page cache.")
    say("   In the middle of that it is removed. Linux' own tools in the guest do both.")
    say("    > paprikactl disk add data.img --id data --wait")
    added = guest_disks.add(guest, image)
    show_end(added)
    guest_disks.start_churn(guest, "/dev/vdb", 2)
    say("    > paprikactl disk remove data --wait")
    removed = guest_disks.remove(guest)
    show_end(removed)
    done = guest_disks.end_churn(guest)
    say(f"      the guest's own view: {done['writes']} writes and {done['reads']} reads, all answered; "
        f"{done['errors']} of them found the disk gone")
    expect(done["writes"] > 0 and done["errors"] > 0, "the disk was not in use")
    found = guest_disks.churned(guest.host, image)
    say(f"      the image on the host: {found['written']} blocks written, {found['torn']} torn")
    expect(found["written"] > 0 and found["torn"] == 0, "a write was torn")


def tell(guest: Guest, image: str) -> None:
    say("1. Boot: a stock Debian kernel, a disk with Debian's tools, one CPU core, room for four")
    began = time.monotonic()
    online = guest.wait_ready()
    say(f"      shell after {time.monotonic() - began:.1f} s; " + guest.sh("uname -sr"))
    expect(online == "0", "more than one CPU")
    show_guest(guest)

    say("2. Add core 1")
    add(guest, 1)

    say("3. Remove it again")
    expect(remove(guest, 1)["outcome"] == "done", "the core was not removed")
    show_guest(guest)

    say("4. A removal the guest cannot carry out: core 1 comes back, the guest takes CPU 0")
    say("   offline, and core 1 is asked for. Its last CPU is there.")
    add(guest, 1)
    guest.set_online(0, False)
    show_guest(guest)
    refused = remove(guest, 1)
    expect(refused["outcome"] == "rejected", "the guest did not refuse")
    show_evidence(refused)
    event = guest.control.wait_event("DEVICE_UNPLUG_GUEST_ERROR")
    say(f"      event DEVICE_UNPLUG_GUEST_ERROR for {event['device']}; nothing has changed:")
    show_guest(guest)

    say("5. CPU 0 comes back, and the same request works")
    guest.set_online(0, True)
    expect(remove(guest, 1)["outcome"] == "done", "the retry failed")
    show_guest(guest)

    say("6. Memory: a block is added. Its driver is made to fail (notifier error injection), and")
    say("   the removal is asked for. Linux makes no call; the fence behind the request proves that")
    say("   it has given up.")
    [added] = guest.set_memory(3)
    show_end(added)
    expect(added["outcome"] == "done", "the block was not added")
    guest_memory.inject(guest, "MEM_GOING_OFFLINE", -16)
    [refused] = guest.set_memory(2)
    show_end(refused)
    expect((refused["outcome"], refused["evidence"]["source"]) == ("rejected", "fence"),
           "the guest did not refuse")
    say(f"      evidence: {refused['evidence']['inferred']}")
    expect(guest_memory.online(guest) == [0, 1, 2], "a refusal has changed something")
    guest_memory.inject(guest, "MEM_GOING_OFFLINE", 0)
    say("   Without the fault the same request works.")
    [removed] = guest.set_memory(2)
    show_end(removed)
    expect(removed["outcome"] == "done", "the retry failed")

    tell_of_disks(guest, image)

    say("8. Power off")
    guest.type("poweroff")
    status = guest.wait_exit()
    say(f"      paprika ended with status {status}")
    expect(status == 0, "power-off is status 0")


def main() -> None:
    try:
        host = Host.open()
        with scratch_directory(host) as directory:
            root = guest_disks.put_root(host, directory)
            image = guest_disks.make(host, directory, "data.img", guest_disks.KIB << 10)
            with Guest(host, "--disk", f"file={root},id=root", memory="size=512M,max=1G",
                       append=f"{guest_disks.ROOT} {guest_memory.MOVABLE}") as guest:
                tell(guest, image)
    except LabError as error:
        sys.exit(f"demo: {error}")
    say()
    say("An interactive guest:        ./lab/interactive      (Ctrl-A x ends it)")
    say("its cores, second terminal:  ./lab/host run paprikactl --socket /tmp/guest.sock cpu list")
    say("stop the emulated host:      ./lab/host down")


main()
