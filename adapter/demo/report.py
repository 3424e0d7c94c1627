"""What the demo says: progress while it runs, then who got what; JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from adapter.demo.judging import Row, Verdict
from adapter.demo.scenario import Scenario
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
        self._language, self._said = language, _WORDS[language]
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

    def verdict(self, verdict: Verdict, scenarios: Sequence[Scenario], seconds: float) -> None:
        """Who got what, scenario by scenario; the sums; what is not as the scenarios say."""
        say = self._console.print
        recipients = max((len(row.recipient) for row in verdict.rows), default=0)
        for scenario in scenarios:
            say(Text(f"{scenario.name.partition('-')[0]} {scenario.title[self._language]}", "bold"))
            for row in verdict.rows:
                if row.scenario == scenario.name:
                    say(self._line(row, recipients))
        sums = ", ".join(f"{number} {self._said[name]}" for name, number in summary(verdict).items())
        say(f"\n{sums} ({seconds:.0f} s)")
        if verdict.to_enter:
            say(f"{self._said['entries']}: {verdict.entered} {self._said['of']} {verdict.to_enter}")
        say(self._said["good"] if verdict.good else Text(self._said["bad"], "bold red"))
        for problem in verdict.problems:
            say(Text(f"  {problem}", "red"))

    def still_running(self, stage: Stage, example: Path) -> None:
        """Where everything is, and how to call it; ``example``: a submission to try."""
        pki, url = stage.ca.parent, stage.programs[SENDER].url
        curl = f"  curl --cacert {stage.ca.name} --cert {stage.shown.certificate.name} --key {stage.shown.key.name}"
        lines = [
            "",
            *(f"  {name:<20}{program.url}{_door(name, stage)}" for name, program in stage.programs.items()),
            "",
            f"{self._said['folder']} {stage.folder}",
            "",
            f"  cd {pki}",
            f"{curl} {url}/queue",
            f"{curl} -H 'Content-Type: application/json' -d @{example} {url}/records",
            "",
            self._said["runs"],
        ]
        self._console.print("\n".join(lines), soft_wrap=True)

    def _line(self, row: Row, recipients: int) -> Text:
        """One recipient: whom, what, why; the why under itself where the screen is narrow."""
        outcomes = max(len(self._said[name]) for name in _COLOURS)
        line = Text.assemble(
            f"   {row.recipient:<{recipients}}  ",
            (f"{self._said[row.outcome]:<{outcomes}}", "bold red" if row.problems else _COLOURS[row.outcome]),
            "  ",
        )
        why = wrap(self._why(row), max(20, self._console.width - len(line)), break_on_hyphens=False)
        return line.append(f"\n{' ' * len(line)}".join(why))

    def _why(self, row: Row) -> str:
        if row.outcome != "delivered":
            return row.reason
        got = f"{self._said['without']} {', '.join(row.left_out)}" if row.left_out else self._said["complete"]
        return f"{got}; {self._said['notice']}: {self._said[row.notice]}" if row.notice else got


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
        "journal": {"entries": verdict.entered, "of": verdict.to_enter},
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
        "delivered": "delivered",
        "withheld": "withheld",
        "refused": "refused",
        "lost": "lost",
        "leaked": "leaked",
        "without": "without",
        "complete": "complete",
        "notice": "notice of withdrawal",
        "acknowledged": "acknowledged",
        "entries": "Entries in the sender's own journal",
        "of": "of",
        "good": "Every outcome is as its scenario says.",
        "bad": "Not as the scenarios say:",
        "runs": "All of it keeps running until Ctrl-C.",
        "folder": "Settings, databases, certificates and logs are in",
    },
    "sv": {
        "starting": "Startar program",
        "playing": "Spelar scenarier",
        "asking": "Frågar mottagare",
        "delivered": "levererat",
        "withheld": "hållet inne",
        "refused": "avvisat",
        "lost": "förlorat",
        "leaked": "läckt",
        "without": "utan",
        "complete": "fullständigt",
        "notice": "besked om återkallelse",
        "acknowledged": "bekräftat",
        "entries": "Anteckningar i avsändarens egen journal",
        "of": "av",
        "good": "Varje utfall är som scenariot säger.",
        "bad": "Inte som scenarierna säger:",
        "runs": "Allt är igång tills Ctrl-C.",
        "folder": "Inställningar, databaser, certifikat och loggar ligger i",
    },
}
