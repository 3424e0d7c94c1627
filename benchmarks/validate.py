"""
Bytes → validated → bytes for Bundles of 1, 50 and 1 000 Tasks as the adapter maps them, each held to its profile: JSON lines.

``ours``: the strict reader, FHIR's rules, the profile that ``meta.profile`` names with its invariants, and the writer.
``theirs`` is fhir.resources parsing and dumping typed models, and fhirkit-rs, compiled, parsing and dumping; fhirkit-rs
looks for unknown elements and nulls only, fhir.resources also for types and required elements, neither for profiles, codes or
invariants. XML is read and written, against fhir.resources doing the same. ``growth``: the time for one of 1 000 over that for one of 50.
Then the memory of everything that is compiled, and commands that start cold. Processor time, the best of a few rounds;
for commands the time on the clock too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import NamedTemporaryFile
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import fhirkit
import region as r
from fhir.resources.R4B.bundle import Bundle

from adapter.domain import read_record
from adapter.mapping import Mapper
from adapter.tables import load
from adapter.validation import validate
from adapter.wire import json as wire
from adapter.wire import xml

SIZES = (1, 50, 1000)
SECONDS = 2.0
COMPILE_ALL = """
from pathlib import Path
from adapter.definitions import definitions
from adapter.profiles import profiles
from adapter.validation import validate
from adapter.wire import json, xml

def now():
    return int(Path("/proc/self/status").read_text("ascii").partition("VmRSS:")[2].split()[0]) / 1024

before = now()
for release in ("R4", "R5"):
    for name in sorted(definitions(release).resource_types):
        validate({"resourceType": name}, release)
    for url in profiles(release).own:
        found = profiles(release).profile(url)
        if found and found.kind == "resource":
            validate({"resourceType": found.type}, release, profiles=[url])
print(now() - before)
"""


def bundle(size):
    """Interventions, each with its own id and, as mapped, the profile that it follows."""
    mapper = Mapper(load())
    tasks = [
        mapper.to_fhir(read_record(r.intervention(f"i{number}"), mode="test")[0]).resources[0] | {"id": f"t{number}"}
        for number in range(size)
    ]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"https://region-a.example/fhir/Task/{task['id']}", "resource": task} for task in tasks],
    }


def best(work):
    """Seconds of processor time, the best of as many rounds as fit, three at least."""
    found, until = [], perf_counter() + SECONDS
    while len(found) < 3 or perf_counter() < until:
        start = process_time()
        work()
        found.append(process_time() - start)
    return min(found)


def ours(data):
    resource = wire.read(data)
    assert resource["entry"][0]["resource"]["meta"]["profile"]
    assert validate(resource) == []
    return wire.write(resource)


def theirs(data):
    return Bundle.model_validate_json(data).model_dump_json()


def compiled(data):
    return fhirkit.parse(data).to_json()


def our_xml(data):
    return xml.write(xml.read(data))


def their_xml(data):
    return Bundle.model_validate_xml(data).model_dump_xml()


def tell(**what):
    print(json.dumps({"benchmark": "validate"} | what), flush=True)


def beside(what, size, mine, others):
    """One line: our time, that of each other, and how many times as long it takes."""
    times = {name: best(work) for name, work in others.items()}
    tell(
        what=what,
        resources=size,
        ours_ms=round(mine * 1000, 3),
        **{f"{name}_ms": round(seconds * 1000, 3) for name, seconds in times.items()},
        **{f"ratio_{name}": round(seconds / mine, 2) for name, seconds in times.items()},
    )


def exchange():
    each = {}
    for size in SIZES:
        made = bundle(size)
        data = wire.write(made)
        mine = best(lambda data=data: ours(data))
        each[size] = mine / size
        beside(
            "json",
            size,
            mine,
            {"fhir_resources": lambda data=data: theirs(data), "fhirkit_rs": lambda data=data: compiled(data)},
        )
        text = xml.write(made)
        if size < 1000:  # where fhir.resources takes a quarter of a minute
            beside(
                "xml",
                size,
                best(lambda text=text: our_xml(text)),
                {"fhir_resources": lambda text=text: their_xml(text)},
            )
    tell(what="growth", ratio=round(each[1000] / each[50], 2))


def memory():
    shown = subprocess.run([sys.executable, "-c", COMPILE_ALL], check=True, capture_output=True, text=True)
    tell(what="memory of all that is compiled", mb=round(float(shown.stdout), 1), wanted_mb=120)


def cold():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with NamedTemporaryFile(suffix=".json") as file:
        file.write(wire.write(bundle(1)))
        file.flush()
        record = str(Path(__file__).parent.parent / "examples" / "intervention.json")
        for name, arguments, wanted in (
            ("koord check, a Bundle", ["check", file.name], 0.3),
            ("koord check, a record", ["check", record], 0.3),
            ("koord --help", ["--help"], 0.1),
        ):
            times, processor = [], []
            for _ in range(7):  # the first of which leaves the bytecode that an installed package has
                start, used = perf_counter(), _used_by_children()
                command = [sys.executable, "-m", "adapter.cli", *arguments]
                subprocess.run(command, check=True, capture_output=True, env=environment)
                times.append(perf_counter() - start)
                processor.append(_used_by_children() - used)
            tell(
                what=f"cold: {name}",
                seconds=round(min(times), 3),
                processor_s=round(min(processor), 3),
                wanted_s=wanted,
            )


def _used_by_children():
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    warnings.simplefilter("ignore")
    exchange()
    memory()
    cold()


if __name__ == "__main__":
    main()
