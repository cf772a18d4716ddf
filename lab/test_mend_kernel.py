# SPDX-License-Identifier: Apache-2.0
"""mend_kernel.py changes one instruction, and refuses unknown code."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import mend_kernel
from host_api import LAB
from mend_kernel import CALLED, FUNCTION, NOP, Unexpected, mend, symbols

# The lab's own kernel has the function, too.
KERNEL = LAB / "guest-vmlinux"


@pytest.fixture(scope="module")
def image() -> bytes:
    return KERNEL.read_bytes()


def with_word(image: bytes, at: int, word: int) -> bytes:
    return image[:at] + struct.pack("<I", word) + image[at + 4:]


def test_one_instruction_is_changed(image: bytes) -> None:
    function = symbols(image, {FUNCTION, CALLED})[FUNCTION]
    mended, done = mend(image)
    assert done == "with one instruction changed"
    assert len(mended) == len(image)
    differs = [at for at in range(0, len(image) & ~3, 4)
               if image[at:at + 4] != mended[at:at + 4]]
    assert len(differs) == 1
    assert function.offset < differs[0] < function.offset + function.size
    assert struct.unpack_from("<I", mended, differs[0])[0] == NOP
    # A second time is refused.
    with pytest.raises(Unexpected, match="0 branches"):
        mend(mended)


def test_what_looks_different_is_refused(image: bytes) -> None:
    found = symbols(image, {FUNCTION, CALLED})
    branch = mend_kernel.branch_of(image, found[FUNCTION], found[CALLED])
    for changed, words in ((with_word(image, branch + 4, NOP), "no call of"),
                           (with_word(image, branch, 0x41827f00), "leads out of it"),
                           (with_word(image, branch + 8, 0x41820008), "2 branches")):
        with pytest.raises(Unexpected, match=words):
            mend(changed)


@pytest.mark.parametrize("name, words", [("probe-le", "no symbol table"), ("probe-be", "no little")])
def test_what_is_no_kernel_is_refused(name: str, words: str, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "vmlinux"
    monkeypatch.setattr("sys.argv", ["mend_kernel.py", str(LAB / name), str(output)])
    assert mend_kernel.main() == 1
    assert words in capsys.readouterr().err
    assert not output.exists()
