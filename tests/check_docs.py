# SPDX-License-Identifier: Apache-2.0
"""Checks the documents: every relative link resolves, to a heading too, and every path of the
repository in backticks exists. Prints what does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
# A path begins with one of these folders. Placeholders and patterns are left out.
FOLDERS = ("src/", "tests/", "lab/", "docs/", "guest-images/", "guest-tools/", ".ci/")
PLACEHOLDER = re.compile(r"[A-Z]{3,}|[*<>{}$]")


def anchors(path: Path) -> set[str]:
    """The names that a renderer gives to the headings of a document."""
    heads = re.findall(r"^#+ +(.*)$", FENCE.sub("", path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def link_problem(document: Path, target: str) -> str | None:
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    path = (document.parent / name).resolve() if name else document
    if not path.is_relative_to(ROOT):
        return "leads out of the repository"
    if not path.exists():
        return "does not exist"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return "has no such heading"
    return None


def path_problem(code: str) -> str | None:
    """code is what stands in backticks; its first word may be a path."""
    word = code.removeprefix("./").split()[0] if code.split() else ""
    if not word.startswith(FOLDERS) or PLACEHOLDER.search(word):
        return None
    return None if (ROOT / word).exists() else "does not exist"


def problems(document: Path) -> list[str]:
    text = document.read_text()
    found = [(f"link {target}", link_problem(document, target)) for target in LINK.findall(text)]
    found += [(f"`{code}`", path_problem(code)) for code in CODE.findall(FENCE.sub("", text))]
    return [f"{what} {problem}" for what, problem in found if problem]


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
                            cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    documents = [ROOT / name for name in sorted(set(listed)) if (ROOT / name).exists()]
    count = 0
    for document in documents:
        for problem in problems(document):
            print(f"{document.relative_to(ROOT)}: {problem}")
            count += 1
    print(f"{len(documents)} documents, {count} problems")
    return count != 0


sys.exit(main())
