"""
For the whole suite: Hypothesis profiles (``dev`` by default, ``ci`` where CI is set, ``nightly`` on demand), and two
promises that every test keeps without asking: nothing connects to another machine, and no log line holds a person's number.
"""

from __future__ import annotations

import os
import re
import socket
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, Phase, settings

from adapter.sweden import check_person_number

_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
_COMMON = {"deadline": None, "phases": _PHASES, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=30, **_COMMON)
settings.register_profile("ci", max_examples=60, derandomize=True, **_COMMON)
settings.register_profile("nightly", max_examples=20_000, **_COMMON)
settings.register_profile(
    "mutants", max_examples=15, derandomize=True, database=None, **_COMMON | {"phases": _PHASES[:3:2]}
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

_CONNECTING = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}


def _only_loopback(connect):
    def connecting(self, address):
        if self.family in {socket.AF_INET, socket.AF_INET6} and not ip_address(address[0]).is_loopback:
            raise PermissionError("a test tried to reach another machine")
        return connect(self, address)

    return connecting


@pytest.fixture(autouse=True, scope="session")
def _nothing_reaches_another_machine():
    for name, connect in _CONNECTING.items():
        setattr(socket.socket, name, _only_loopback(connect))
    yield
    for name, connect in _CONNECTING.items():
        setattr(socket.socket, name, connect)


@pytest.fixture(autouse=True)
def _no_log_holds_a_persons_number(caplog):
    yield
    for phase in ("setup", "call"):
        for record in caplog.get_records(phase):
            for found in re.findall(r"(?<![0-9a-f-])[0-9]{8}-?[0-9]{4}(?![0-9a-f])", record.getMessage()):
                with pytest.raises(ValueError):
                    check_person_number("personnummer", found.replace("-", ""))
