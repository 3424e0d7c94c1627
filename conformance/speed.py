"""
Bytes → parsed, validated, encoded → bytes: HAPI in a warm JVM beside the adapter, in the same run. JSON lines.

Bundles of 50 and of 1 000 Tasks, each held to its profile, are those of benchmarks/validate.py. Time on the clock, the best of
several rounds; both use one core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import java
import packages
from validate import bundle

from adapter.validation import errors, validate
from adapter.wire import json as wire

SIZES = (50, 1_000)
SECONDS = 6.0
WANTED = 5


def measured(hapi: java.Engine, package: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """One result for each size: both sides in milliseconds, and how many times faster we are."""
    files = [folder / f"bundle-{size}.json" for size in SIZES]
    for size, file in zip(SIZES, files, strict=True):
        file.write_bytes(wire.write(bundle(size)))
    theirs = hapi.run("Speed", str(package), str(SECONDS), *map(str, files)).split()
    for size, file, told in zip(SIZES, files, theirs, strict=True):
        ours = _best(file.read_bytes())
        yield {
            "benchmark": "conformance-speed",
            "workload": f"a Bundle of {size} Tasks, {file.stat().st_size // 1024} KB: parse, validate, encode",
            "ours": {"ms": round(ours, 2)},
            "theirs": {"what": "HAPI 8.8.1, warm JVM", "ms": round(float(told), 1)},
            "ratio": round(float(told) / ours, 1),
        }


def _best(data: bytes) -> float:
    best, until = float("inf"), perf_counter() + SECONDS / 2
    while perf_counter() < until:
        begun = perf_counter()
        resource = wire.read(data)
        if errors(validate(resource)):
            raise SystemExit("the benchmark's Bundle is not valid")
        wire.write(resource)
        best = min(best, perf_counter() - begun)
    return best * 1000


def main() -> None:
    folder = ROOT / ".cache" / "conformance"
    folder.mkdir(parents=True, exist_ok=True)
    results = list(measured(java.engine("hapi", folder), packages.ours("R4", folder), folder))
    for result in results:
        print(json.dumps(result))
    sys.exit(any(result["ratio"] < WANTED for result in results))


if __name__ == "__main__":
    main()
