"""What the README tells people to type works, from its own text; what it refers to exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
ELSEWHERE = {"koord demo", "koord serve", "koord doctor"}
"""Run by CI itself, by tests/test_demo.py and tests/test_cli.py: they serve, or need what only a running region has."""


def commands():
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("koord ") and " ".join(line.split()[:2]) not in ELSEWHERE:
                yield line.partition("  #")[0].strip()


def test_the_commands_of_the_readme_work_in_their_order(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    seen = {}
    for line in commands():
        command, _, target = line.partition(" > ")
        ran = subprocess.run(
            [sys.executable, "-m", "adapter.cli", *shlex.split(command)[1:]],
            cwd=tmp_path,
            check=False,
            capture_output=True,
        )
        seen[line] = ran.returncode
        if target:
            (tmp_path / target).write_bytes(ran.stdout)
        assert ran.returncode in {0, 5}, (line, ran.stderr.decode())
    assert [line for line, code in seen.items() if code == 5] == [line for line in seen if "kommun:" in line]
    assert len(seen) >= 8


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_what_the_readme_links_to_is_there(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:tests|docs|adapter|mappings|examples|profiles)/[\w./-]+)`", TEXT)))
)
def test_what_the_readme_names_is_there(path):
    assert (ROOT / path).exists()
