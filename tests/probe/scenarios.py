# SPDX-License-Identifier: Apache-2.0
"""The questions to paprika and to QEMU's pseries machine, for the comparison of their answers.

A scenario is a name and lines, each a request of the operator or an act of the guest:

    add, remove, reset     a request of the operator; the answer is "ok" or "refused"
    guest STEP ...         steps on the connector of the core (guest-images/probe/README.md)
    add-memory, remove-memory, block STEP ...
                           the same for a memory device of one block
    fetch                  check-exception for hot-plug events
    hcall ...              the answer is the status only
    full hcall ...         the status, and r4 to r9
    any other command      of the probe

{i} stands for the connector's index, {core} for the core-id, {ram} for memory that may be used,
{end} for the end of memory. An answer is followed by the events that the operator got meanwhile: the
core has left the machine ("deleted"), or the guest has refused ("refused by the guest").
"""

from __future__ import annotations

# How to bring the connector of a core that is not plugged in into each of its states.
STATES = {
    "empty": [],
    "not taken": ["add"],
    "available": ["add", "guest usable"],
    "unisolated": ["add", "guest usable unisolate"],
    "configured": ["add", "guest usable unisolate configure"],
}
REMOVING = {f"{state}, removal pending": lines + ["remove"] for state, lines in STATES.items()
            if state not in ("empty", "not taken")}
CALLS = ["isolate", "unisolate", "usable", "unusable", "configure"]
TAKE = "guest usable unisolate configure"

STEPS = {f"{call}: {state}": lines + [f"guest {call}", "guest sense"]
         for state, lines in (STATES | REMOVING).items() for call in CALLS}

OPERATOR = {
    "removal of a core not taken": ["add", "remove", "fetch", "fetch"],
    "removal asked for twice": ["add", TAKE, "fetch", "remove", "remove", "fetch", "fetch"],
    "removal refused after isolation": ["add", TAKE, "remove", "guest isolate", "guest unisolate",
                                        "guest sense"],
    "release after that refusal": ["add", TAKE, "remove", "guest isolate", "guest unisolate",
                                   "guest isolate unusable"],
    "removal refused, then asked for again": ["add", TAKE, "remove", "guest unisolate", "remove",
                                              "guest isolate unusable"],
    "given back unasked, then taken again": ["add", TAKE, "guest isolate unusable sense", TAKE,
                                             "guest sense"],
    "given back unasked, then removed": ["add", TAKE, "guest isolate unusable", "remove"],
    "add that the guest gives up half-way": ["add", "guest usable unisolate configure:3",
                                             "guest isolate unusable sense", TAKE, "guest sense"],
    "description read twice": ["add", "guest usable unisolate configure configure sense"],
    "description begun anew": ["add", "guest usable unisolate configure:3 configure sense"],
    "thread started before it is configured": ["add", "guest usable start stop query"],
    "released with its thread running": ["add", TAKE, "guest start", "remove",
                                         "guest isolate unusable start"],
    "event fetched after it was answered": ["add", TAKE, "fetch", "remove",
                                            "guest isolate unusable", "fetch", "fetch"],
}

TAKE_BLOCK = "block usable unisolate configure"
MEMORY = {
    "memory: taken": ["add-memory", "block sense", TAKE_BLOCK, "block sense"],
    "memory: given up by the guest": ["add-memory", TAKE_BLOCK, "block isolate unusable sense"],
    "memory: isolated unasked": ["add-memory", TAKE_BLOCK, "block isolate", "block sense"],
    "memory: unusable without isolation": ["add-memory", TAKE_BLOCK, "block unusable sense"],
    "memory: removed": ["add-memory", TAKE_BLOCK, "remove-memory", "block isolate unusable sense"],
    "memory: removal refused by configuring again": [
        "add-memory", TAKE_BLOCK, "remove-memory", "fetch", "block configure",
        "block sense", "remove-memory"],
    "memory: removal refused by unisolating": [
        "add-memory", TAKE_BLOCK, "remove-memory", "fetch", "block unisolate",
        "block sense", "remove-memory"],
    "memory: removal asked for twice": ["add-memory", TAKE_BLOCK, "remove-memory",
                                        "remove-memory"],
    "memory: sensor of the first boot block": ["rtas get-sensor-state 2 232b 80000000"],
}

CPUS = {
    "query of a core that is not there": ["rtas query-cpu-stopped-state 2 {core}"],
    "query of a core there cannot be": ["rtas query-cpu-stopped-state 2 3f"],
    "start of a core that is not there": ["guest start"],
    "start of a core not taken": ["add", "guest start"],
    "start of the caller": ["rtas start-cpu 1 0 {ram} 0"],
    "start with two arguments": ["rtas start-cpu 1 {core} {ram}"],
    "query with one result": ["rtas query-cpu-stopped-state 1 {core}"],
}

SENSORS = {
    "indicator 9002": ["add", "rtas set-indicator 1 232a {i} 1"],
    "indicator of the operator panel": ["rtas set-indicator 1 6 0 0"],
    "isolation-state to 2": ["add", "rtas set-indicator 1 2329 {i} 2"],
    "allocation-state to 2": ["add", "rtas set-indicator 1 232b {i} 2"],
    "allocation-state to 3": ["add", "rtas set-indicator 1 232b {i} 3"],
    "indicator of no connector": ["rtas set-indicator 1 2329 10000fff 0"],
    "indicator of index 0": ["rtas set-indicator 1 2329 0 0"],
    "indicator with two arguments": ["rtas set-indicator 1 2329 {i}"],
    "indicator with four arguments": ["rtas set-indicator 1 2329 {i} 0 0"],
    "indicator with two results": ["rtas set-indicator 2 2329 {i} 0"],
    "sensor for power and environment": ["rtas get-sensor-state 2 9 0"],
    "sensor that is not there": ["rtas get-sensor-state 2 2328 {i}"],
    "sensor of no connector": ["rtas get-sensor-state 2 232b 10000fff"],
    "sensor with one result": ["rtas get-sensor-state 1 232b {i}"],
    "description of no connector": ["fill {ram} 1000 0", "rtas ibm,configure-connector 1 {ram} 0"],
    "description into no memory": ["rtas ibm,configure-connector 1 {end} 0"],
    "description with a second page": ["add", "guest usable unisolate", "fill {ram} 1000 0",
                                       "write {ram} {i}",
                                       "rtas ibm,configure-connector 1 {ram} 3000000"],
}

EVENTS = {
    "event fetched without one": ["fetch"],
    "event with room for 9 bytes": ["add", "fill {ram} 100 5a",
                                    "rtas check-exception 1 500 0 10000000 1 {ram} 9",
                                    "same 2000009 f0 5a"],
    "event into no memory": ["add", "rtas check-exception 1 500 0 10000000 1 {end} 800", "fetch"],
    "event of another kind": ["add", "rtas check-exception 1 500 0 80000000 1 {ram} 800", "fetch"],
    "event asked for with seven arguments": ["rtas check-exception 1 500 0 10000000 1 {ram} 800 0"],
    "event asked for with five arguments": ["rtas check-exception 1 500 0 10000000 1 {ram}"],
    "event scan without one": ["rtas event-scan 1 f0000000 0 {ram} 800"],
    "event scan with one": ["add", "rtas event-scan 1 f0000000 0 {ram} 800", "fetch"],
}

BLOCKS = {
    "service that is not there": ["rtas 7777 1 1 2"],
    "service that is not there, no result": ["rtas 7777 0 1 2"],
    "block at an odd address": ["write 2000001 {sense}0000000200000002{entity}{i}ffffffffffffffff",
                                "hcall f000 2000001", "read 2000015 8"],
    "block of 17 words": ["write {ram} {sense}0000001100000000", "hcall f000 {ram}"],
    "block of 4294967295 words": ["write {ram} {sense}ffffffff00000000", "hcall f000 {ram}"],
    "block behind memory": ["hcall f000 {end}"],
    "block above 4 GiB": ["write {ram} {sense}0000000200000002{entity}{i}ffffffffffffffff",
                          "hcall f000 102000000", "read 2000014 8"],
}

SYSTEM = {
    "system parameter 20": ["rtas ibm,get-system-parameter 1 14 {ram} 100"],
    "system parameter 20 in 5 bytes": ["fill {ram} 8 5a",
                                       "rtas ibm,get-system-parameter 1 14 {ram} 5",
                                       "read 2000002 6"],
    "system parameter 20 in 1 byte": ["rtas ibm,get-system-parameter 1 14 {ram} 1"],
    "system parameter 42": ["rtas ibm,get-system-parameter 1 2a {ram} 100", "read {ram} 3"],
    "system parameter 48": ["rtas ibm,get-system-parameter 1 30 {ram} 100", "read {ram} 2"],
    "system parameter 55": ["rtas ibm,get-system-parameter 1 37 {ram} 100"],
    "system parameter that is not there": ["rtas ibm,get-system-parameter 1 1000 {ram} 100"],
    "system parameter set": ["rtas ibm,set-system-parameter 1 14 {ram}"],
    "clock set to month 13": ["rtas set-time-of-day 1 7e4 d 1 0 0 0 0"],
    "clock set to the year 1": ["rtas set-time-of-day 1 1 1 1 0 0 0 0"],
    "clock set with six arguments": ["rtas set-time-of-day 1 7e4 1 1 0 0 0"],
    "clock read with one result": ["rtas get-time-of-day 1"],
}

HCALLS = {
    # Before the process table is set: QEMU aborts at these calls after that.
    "calls for a hash table": ["hcall 4", "hcall 8", "hcall c", "hcall 18", "hcall 124"],
    "print 17 characters": ["hcall 58 71000000 11"],
    "print on no terminal": ["hcall 58 71000001 0"],
    "print on terminal 0": ["hcall 58 0 0"],
    "read from no terminal": ["hcall 54 71000001"],
    "mode: resource 0": ["hcall 31c 0 0"],
    "mode: resource 6": ["hcall 31c 0 6"],
    "mode: byte order 2": ["hcall 31c 2 4"],
    "mode: byte order with a value": ["hcall 31c 0 4 1"],
    "mode: byte order with a second value": ["hcall 31c 0 4 0 1"],
    "mode: byte order there and back": ["hcall 31c 1 4", "hcall 31c 0 4"],
    "mode: interrupt location 1": ["hcall 31c 1 3"],
    "mode: interrupt location 2": ["hcall 31c 2 3"],
    "mode: interrupt location 4": ["hcall 31c 4 3"],
    "mode: interrupt location there and back": ["hcall 31c 3 3", "hcall 31c 0 3"],
    "process table: unknown flag": ["hcall 37c 20"],
    "process table: hash": ["hcall 37c 1a 2000000 0 0"],
    "process table: no operation": ["hcall 37c 8"],
    "process table: unaligned": ["hcall 37c 1d 2000800 0 4"],
    "process table: too large": ["hcall 37c 1d 2000000 0 19"],
    "process table: behind memory": ["hcall 37c 1d {end} 0 4"],
    "process table: there and off again": ["hcall 37c 1d 2000000 0 4", "hcall 37c 10"],
    "call that is not there": ["hcall 5fc", "hcall f0fc"],
    "register SPRG0": ["hcall 24 cafebabedeadbeef", "sprg0", "hcall 24 0", "sprg0"],
    "page cleared": ["fill {ram} 1000 5a", "hcall 2c 8000 {ram}", "same {ram} 1000 0"],
    "page copied": ["fill {ram} 1000 0", "fill 2001000 1000 5a", "hcall 2c 4000 {ram} 2001000",
                    "same {ram} 1000 5a"],
    "page cleared, unaligned": ["hcall 2c 8000 2000123"],
    "random number": ["hcall 300"],
    "domains of a processor": ["full hcall 2ec 1 0"],
    "domains of no processor": ["hcall 2ec 1 3f"],
    "domains by no known flag": ["hcall 2ec 0 0", "hcall 2ec 2 0"],
    "join of the only processor": ["hcall 298"],
    "system reset of no processor": ["hcall 380 270f"],
    "calls of virtual I/O": ["hcall fc", "hcall 100", "hcall 104", "hcall 108", "hcall 114",
                             "hcall 118", "hcall 11c", "hcall 120", "hcall 130", "hcall 134",
                             "hcall 2b0"],
    "calls of the I/O memory manager": ["hcall 1c", "hcall 20", "hcall 138", "hcall 13c"],
    "loads and stores of devices": ["hcall 3c", "hcall 40"],
    "calls of cache lines": ["hcall 44", "hcall 48", "hcall 4c", "hcall 50"],
    "resize of the hash table": ["hcall 37c 1d 2000000 0 4", "hcall 37c 10", "hcall 36c",
                                 "hcall 370"],
    "calls of persistent memory": ["hcall 3e4", "hcall 3e8", "hcall 3ec", "hcall 3f0", "hcall 3fc",
                                   "hcall 400", "hcall 44c"],
    "calls of nested guests": ["hcall f800", "hcall f804", "hcall f808", "hcall f80c"],
    "calls of secure guests": ["hcall ef00", "hcall ef04", "hcall ef08", "hcall ef0c", "hcall ef14"],
    "breakpoint register": ["hcall 28"],
    "interrupt taken with its time": ["hcall 2fc"],
    "processor woken": ["hcall e8 0"],
    "watchdog": ["hcall 45c"],
    "calls for a boot program": ["hcall f001 1 2 3 4 5", "hcall f003 0", "hcall f005 0"],
}

RESETS = {
    "reset with a removal pending": ["add", TAKE, "remove", "reset", "guest sense", "fetch"],
    "reset with an add pending": ["add", "reset", "guest sense", "guest configure", "fetch"],
    "reset of a core given back": ["add", TAKE, "guest isolate unusable", "reset", "guest sense"],
}

SERVICES = [
    "display-character", "get-time-of-day", "set-time-of-day", "power-off", "system-reboot",
    "query-cpu-stopped-state", "start-cpu", "stop-self", "ibm,get-system-parameter",
    "ibm,set-system-parameter", "ibm,set-xive", "ibm,get-xive", "ibm,int-off", "ibm,int-on",
    "check-exception", "event-scan", "rtas-last-error", "nvram-fetch", "nvram-store",
    "read-pci-config", "write-pci-config", "ibm,read-pci-config", "ibm,write-pci-config",
    "set-indicator", "get-sensor-state", "ibm,configure-connector", "set-power-level",
    "get-power-level", "ibm,os-term", "ibm,suspend-me", "ibm,nmi-register", "ibm,nmi-interlock",
    "ibm,change-msi", "ibm,query-interrupt-source-number", "get-indices", "quiesce",
    "ibm,configure-pe", "ibm,create-pe-dma-window", "ibm,get-config-addr-info2",
    "ibm,query-pe-dma-window", "ibm,read-slot-reset-state2", "ibm,remove-pe-dma-window",
    "ibm,reset-pe-dma-window", "ibm,set-eeh-option", "ibm,set-slot-reset", "ibm,set-tce-bypass",
    "ibm,slot-error-detail",
]

SCENARIOS: dict[str, list[str]] = (
    STEPS | OPERATOR | MEMORY | CPUS | SENSORS | EVENTS | BLOCKS | SYSTEM | HCALLS
    | {f"service {name}": [f"there {name}"] for name in SERVICES} | RESETS)
