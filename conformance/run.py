"""
``make conformance``: what other people's validators say of everything that the adapter sends, and of what it should refuse.

Ends with 1 if anything differs that ``argued.toml`` does not argue, or if the numbers are not those in docs/conformance.md
(``WRITE=1`` writes them there). ``FULL=1`` takes more mutants, and all cases with HL7's engine. Everything fetched or made lies in
``.cache/conformance``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agreement
import cases
import corpora
import java
import packages
import speed
from lxml import etree
from mutate import Mutant

from adapter.definitions import Release
from adapter.errors import Fault
from adapter.validation import errors, validate
from adapter.wire import json as wire
from adapter.wire import xml

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "conformance"
DOCS = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- numbers: make conformance WRITE=1 -->\n", "<!-- end of numbers -->\n"
FULL = bool(os.environ.get("FULL"))
RELEASES: tuple[Release, ...] = ("R4", "R5")
GENERATED = {"R4": 1_000, "R5": 250}
MUTANTS = {"R4": 20_000, "R5": 5_000} if FULL else {"R4": 5_200, "R5": 1_200}
HL7_EACH = 1 if FULL else 10
"""HL7's engine judges every tenth case, and as many mutants."""
SHOWN = 40
"""Lines of what is wrong in one step."""

Json = dict[str, Any]


@dataclass
class Given:
    """What is judged of one release: cases, mutants and HL7's examples by name, and what we find wrong with the mutants."""

    sent: dict[str, Json]
    mutants: dict[str, Mutant]
    found: dict[str, list[Fault]]

    @property
    def kinds(self) -> Mapping[str, str]:
        return {name: each.kind for name, each in self.mutants.items()}


@dataclass
class Run:
    """One run: what it found wrong, and the lines that the document has."""

    wrong: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tells a step with its time, and what went wrong in it."""
        before, begun = len(self.wrong), time.monotonic()
        yield
        state = "FAIL" if len(self.wrong) > before else "ok"
        print(f"{state:4} {time.monotonic() - begun:6.1f} s  {name}", flush=True)
        for line in self.wrong[before : before + SHOWN]:
            print(f"       {line[:400]}", flush=True)

    def told(self, who: str, what: str, result: str) -> None:
        self.numbers.append(f"| {who} | {what} | {result} |")

    def examples(self, count: int, rejected: Mapping[str, list[Fault]]) -> None:
        """Which of HL7's own examples we reject, and by which rules; whether the others do is in their tables."""
        self.told("our validator", f"{count} examples of HL7 of our types", f"{count - len(rejected)} accepted")
        self.tables += ["", "### HL7's own examples that we reject", ""]
        for name, faults in rejected.items():
            rules = sorted({f"{fault.code} ({fault.why})" for fault in faults})
            self.tables.append(f"- {name}: {', '.join(rules)}")

    def cases(self, who: str, verdicts: Mapping[str, java.Verdict]) -> None:
        """Everything that is sent has no errors."""
        table = agreement.Table()
        agreement.faultless(verdicts, table)
        self.wrong += table.unargued
        clean = sum(not verdict.rejects for verdict in verdicts.values())
        others = "".join(f"; {len(verdicts) - clean}: {why}" for why in table.needed)
        self.told(who, f"{len(verdicts)} cases", f"{clean} without error{others}")

    def mutants(self, who: str, given: Given, verdicts: Mapping[str, java.Verdict]) -> None:
        """What is refused here is refused there, for the mutants that were judged there."""
        kinds = {name: kind for name, kind in given.kinds.items() if name in verdicts}
        table = agreement.compared(kinds, given.found, verdicts)
        self.wrong += table.unargued
        total = table.total
        agreed = (total["both"] + total["neither"]) / total.total()
        if table.silent > agreement.MOST_SILENT and total.total() >= agreement.FEWEST:
            self.wrong.append(f"we reject {table.silent:.2%} of what {who} accepts without a word")
        self.told(who, f"{total.total()} mutants and examples of HL7", f"{agreed:.1%} judged alike")
        self.told(
            who,
            "of these only we reject",
            f"{table.silent:.2%}; {table.silent_by_kind:.2%} if every kind came equally often",
        )
        self.tables += ["", f"### {who}", "", *agreement.rows(table), "", *agreement.reasons(table)]


def main() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    run = Run()
    with run.step("jars and packages"):
        hapi, hl7 = (java.engine(name, CACHE) for name in ("hapi", "hl7"))
        home = packages.home(CACHE)
        examples, expansions = (packages.from_npm(name, CACHE) for name in packages.FROM_NPM)
        ours = {release: packages.ours(release, CACHE) for release in ("R4", "R5")}
    with run.step("cases, judged by us"):
        given = _given(run, examples)
    with run.step("official schemas: everything that is sent, as XML"):
        _schemas(run, packages.schema_r4(hapi.jars, CACHE), given["R4"].sent, "R4")
        _schemas(run, packages.schema_r5(), given["R5"].sent, "R5")
    for release in RELEASES:
        _hapi(run, hapi, ours[release], given[release], release)
    converting = _start_converting(examples, expansions)
    _hl7(run, hl7, ours["R4"], home, given["R4"])
    with run.step("converter: all of HL7's examples"):
        _converted(run, json.loads(converting.communicate()[0]))
    with run.step("speed beside HAPI"):
        _speed(run, hapi, ours["R4"])
    with run.step("docs/conformance.md has these numbers"):
        _compare(run)
    sys.exit(bool(run.wrong))


def _given(run: Run, examples: Path) -> dict[Release, Given]:
    sent: dict[Release, dict[str, Json]] = {"R4": cases.sent(GENERATED["R4"]), "R5": cases.sent_r5(GENERATED["R5"])}
    official = dict(corpora.of_our_types(examples))
    run.wrong += [f"{name} comes back changed" for name, each in official.items() if not corpora.comes_back(each)]
    also = {f"official/{name}": Mutant("HL7's own example", name, each) for name, each in official.items()}
    given = {release: _judged(run, sent[release], also if release == "R4" else {}, release) for release in RELEASES}
    found = given["R4"].found
    run.examples(len(official), {name: found[f"official/{name}"] for name in official if found[f"official/{name}"]})
    return given


def _judged(run: Run, sent: dict[str, Json], also: Mapping[str, Mutant], release: Release) -> Given:
    """Nothing that is sent is wrong; what is made of it is judged, and ``also`` others."""
    wrong = ((name, errors(validate(case, release))) for name, case in sent.items())
    run.wrong += [f"we reject {name}: {faults[0]}" for name, faults in wrong if faults]
    mutants = dict(agreement.mutants(_resources(sent.values()), MUTANTS[release], release)) | dict(also)
    return Given(sent, mutants, {name: errors(validate(each.resource, release)) for name, each in mutants.items()})


def _resources(given: Any) -> list[Json]:
    """Each resource, and each that stands in an entry."""
    inner = (e["resource"] for case in given for e in case.get("entry", ()) if "resource" in e)
    return [*given, *inner]


def _schemas(run: Run, schema: etree.XMLSchema, sent: Mapping[str, Json], release: Release) -> None:
    parser = etree.XMLParser(huge_tree=True)
    for name, case in sent.items():
        if not schema.validate(etree.fromstring(xml.write(case, release=release), parser)):
            run.wrong.append(f"{name}: {schema.error_log[0].message}")
    run.told(f"official schema, {release}", f"{len(sent)} XML texts", "all valid")


def _texts(resources: Mapping[str, Json]) -> dict[str, str]:
    return {name: wire.write(each).decode() for name, each in resources.items()}


def _hapi(run: Run, hapi: java.Engine, package: Path, given: Given, release: Release) -> None:
    who = f"HAPI 8.8.1, {release}"
    texts, broken = _texts(given.sent), _texts({name: each.resource for name, each in given.mutants.items()})
    with run.step(f"HAPI, {release}: {len(texts)} cases, {len(broken)} mutants"):
        verdicts = hapi.judge(texts | broken, release, str(package), folder=CACHE)
        run.cases(who, {name: verdicts[name] for name in texts})
        run.mutants(who, given, {name: verdicts[name] for name in broken})


def _hl7(run: Run, hl7: java.Engine, package: Path, home: Path, given: Given) -> None:
    texts = dict(list(_texts(given.sent).items())[::HL7_EACH])
    some = dict(list(given.mutants.items())[::HL7_EACH])
    broken = _texts({name: each.resource for name, each in some.items()})
    with run.step(f"HL7's engine, R4: {len(texts)} cases, {len(broken)} mutants"):
        where = [f"-Duser.home={home}"]
        verdicts = hl7.judge(texts | broken, "4.0.1", str(package), folder=CACHE, options=where)
        run.cases("HL7's engine 6.9.4, R4", {name: verdicts[name] for name in texts})
        run.mutants("HL7's engine 6.9.4, R4", given, {name: verdicts[name] for name in broken})


def _start_converting(examples: Path, expansions: Path) -> subprocess.Popen[str]:
    """It takes one core, and HL7's engine leaves one free."""
    command = [sys.executable, str(HERE / "corpora.py"), str(examples), str(expansions), str(CACHE / "all-types")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _converted(run: Run, counted: Json) -> None:
    every, same = counted["examples"], counted["identical"]
    run.told(
        f"our converter, {counted['types']} resource types",
        f"{every} examples of HL7, JSON → XML → JSON",
        f"{same} identical, {counted['literally']} to the letter",
    )
    if same < every * corpora.WANTED:
        run.wrong += counted["others"]


def _speed(run: Run, hapi: java.Engine, package: Path) -> None:
    for result in speed.measured(hapi, package, CACHE):
        print(f"       {json.dumps(result)}", flush=True)
        if result["ratio"] < speed.WANTED:
            run.wrong.append(f"only {result['ratio']} times as fast as HAPI")


def _compare(run: Run) -> None:
    text = DOCS.read_text("utf-8")
    fresh = "\n".join(["| by | what | |", "|---|---|---|", *run.numbers, *run.tables])
    written = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}{fresh}\n{END}", text, flags=re.DOTALL)
    if os.environ.get("WRITE"):
        DOCS.write_text(written, "utf-8")
    elif written != text and not FULL:
        run.wrong.append("docs/conformance.md has other numbers: read what changed, then make conformance WRITE=1")


if __name__ == "__main__":
    main()
