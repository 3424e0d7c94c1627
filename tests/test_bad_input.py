"""Input that is wrong or hostile: the same clear error from the command line and from the server, and nothing breaks. Costs: benchmarks/bad_input.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bad_input import BAD_INPUT, GOOD
from service_world import BASE_URL, CANARIES, codes, request_id, serving

from adapter.cli.checking import Bar, checked
from adapter.wire import LIMITS

BAR = Bar((), (), (), "test")
SPACE = 512 * 1024 * 1024
"""Room for the whole of hostile input beyond what the program takes: far more than it needs, far less than it could be made to take."""


@pytest.mark.parametrize("name", BAD_INPUT)
def test_it_is_told_by_code_with_place_reason_and_what_to_do(tmp_path, name):
    path = tmp_path / "input"
    path.write_bytes(BAD_INPUT[name].make())
    faults = checked(str(path), BAR).faults
    told = [fault for fault in faults if fault.code != "fhir.more"]
    assert tuple(sorted({fault.code for fault in told})) == BAD_INPUT[name].codes
    assert len(told) <= 1_000
    assert len(told) < 1_000 or faults != tuple(told)
    for fault in told:
        assert fault.line or fault.where or fault.named  # of what is too long or too much, the limit
        assert fault.why or fault.code.startswith("cli.")
        assert fault.do("sv")
        assert fault.do("en")
        assert not CANARIES.search(repr(fault))


def test_the_limit_of_size_is_named(tmp_path):
    path = tmp_path / "input"
    path.write_bytes(BAD_INPUT["a Bundle of 50 MB"].make())
    (fault,) = checked(str(path), BAR).faults
    assert str(LIMITS.size) in fault.says("en")


@pytest.mark.parametrize("data", GOOD, ids=["JSON", "XML"])
def test_what_they_are_made_of_is_right(tmp_path, data):
    path = tmp_path / "input"
    path.write_bytes(data)
    assert checked(str(path), BAR).faults == ()


# at the server

SERVER = {
    "port": 0,
    "base_url": BASE_URL,
    "authentication": "either",
    "tls": {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"},
    "limits": {"body_bytes": LIMITS.size},
}
ASKED = [("/fhir", name) for name in BAD_INPUT] + [("/records", name) for name in BAD_INPUT if "XML" not in name]
"""A journal system sends FHIR in both formats, the local system records in JSON."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("bad-input"), server=SERVER) as world:
        yield world


@pytest.mark.processes
@pytest.mark.parametrize(("path", "name"), ASKED)
def test_a_server_refuses_it_by_the_same_code_of_the_readers_and_stores_nothing(world, path, name):
    bad, before = BAD_INPUT[name], world.stored()
    answer = world.send(
        bad.make(),
        path=path,
        caller="journal" if path == "/records" else "region-b",
        content_type="application/fhir+xml" if "XML" in name else "application/json",
        accept="application/json",
        x_request_id=request_id(),
    )
    assert 400 <= answer.status_code < 500
    told = codes(answer)
    assert told
    if bad.codes[0].startswith("wire.") and "50 MB" not in name:
        assert tuple(sorted(set(told) - {"fhir.more"})) == bad.codes
    assert not CANARIES.search(answer.text)
    assert {**world.stored(), "audit": 0} == {**before, "audit": 0}


@pytest.mark.processes
def test_after_all_of_it_the_server_answers_as_before(world):
    assert world.call("region-b", "GET", "/fhir/metadata").status_code == 200


# memory

IN_LITTLE_SPACE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from bad_input import BAD_INPUT, GOOD
from adapter.cli.checking import Bar, checked

bar = Bar((), (), (), "test")
for data in GOOD:
    open(sys.argv[2], "wb").write(data)
    checked(sys.argv[2], bar)
has = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + int(sys.argv[3]),) * 2)
for bad in BAD_INPUT.values():
    open(sys.argv[2], "wb").write(bad.make())
    told = {fault.code for fault in checked(sys.argv[2], bar).faults} - {"fhir.more"}
    assert tuple(sorted(told)) == bad.codes
"""


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much space a process has is told by Linux")
def test_all_of_it_is_refused_in_little_space(tmp_path):
    arguments = [Path(__file__).parent, tmp_path / "input", SPACE]
    ended = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_SPACE, *map(str, arguments)], capture_output=True, check=False, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
