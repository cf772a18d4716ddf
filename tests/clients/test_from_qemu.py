# SPDX-License-Identifier: Apache-2.0
"""docs/from-qemu.md: each command line of ours on it is taken, each request is one that the schema knows,
and nothing of ours is left out."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import FAKE, Vmm
from guest import Control, elf
from test_client_disks import image
from test_messages import CTL, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/from-qemu.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.M | re.S)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", PAGE, flags=re.M | re.S))
# QEMU's own and other programs' words are in the first column, or begin otherwise.
COMMANDS = [text.replace("\\\n", " ").strip() for text in [*BLOCKS, *CODE]
            if re.match(r"(paprika|paprikactl) ", text)]
OPTIONS = [text for text in CODE if re.match(r"--[a-z]", text)]
REQUESTS = [json.loads(line) for block in BLOCKS for line in block.splitlines() if line.startswith("{")]
SWITCHES = re.findall(r"^ +(?:-\w, )?--([\w-]+)(?=  )", run(FAKE[0], "run", "--help")[1], re.M)


def as_config(words: list[str]) -> dict[str, Any]:
    """Options as keys of a config file, which `dtb` checks, also those that only `run` has."""
    config: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        assert word.startswith("--"), words
        name = word[2:]
        value = True if name in SWITCHES else next(rest)
        if name in ("disk", "net", "share"):
            config[name] = [*config.get(name, []), value]
        else:
            config[name] = value
    return config


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("files")
    (directory / "vmlinux").write_bytes(elf([0x48000000]))
    (directory / "initrd.img").write_bytes(b"x")
    for name in ("disk.img", "data.img"):
        image(directory, name)
    with socket.socket(socket.AF_UNIX) as disk, socket.socket(socket.AF_UNIX) as share:
        for listening, name in ((disk, "disk.socket"), (share, "fs.socket")):
            listening.bind(str(directory / name))
            listening.listen()
        yield directory


@pytest.mark.parametrize("words", [
    *(command.split(" ", 2)[2] for command in COMMANDS if command.startswith("paprika ")), *OPTIONS])
def test_options_are_taken(files: Path, words: str) -> None:
    if words in ("--config", "--control", "--pcap"):
        return  # the name alone; the last is passt's
    config = as_config([word for word in shlex.split(words) if word not in ("-o", "FILE")])
    extra = [word for word in FAKE[2:] if word != "--no-sandbox"]
    if "initrd" in config:
        config.setdefault("kernel", "vmlinux")
    (files / "config.json").write_text(json.dumps(config))
    status, _, text = run(FAKE[0], "dtb", "-o", "/dev/null", *extra, "--config", "config.json", cwd=files)
    # 5: the words are right, and this host has no such guests.
    assert status in (0, 5), text


def test_every_option_is_named() -> None:
    listed = re.findall(r"^ +(?:-\w, )?--([\w-]+)", run(FAKE[0], "run", "--help")[1], re.M)
    assert [name for name in listed if f"--{name}" not in PAGE and name != "help"] == []


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    guest = Vmm(tmp_path_factory.mktemp("guest"), memory="size=256M,max=2G", options=("--pci",))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(guest.path)
    control = Control(connection)
    control.path = guest.path
    yield control
    control.close()
    guest.end()


@pytest.mark.parametrize("command", [
    command for command in COMMANDS if command.startswith("paprikactl ")])
def test_paprikactl_takes_it(control: Control, files: Path, command: str) -> None:
    """What is wrong with the words themselves is status 2, or that there is no such tap. The guest
    carries nothing out."""
    words = [word for word in shlex.split(command)[1:] if word != "--wait"]
    status, _, text = run(CTL, "-s", control.path, *words, cwd=files)
    assert status != 2 or "tap0" in text, text


def test_requests_are_in_the_schema(control: Control) -> None:
    schema = {command["name"]: command for command in control.execute("query-schema")["commands"]}
    assert len(REQUESTS) > 5
    for request in REQUESTS:
        known = {argument["name"]: argument for argument in schema[request["execute"]]["arguments"]}
        given = request.get("arguments", {})
        assert set(given) <= set(known), request
        assert all(name in given for name, argument in known.items() if argument["required"]), request


def test_the_tables_have_every_command(control: Control) -> None:
    """yes and in part: it is there. no: it is not. What QEMU does not have is listed behind."""
    there = {command["name"] for command in control.execute("query-commands")}
    qmp = set(json.loads((ROOT / "tests/qmp/types.json").read_text())["commands"])
    listed: dict[str, set[str]] = {"yes": set(), "in part": set(), "no": set()}
    for names, answer in re.findall(r"^\| ([^|]*) \| (yes|in part|no) \|", PAGE, re.M):
        listed[answer] |= set(re.findall(r"`([\w-]+)`", names))
    own = set(re.findall(r"`([\w-]+)`", PAGE[PAGE.index("Of its own it has"):].split("\n\n")[0]))
    assert listed["yes"] | listed["in part"] == there & qmp
    assert own == there - qmp
    assert listed["no"] & there == set()


def test_the_readme_leads_there() -> None:
    assert "(docs/from-qemu.md)" in (ROOT / "README.md").read_text()
