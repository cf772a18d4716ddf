# SPDX-License-Identifier: Apache-2.0
"""What people have at hand, against the real socket: socat, jq, and paprikactl."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import qmp_types
from conftest import FAKE, Vmm

CTL = os.environ["PAPRIKACTL"]


def socat(path: str, text: str) -> list[dict]:
    """What a one-off shell script does: send, read until the server has answered and closed."""
    # -t: how long socat waits for the answer after its input has ended; it returns at once when
    # the server closes, which it does when all replies are out.
    output = subprocess.run(["socat", "-t", "60", "-", f"UNIX-CONNECT:{path}"], input=text,
                            capture_output=True, text=True, check=True, timeout=90).stdout
    answers = [json.loads(line) for line in output.splitlines()]
    types = qmp_types.Client(subscribed=False)
    for answer in answers:
        types.check(answer)
    return answers


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
                    '{"execute":"query-operations","id":1}'
                    '{"execute":"query-operations","arguments":{"start":3,"count":64},"id":2}')
    told = {reply["id"]: [operation["id"] for operation in reply["return"]]
            for reply in replies if "id" in reply}
    assert told == {1: list(range(1, 121)), 2: list(range(3, 67))}
    assert ctl(socket_path, "operations")[1].count("add ") == 60


def resident(process: subprocess.Popen) -> int:
    """Bytes of its own memory, that is not of files or shared."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    match = re.search(r"^RssAnon:\s+(\d+) kB", status, re.M)
    assert match
    return int(match[1]) << 10


def test_2048_vcpus(tmp_path: Path) -> None:
    vmm = Vmm(tmp_path, cpus="boot=2048,max=2048")
    try:
        assert ctl(vmm.path, "status")[1].splitlines()[2] == "vcpus    2048, 1 of them running"
        before = resident(vmm.process)
        status, text = ctl(vmm.path, "cpu", "list")
        assert status == 0 and [line.split()[0] for line in text.splitlines()[1:]] == [
            str(core) for core in range(2048)]
        queries = ("query-cpus-fast", "query-hotpluggable-cpus", "query-connectors")
        replies = socat(vmm.path, '{"execute":"qmp_capabilities"}' + "".join(
            f'{{"execute":"{query}","id":"{query}"}}' for query in queries))
        assert [len(reply["return"]) for reply in replies[2:]] == [2048] * 3
        # A sanitizer keeps what is freed, to see it used.
        if "--no-sandbox" not in FAKE:
            assert resident(vmm.process) - before < 300_000
    finally:
        vmm.end()


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


class OtherServer:
    """Answers one client: the greeting, then what each command gets; the rest is unknown. Of a list
    of answers each is given once; a tuple is an answer and the events that follow it."""

    def __init__(self, path: str, version: dict, answers: dict) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self.serve, args=(version, answers))
        self.thread.start()

    def serve(self, version: dict, answers: dict) -> None:
        connection, _ = self.listening.accept()
        with connection, connection.makefile("rw") as lines:
            print(json.dumps({"QMP": {"version": version, "capabilities": []}}), file=lines, flush=True)
            for line in lines:
                self.asked.append(json.loads(line)["execute"])
                unknown = {"error": {"class": "CommandNotFound", "desc":
                                     f"The command {self.asked[-1]} has not been found"}}
                answer = answers.get(self.asked[-1], unknown)
                if isinstance(answer, list):
                    answer = answer.pop(0)
                for part in answer if isinstance(answer, tuple) else (answer,):
                    print(json.dumps(part), file=lines)
                lines.flush()

    def end(self) -> None:
        self.thread.join()
        self.listening.close()


QEMU = {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian 1:7.2"}


@pytest.mark.parametrize("version, answers, arguments, status, text", [
    (QEMU, {"qmp_capabilities": {"return": {}}}, ["status"], 1,
     "not a guest of paprika, but of something that speaks QMP 7.2"),
    ({"qemu": {"major": 6, "minor": 2, "micro": 0}, "package": "paprika 0.1.0",
      "paprika": {"version": "0.1.0", "protocol": 1}},
     {"qmp_capabilities": {"return": {}}, "device_add": {"return": {"operation": 7}}},
     ["cpu", "add", "2"], 0, "operation 7"),
    ({}, {"qmp_capabilities": {"return": {}}, "events-subscribe": {"error": {
        "class": "GenericError", "desc": "not today", "hint": "tomorrow"}}},
     ["stop"], 1, "not today (tomorrow)"),
], ids=["QEMU", "a paprika that tells everybody", "one that refuses"])
def test_paprikactl_with_another_server(tmp_path: Path, version: dict, answers: dict,
                                        arguments: list[str], status: int, text: str) -> None:
    server = OtherServer(str(tmp_path / "socket"), version, answers)
    got, said = ctl(str(tmp_path / "socket"), *arguments)
    server.end()
    assert (got, server.asked[:2]) == (status, ["qmp_capabilities", "events-subscribe"])
    assert text in said and len(said.splitlines()) == 1


def test_paprikactl_without_a_server(tmp_path) -> None:
    status, text = ctl(str(tmp_path / "none"), "status")
    assert status == 1 and "none" in text
