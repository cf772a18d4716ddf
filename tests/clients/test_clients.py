# SPDX-License-Identifier: Apache-2.0
"""What people have at hand, against the real socket: socat, jq, and paprikactl."""

from __future__ import annotations

import json
import os
import select
import subprocess

CTL = os.environ["PAPRIKACTL"]


def socat(path: str, text: str) -> list[dict]:
    """What a one-off shell script does: send, read until the server has answered and closed."""
    # -t: how long socat waits for the answer after its input has ended; it returns at once when
    # the server closes, which it does when all replies are out.
    output = subprocess.run(["socat", "-t", "60", "-", f"UNIX-CONNECT:{path}"], input=text,
                            capture_output=True, text=True, check=True, timeout=90).stdout
    return [json.loads(line) for line in output.splitlines()]


def ctl(path: str, *arguments: str) -> tuple[int, str]:
    result = subprocess.run([CTL, "--socket", path, *arguments], capture_output=True, text=True,
                            timeout=90)
    return result.returncode, result.stdout + result.stderr


def test_socat_script(socket_path: str) -> None:
    replies = socat(socket_path, '{"execute":"qmp_capabilities"}\n'
                    '{"execute":"query-status","id":1}\r\n'
                    '{"execute":"query-hotpluggable-cpus","id":{"a":[null]}}\n')
    assert set(replies[0]["QMP"]["version"]["qemu"]) == {"major", "minor", "micro"}
    assert replies[1] == {"return": {}}
    assert (replies[2]["id"], replies[2]["return"]["status"]) == (1, "running")
    assert replies[3]["id"] == {"a": [None]}
    assert [row["props"]["core-id"] for row in replies[3]["return"]] == [3, 2, 1, 0]


def test_jq_reads_every_line(socket_path: str) -> None:
    script = (f"printf '%s\\n' '{{\"execute\":\"qmp_capabilities\"}}' "
              f"'{{\"execute\":\"query-commands\"}}' | socat -t 60 - UNIX-CONNECT:{socket_path} | "
              "jq -r 'select(.return | type == \"array\") | .return[].name'")
    names = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True,
                           timeout=90).stdout.split()
    assert {"device_add", "device_del", "query-operations", "operation-cancel", "quit"} <= set(names)


def test_broken_lines_between_good_ones(socket_path: str) -> None:
    replies = socat(socket_path, '{"execute":"qmp_capabilities"}\n{"execute": \n'
                    '[1,2]\n{"execute":"no-such","id":7}\n{"execute":"query-name","id":8}\n')
    kinds = [("error" if "error" in reply else "return", reply.get("id")) for reply in replies[1:]]
    assert kinds[0] == ("return", None) and kinds[-1] == ("return", 8)
    assert ("error", 7) in kinds


def test_operations_are_told_however_many_there_are(socket_path: str) -> None:
    """Oldest first; and what sorts them needs nothing that the sandbox refuses."""
    requests = "".join(
        '{"execute":"device_add","arguments":{"driver":"host-spapr-cpu-core","core-id":2}}'
        '{"execute":"device_del","arguments":{"id":"core2"}}' for _ in range(60))
    replies = socat(socket_path, '{"execute":"qmp_capabilities"}' + requests +
                    '{"execute":"query-operations","arguments":{"count":64},"id":1}')
    told = next(reply["return"] for reply in replies if reply.get("id") == 1)
    assert [operation["id"] for operation in told] == list(range(1, 65))


def test_two_clients_see_the_same_events(vmm) -> None:
    with subprocess.Popen([CTL, "--socket", vmm.path, "--json", "events", "--follow"],
                          stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        # It listens once it has heard something; until then there is something to hear.
        while not select.select([follower.stdout], [], [], 0)[0]:
            assert ctl(vmm.path, "stop")[0] == 0
            assert ctl(vmm.path, "cont")[0] == 0
        assert ctl(vmm.path, "cpu", "add", "2")[0] == 0
        assert ctl(vmm.path, "cpu", "remove", "core2", "--wait")[0] == 0
        vmm.end()
        names = [json.loads(line)["event"] for line in follower.stdout]
    names = names[names.index("OPERATION"):]
    assert names.count("DEVICE_DELETED") == 1
    assert names[-1] == "SHUTDOWN"


def test_paprikactl_without_a_server(tmp_path) -> None:
    status, text = ctl(str(tmp_path / "none"), "status")
    assert status == 1 and "none" in text
