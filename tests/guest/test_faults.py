# SPDX-License-Identifier: Apache-2.0
"""KVM's ioctls and maps fail one after the other while a real guest is started, gets a core, is
reset, stopped and loses the core; see tests/faults/README.md."""

from __future__ import annotations

import pytest

from host_api import Host


@pytest.mark.parametrize("scenario", ["life", "dtb", "check"])
def test_walk(host: Host, scenario: str) -> None:
    result = host.run([host.path + "/bin/walk-host", scenario, "once"], timeout=600)
    print(result.stdout.decode(), result.stderr.decode())
    assert result.rc == 0
