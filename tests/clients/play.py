# SPDX-License-Identifier: Apache-2.0
"""Kernels for tests/fake/fake_script.c: what the guest of paprika-fake and paprika-plain does."""

from __future__ import annotations

import struct

from guest import elf


def play(*lines: str) -> bytes:
    """A kernel whose vCPUs take these lines; the head of fake_script.c has them all."""
    text = "\n".join(("play", *lines, "")).encode()
    text += b"\0" * (-len(text) % 4)
    return elf(list(struct.unpack(f">{len(text) // 4}I", text)))
