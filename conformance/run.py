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
from collections.abc import Mapping
from contextlib import contextmanager
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

from adapter.validation import errors, validate
from adapter.wire import json as wire
from adapter.wire import xml

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "conformance"
DOCS = ROOT / "docs" / "conformance.md"
FULL = bool(os.environ.get("FULL"))
GENERATED = 1_000
GENERATED_R5 = 250
MUTANTS = 20_000 if FULL else 5_500
HL7_EACH = 1 if FULL else 8
"""HL7's engine judges every eighth case, and as many mutants."""

Json = dict[str, Any]


class Run:
    """One run: what it found wrong, and the numbers that the document has."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.numbers: list[str] = []
        self.tables: list[str] = []

    @contextmanager
    def step(self, name: str) -> Any:
        """Tells a step with its time, and whether it went well."""
        before, begun = len(self.wrong), time.monotonic()
        yield
        state = "FAIL" if len(self.wrong) > before else "ok"
        print(f"{state:4} {time.monotonic() - begun:6.1f} s  {name}", flush=True)
        for line in self.wrong[before : before + 40]:
            print(f"       {line[:400]}", flush=True)

    def told(self, table: agreement.Table) -> None:
        self.wrong += table.unargued


def main() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    run = Run()
    with run.step("jars and packages"):
        hapi, hl7 = (java.engine(name, CACHE) for name in ("hapi", "hl7"))
        home = packages.home(CACHE)
        examples, expansions = (packages.from_npm(name, CACHE) for name in packages.FROM_NPM)
        ours = {release: packages.ours(release, CACHE) for release in ("R4", "R5")}
    with run.step("cases"):
        sent, sent_r5 = cases.sent(GENERATED), cases.sent_r5(GENERATED_R5)
        mutants = dict(agreement.mutants(_resources(sent.values()), MUTANTS))
        mutants |= {f"official/{n}": Mutant("HL7's own example", n, each) for n, each in corpora.of_our_types(examples)}
        found = {name: errors(validate(case)) for name, case in sent.items()}
        found |= {name: errors(validate(each.resource)) for name, each in mutants.items()}
        run.wrong += [f"we reject {name}: {found[name][0]}" for name in sent if found[name]]
        run.wrong += [
            f"{name} comes back changed"
            for name, each in mutants.items()
            if name.startswith("official/") and not corpora.comes_back(each.resource)
        ]
    with run.step("schemas: every XML that is sent"):
        _schemas(run, packages.schema_r4(hapi.jars, CACHE), sent, "R4")
        _schemas(run, packages.schema_r5(), sent_r5, "R5")
    texts = {name: wire.write(case).decode() for name, case in sent.items()}
    broken = {name: wire.write(each.resource).decode() for name, each in mutants.items()}
    with run.step(f"HAPI, R4: {len(texts)} cases, {len(broken)} mutants"):
        verdicts = hapi.judge(texts | broken, "R4", str(ours["R4"]), folder=CACHE)
        _cases(run, "HAPI 8.8.1, R4", {name: verdicts[name] for name in texts})
        _mutants(run, "HAPI 8.8.1", {name: each.kind for name, each in mutants.items()}, found, verdicts)
    texts_r5 = {name: wire.write(case).decode() for name, case in sent_r5.items()}
    with run.step(f"HAPI, R5: {len(texts_r5)} cases"):
        _cases(run, "HAPI 8.8.1, R5", hapi.judge(texts_r5, "R5", str(ours["R5"]), folder=CACHE))
    converting = subprocess.Popen(
        [sys.executable, str(HERE / "corpora.py"), str(examples), str(expansions), str(CACHE / "all-types")],
        stdout=subprocess.PIPE,
        text=True,
    )
    some, few = dict(list(texts.items())[::HL7_EACH]), dict(list(broken.items())[::HL7_EACH])
    with run.step(f"HL7's engine, R4: {len(some)} cases, {len(few)} mutants"):
        told = hl7.judge(some | few, "4.0.1", str(ours["R4"]), folder=CACHE, options=[f"-Duser.home={home}"])
        _cases(run, "HL7's engine 6.9.4, R4", {name: told[name] for name in some})
        _mutants(run, "HL7's engine 6.9.4", {name: mutants[name].kind for name in few}, found, told)
    with run.step("converter: all of HL7's examples"):
        _converted(run, json.loads(converting.communicate()[0]))
    with run.step("speed beside HAPI"):
        _speed(run, hapi, ours["R4"])
    with run.step("docs/conformance.md has these numbers"):
        _compare(run)
    sys.exit(bool(run.wrong))


def _resources(given: Any) -> list[Json]:
    """Each resource, and each that stands in an entry."""
    return [
        each for case in given for each in (case, *(e["resource"] for e in case.get("entry", ()) if "resource" in e))
    ]


def _schemas(run: Run, schema: etree.XMLSchema, sent: Mapping[str, Json], release: Any) -> None:
    parser = etree.XMLParser(huge_tree=True)
    for name, case in sent.items():
        if not schema.validate(etree.fromstring(xml.write(case, release=release), parser)):
            run.wrong.append(f"{name}: {schema.error_log[0].message}")
    run.numbers.append(f"| official schemas {release} | {len(sent)} XML texts | all valid |")


def _cases(run: Run, who: str, verdicts: Mapping[str, java.Verdict]) -> None:
    table = agreement.Table()
    agreement.faultless(verdicts, table)
    run.told(table)
    clean = sum(not verdict.rejects for verdict in verdicts.values())
    run.numbers.append(f"| {who} | {len(verdicts)} cases | {clean} without error{_needed(table)} |")


def _mutants(
    run: Run, who: str, kinds: Mapping[str, str], found: Mapping[str, Any], verdicts: Mapping[str, java.Verdict]
) -> None:
    table = agreement.compared(kinds, found, verdicts)
    run.told(table)
    total = table.total
    silent = total["ours"] / total.total()
    if silent > 0.01:
        run.wrong.append(f"we reject {silent:.1%} of what {who} accepts without a word")
    agreed = (total["both"] + total["neither"]) / total.total()
    run.numbers.append(f"| {who}, R4 | {total.total()} mutants and examples of HL7 | {agreed:.1%} judged alike |")
    run.tables += ["", f"### {who}", "", *_rows(table), "", *_reasons(table)]


def _converted(run: Run, counted: Json) -> None:
    every, same = counted["examples"], counted["identical"]
    run.numbers.append(
        f"| converter, {counted['types']} resource types | {every} examples of HL7: JSON → XML → JSON | {same} identical, "
        f"{counted['literally']} to the letter |"
    )
    if same < every * 0.999:
        run.wrong += counted["others"]


def _speed(run: Run, hapi: java.Engine, package: Path) -> None:
    for result in speed.measured(hapi, package, CACHE):
        print(f"       {json.dumps(result)}")
        if result["ratio"] < speed.WANTED:
            run.wrong.append(f"only {result['ratio']} times as fast as HAPI")


def _rows(table: agreement.Table) -> list[str]:
    outcomes = ("both", "neither", "theirs", "warned", "ours")
    head = [
        "| kind | both reject | both accept | only it rejects | we reject, it warns | only we reject |",
        "|---|---|---|---|---|---|",
    ]
    rows = [(kind, table.rows[kind]) for kind in sorted(table.rows)] + [("**all**", table.total)]
    return head + [f"| {kind} | {' | '.join(str(row[outcome]) for outcome in outcomes)} |" for kind, row in rows]


def _reasons(table: agreement.Table) -> list[str]:
    return [f"- {count} times: {why}." for why, count in table.needed.most_common()]


def _needed(table: agreement.Table) -> str:
    return "".join(f"; {count}: {why}" for why, count in table.needed.items())


def _compare(run: Run) -> None:
    begin, end = "<!-- numbers: make conformance WRITE=1 -->\n", "<!-- end of numbers -->\n"
    text = DOCS.read_text("utf-8")
    fresh = begin + "\n".join(["| by | what | |", "|---|---|---|", *run.numbers, *run.tables]) + "\n" + end
    written = re.sub(f"{begin}.*{end}", lambda _: fresh, text, flags=re.DOTALL)
    if os.environ.get("WRITE"):
        DOCS.write_text(written, "utf-8")
    elif written != text and not FULL:
        run.wrong.append("docs/conformance.md has other numbers: read what changed, then make conformance WRITE=1")


if __name__ == "__main__":
    main()
