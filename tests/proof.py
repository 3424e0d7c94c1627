"""
The long proof: `make proof` decides on some two million random cases and on every small one, and an evaluator that shares no code
with the product must say the same of each. docs/proof.md says what is covered.

Three parts: lines as `koord decide` reads them (tests/generic_oracle.py), our own records, and rule trees (tests/oracle.py).
Progress goes to standard error, one JSON object with the numbers to standard output; the exit code is 1 if anything differed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from typing import NamedTuple

import decide_worlds
import test_consent_oracle
import test_decide_oracle

CHUNK = 2000
SHARES = {"lines": 300_000, "records": 200_000, "rules": 1_500_000, "small lines": 40}
"""Random cases of each part, and into how many chunks the small lines are divided. A rule is answered ten times as fast as a line."""


class Done(NamedTuple):
    part: str
    outcomes: Counter
    difference: str


def lines(count, seed):
    for line in decide_worlds.lines(count, seed):
        yield *test_decide_oracle.both(line), line


def small_lines(number, of):
    """Every ``of``-th small line."""
    for place, line in enumerate(test_decide_oracle.small_lines()):
        if place % of == number:
            yield *test_decide_oracle.both(line), line


def records(count, seed):
    for found, expected, reason, case in test_consent_oracle.decisions(count, seed):
        yield found, expected, case if found != expected else reason


def rules(count, seed):
    for found, expected, _, case in test_consent_oracle.rule_answers(count, seed):
        yield found, expected, case


PARTS = {"lines": lines, "small lines": small_lines, "records": records, "rules": rules}


def work(task):
    """One chunk of a part; ends at its first difference."""
    part, *arguments = task
    outcomes = Counter()
    for found, expected, case in PARTS[part](*arguments):
        outcomes[name_of(expected)] += 1
        if found != expected:
            return Done(part, outcomes, told(part, case, found, expected))
    return Done(part, outcomes, "")


def name_of(expected):
    if isinstance(expected, tuple):
        return f"{expected[0]} {expected[1]}" if isinstance(expected[1], str) else expected[0]
    return str(expected)


def told(part, case, found, expected):
    if "lines" in part:
        case = json.dumps(smallest(case, (found, expected)), ensure_ascii=False)
    return f"{part}: the product says {found}, the oracle {expected}\n{case}"


def smallest(line, difference):
    """The line without every part that the difference does not need."""
    for smaller in decide_worlds.smaller(line):
        if test_decide_oracle.both(smaller) == difference:
            return smallest(smaller, difference)
    return line


def tasks(parts, factor, seed):
    """Chunks of all parts, mixed, so that the progress tells the time that is left."""
    chunks = [
        (part, CHUNK, f"{seed}-{part}-{number}")
        for part in parts
        if part != "small lines"
        for number in range(round(SHARES[part] * factor / CHUNK))
    ]
    if "small lines" in parts:
        chunks += [("small lines", number, SHARES["small lines"]) for number in range(SHARES["small lines"])]
    random.Random(seed).shuffle(chunks)
    return chunks


def main():
    read = argparse.ArgumentParser(description="Differential proof of the consent decisions.")
    read.add_argument("--factor", type=float, default=1, help="of the 2 000 000 random cases (default 1)")
    read.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given more than once")
    read.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so long (default: when all is done)"
    )
    read.add_argument("--seed", default="", help="that of an earlier run, to repeat it (default: a new one)")
    read.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    given = read.parse_args()
    seed = given.seed or f"{random.SystemRandom().getrandbits(64):016x}"
    sys.stderr.write(f"seed {seed}\n")
    started, parts, difference = time.monotonic(), {}, ""
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for done in pool.imap_unordered(work, tasks(given.part or list(PARTS), given.factor, seed)):
            parts.setdefault(done.part, Counter()).update(done.outcomes)
            show_progress(parts, time.monotonic() - started)
            if (difference := done.difference) or time.monotonic() - started > 60 * given.minutes:
                break
    sys.stderr.write(f"\n{difference}\n")
    sys.stdout.write(json.dumps(summary(parts, seed, given.jobs, time.monotonic() - started, difference)) + "\n")
    return 1 if difference else 0


def show_progress(parts, seconds):
    total = sum(counted.total() for counted in parts.values())
    sys.stderr.write(f"\r{total:>10} cases, {total / seconds:6.0f}/s, {seconds:5.0f} s")
    sys.stderr.flush()


def summary(parts, seed, jobs, seconds, difference):
    total = sum(counted.total() for counted in parts.values())
    return {
        "seed": seed, "cases": total, "differences": int(bool(difference)), "seconds": round(seconds), "jobs": jobs,
        "cases_per_second": round(total / seconds),
        "parts": {part: {"cases": counted.total(), "outcomes": dict(counted.most_common())} for part, counted in parts.items()},
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
