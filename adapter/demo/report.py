"""What the demo says: progress while it runs, then who got what; JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from adapter.demo.judging import Row, Verdict
from adapter.demo.stage import SENDER, Stage
from adapter.errors import Language
from adapter.wire import json

_WIDE: Final = 160
"""Columns where nobody looks at a screen."""
_COLOURS: Final = {"delivered": "green", "withheld": "yellow", "refused": "magenta"}


class Report:
    """To people. On a terminal with bars and colours, else as plain lines; ``quiet``: not at all."""

    def __init__(self, out: TextIO, language: Language, *, quiet: bool = False) -> None:
        screen = out.isatty()
        self._console = Console(file=out, quiet=quiet, highlight=False, width=None if screen else _WIDE)
        self._said = _WORDS[language]
        self._bars = Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(30),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not screen,
        )

    def step(self, name: str, count: int) -> Callable[[object], None]:
        """A step of ``count`` parts begins; call what is given back after each of them."""
        words = self._said[name]
        if self._bars.disable:
            self._console.print(f"{words}: {count}")
        self._bars.start()
        task = self._bars.add_task(words, total=count)
        return lambda _: self._bars.advance(task)

    def end_of_steps(self) -> None:
        self._bars.stop()

    def verdict(self, verdict: Verdict, seconds: float) -> None:
        """Who got what, then what is not as the scenarios say, then the sums."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("scenario", "recipient", "outcome"):
            table.add_column(self._said[column], no_wrap=True)
        table.add_column(self._said["why"], overflow="fold")
        for row in verdict.rows:
            colour = "bold red" if row.problems else _COLOURS[row.outcome]
            table.add_row(row.scenario, row.recipient, Text(self._said[row.outcome], colour), self._why(row))
        with self._console.capture() as drawn:
            self._console.print(table)
        lines = [line.rstrip() for line in drawn.get().splitlines()]  # rich fills every line to its end
        self._console.out("\n".join(lines).strip("\n"), highlight=False)
        for problem in verdict.problems:
            self._console.print(Text(f"  {problem}", "bold red"))
        sums = ", ".join(f"{number} {self._said[name]}" for name, number in summary(verdict).items())
        self._console.print(f"{sums}. {self._said['good' if verdict.good else 'bad']} ({seconds:.0f} s)")

    def still_running(self, stage: Stage) -> None:
        """Where everything is, and how to call it."""
        pki, url = stage.ca.parent, stage.programs[SENDER].url
        curl = f"curl --cacert {stage.ca} --cert {stage.credential.certificate} --key {stage.credential.key}"
        lines = [
            "",
            self._said["runs"],
            "",
            *(f"  {name:<20}{program.url}{_door(name, stage)}" for name, program in stage.programs.items()),
            "",
            f"{self._said['folder']} {stage.folder}, {self._said['certificates']} {pki}.",
            "",
            f"  {curl} {url}/queue",
            f"  {curl} -H 'Content-Type: application/json' -d @submission.json {url}/records",
        ]
        self._console.print("\n".join(lines), soft_wrap=True)

    def _why(self, row: Row) -> str:
        if row.outcome != "delivered":
            return row.reason
        return f"{self._said['without']} {', '.join(row.left_out)}" if row.left_out else self._said["complete"]


def as_json(verdict: Verdict) -> str:
    """The verdict for programs. Names and values are stable."""
    document = {
        "scenarios": [
            {
                "name": row.scenario,
                "recipient": row.recipient,
                "outcome": row.outcome,
                "reason": row.reason,
                "received": row.received,
            }
            for row in verdict.rows
        ],
        "summary": summary(verdict),
    }
    return msgspec.json.format(json.write(document), indent=2).decode() + "\n"


def summary(verdict: Verdict) -> Mapping[str, int]:
    """How many of each."""
    outcomes = Counter(row.outcome for row in verdict.rows)
    counted: dict[str, Any] = {name: outcomes[name] for name in ("delivered", "withheld", "refused")}
    return counted | {"lost": verdict.lost, "leaked": verdict.leaked}


def _door(name: str, stage: Stage) -> str:
    if name == SENDER:
        return "/records"
    return "/records/changes" if stage.is_adapter(name) else "/held"


_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "starting": "Starting programs",
        "playing": "Playing scenarios",
        "asking": "Asking receivers",
        "scenario": "Scenario",
        "recipient": "Recipient",
        "outcome": "Outcome",
        "why": "Reason, or what was left out",
        "delivered": "delivered",
        "withheld": "withheld",
        "refused": "refused",
        "lost": "lost",
        "leaked": "leaked",
        "without": "without",
        "complete": "complete",
        "good": "All as the scenarios say.",
        "bad": "Not as the scenarios say.",
        "runs": "Still running; Ctrl-C ends it.",
        "folder": "Databases, settings and logs are in",
        "certificates": "certificates in",
    },
    "sv": {
        "starting": "Startar program",
        "playing": "Spelar scenarier",
        "asking": "Frågar mottagare",
        "scenario": "Scenario",
        "recipient": "Mottagare",
        "outcome": "Utfall",
        "why": "Skäl, eller vad som utelämnades",
        "delivered": "levererat",
        "withheld": "hållet inne",
        "refused": "avvisat",
        "lost": "förlorat",
        "leaked": "läckt",
        "without": "utan",
        "complete": "fullständigt",
        "good": "Allt är som scenarierna säger.",
        "bad": "Inte som scenarierna säger.",
        "runs": "Allt är igång; Ctrl-C avslutar.",
        "folder": "Databaser, inställningar och loggar ligger i",
        "certificates": "certifikat i",
    },
}
