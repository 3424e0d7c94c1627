"""
What it costs to refuse input that is wrong or hostile: one JSON line for each kind.

Each is read, validated and reported, as ``koord check`` does, in a process of its own that has validated ordinary input before.
``ms``: processor time from the file to the report, the best of three; ``mb``: the most memory beyond what the process had before.
Wanted are 250 ms and 64 MB, for what is longer than the limit of size (5 MiB) too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bad_input import BAD_INPUT, GOOD

ROUNDS, MS, MB = 3, 250, 64


def measure(good, path):
    """In a new process: ``good`` are the files to begin with, ``path`` what is wrong."""
    from adapter.cli import report
    from adapter.cli.checking import Bar, checked

    def refused(name):
        start = process_time()
        rows = report.rows([checked(name, Bar((), (), (), "test"))], "en")
        return rows, (process_time() - start) * 1000

    for name in good:
        refused(name)
    before = _peak()
    found = [refused(path) for _ in range(ROUNDS)]
    rows = found[0][0]
    return {
        "codes": sorted({row["code"] for row in rows}),
        "faults": len(rows),
        "ms": round(min(ms for _, ms in found), 1),
        "mb": round(_peak() - before, 1),
    }


def _peak():
    """In MB. What getrusage tells begins with what the process that started this one had."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main():
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[2:], sys.argv[1])))
        return
    with TemporaryDirectory() as folder:
        good = [Path(folder, f"good-{number}") for number in range(len(GOOD))]
        for path, data in zip(good, GOOD, strict=True):
            path.write_bytes(data)
        wrong = Path(folder, "wrong")
        for name, bad in BAD_INPUT.items():
            wrong.write_bytes(bad.make())
            command = [sys.executable, __file__, wrong, *good]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            about = {"benchmark": "bad_input", "what": name, "bytes": wrong.stat().st_size}
            print(json.dumps(about | found | {"wanted": {"ms": MS, "mb": MB}}), flush=True)


if __name__ == "__main__":
    main()
