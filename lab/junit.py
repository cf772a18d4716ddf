# SPDX-License-Identifier: Apache-2.0
"""Reads the results that tests leave as JUnit XML, for lab/test and lab/matrix.

As a program it prints a line for each file of a folder and their sum; status 0 only if nothing failed.
"""
from __future__ import annotations

import sys
import xml.etree.ElementTree as tree
from pathlib import Path
from typing import NamedTuple


class Results(NamedTuple):
    passed: int
    failed: int
    skipped: int
    failures: list[str]  # a name each
    reasons: list[str]  # of what was skipped


def read(path: Path) -> Results:
    suites = list(tree.parse(path).getroot().iter("testsuite"))

    def total(*names: str) -> int:
        return sum(int(suite.get(name, 0)) for suite in suites for name in names)

    failed, skipped = total("failures", "errors"), total("skipped")
    cases = [case for suite in suites for case in suite.iter("testcase")]
    failures = [case.get("name", "?") for case in cases
                if case.find("failure") is not None or case.find("error") is not None]
    reasons = [skip.get("message", "?") for case in cases for skip in case.iter("skipped")]
    return Results(total("tests") - failed - skipped, failed, skipped, failures, reasons)


def main() -> None:
    passed = failed = skipped = 0
    for path in sorted(Path(sys.argv[1]).glob("*.xml")):
        one = read(path)
        print(f"{path.stem:16} {one.passed:4} passed, {one.failed} failed, {one.skipped} skipped")
        passed, failed, skipped = (passed + one.passed, failed + one.failed, skipped + one.skipped)
    if skipped:
        print(f"{skipped} skipped, with the reasons above")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0 or passed == 0)


if __name__ == "__main__":
    main()
