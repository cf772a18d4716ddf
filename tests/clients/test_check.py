# SPDX-License-Identifier: Apache-2.0
"""What `paprika check` says of the programs and files of the host that serve devices. passt is a script
of the test's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conftest import FAKE
from test_messages import run


def check(**options) -> dict[str, dict[str, str]]:
    status, output, text = run(FAKE[0], "check", "--json", **options)
    assert status == 0 and text == "", text
    return {line["name"]: line for line in json.loads(output)}


@pytest.mark.parametrize("script, result, value, remedy", [
    ("exit 0", "ok", "yes", ""),
    ("echo no template interface >&2; exit 1", "warn", "has not started: no template interface",
     "passt --foreground"),
    (None, "warn", "cannot start passt: No such file", "apt install passt")])
def test_passt(tmp_path: Path, script: str | None, result: str, value: str, remedy: str) -> None:
    if script is not None:
        (tmp_path / "passt").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "passt").chmod(0o755)
    line = check(env={**os.environ, "PATH": str(tmp_path)})["passt for --net passt"]
    assert (line["result"], value in line["value"], remedy in line.get("remedy", "")) == \
        (result, True, True), line


def test_files() -> None:
    """ok if this user can open it, else a remedy."""
    lines = check()
    for name in ("/dev/net/tun", "/dev/vhost-vsock"):
        line = next(line for title, line in lines.items() if title.startswith(name))
        usable = os.access(name, os.R_OK | os.W_OK)
        assert (line["result"], "remedy" in line) == (("ok", False) if usable else ("warn", True)), line
    line = lines["virtiofsd for --share dir"]
    assert ("remedy" in line) == (line["result"] == "warn"), line
    assert line["value"] == "no" or line["value"].startswith("/"), line
