"""
Other people's validators as programs of their own: jars by Maven, versions pinned in the poms.

Requests and answers are files with one JSON object per line. The programs get no network: what they would ask for on the way
fails at once.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
THREADS = 2
_OFFLINE = [f"-D{scheme}.{key}" for scheme in ("http", "https") for key in ("proxyHost=127.0.0.1", "proxyPort=1")]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a validator says of one resource; ``errors`` are its messages of severity error and fatal, ``warnings`` the ids of others."""

    rejects: bool
    errors: tuple[Mapping[str, str], ...]
    warnings: frozenset[str]


@dataclass(frozen=True, slots=True)
class Engine:
    """The programs of one folder here, compiled, with the jars of its pom."""

    classes: Path
    jars: Path

    def run(self, program: str, *arguments: str, memory: str = "2g", options: Sequence[str] = ()) -> str:
        """
        Run a program; what it printed.

        Raises:
            CalledProcessError: it failed; what it said on stderr has been shown.
        """
        command = ["java", f"-Xmx{memory}", "-XX:+UseSerialGC", *_OFFLINE, *options]
        command += ["-cp", f"{self.classes}:{self.jars}/*", program, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def judge(self, texts: Mapping[str, str], *arguments: str, folder: Path, **more: Any) -> dict[str, Verdict]:
        """What its Judge says of each text (JSON or XML), by the same names. ``folder``: for the files in between."""
        asked, told = folder / "asked.ndjson", folder / "told.ndjson"
        with asked.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items())
        self.run("Judge", *arguments, str(asked), str(told), str(THREADS), **more)
        return dict(_verdicts(told.read_text("utf-8").splitlines()))


def engine(name: str, folder: Path) -> Engine:
    """The engine of a folder here, compiled into ``folder`` with its jars, which Maven fetches."""
    jars, classes = folder / f"{name}-jars", folder / f"{name}-classes"
    goals = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-Dstyle.color=never"]
    subprocess.run(["mvn", "-q", "-B", "-f", str(HERE / name / "pom.xml"), *goals], check=True)
    sources = sorted(str(file) for shared in ("common", name) for file in (HERE / shared).glob("*.java"))
    subprocess.run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", str(classes), *sources], check=True)
    return Engine(classes, jars)


def _verdicts(lines: Iterable[str]) -> Iterator[tuple[str, Verdict]]:
    for line in lines:
        told = json.loads(line)
        errors = [each for each in told["messages"] if each["severity"] in {"error", "fatal"}]
        warnings = (
            each["messageId"] for each in told["messages"] if each["severity"] == "warning" and each["messageId"]
        )
        yield told["id"], Verdict(told["rejects"], tuple(errors), frozenset(warnings))
