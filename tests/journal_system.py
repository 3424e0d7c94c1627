"""Region B's journal system: sekmet-fhir, an independent hospital system, as a process on loopback.

A test module asks for it by `pytest_plugins = ["journal_system"]`. It runs as it is shipped: R4, no login, plain HTTP,
its SQLite file (resources, and every request and answer in the table `traffic`) in a folder of the test run.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

START_SECONDS = 60.0
STOP_SECONDS = 10.0
PORT_ATTEMPTS = 3


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _serving(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, whose working directory decides what settings.yaml and key files it finds: none."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SEKMET_")}
    own |= {"SEKMET_BASE_URL": f"http://127.0.0.1:{port}/fhir", "SEKMET_DB": str(folder / "sekmet.db")}
    command = [sys.executable, "-m", "sekmet.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "sekmet.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log)
    try:
        yield process
    finally:
        _stop(process)


def _ready(process: subprocess.Popen[bytes], log: Path) -> bool:
    """True once it says that it listens; False if it ended instead, as when the port was taken meanwhile.

    A connection that succeeds would prove less: somebody else may hold the port.
    """
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if b"Uvicorn running on" in log.read_bytes():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def journal_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of the FHIR interface, without a slash at its end; the system knows nobody when the session starts."""
    folder = tmp_path_factory.mktemp("journal-system")
    log = folder / "sekmet.log"
    for _ in range(PORT_ATTEMPTS):
        port = _free_port()
        with _serving(port, folder) as process:
            if _ready(process, log):
                yield f"http://127.0.0.1:{port}/fhir"
                return
    pytest.fail("sekmet-fhir did not start:\n" + log.read_text(errors="replace")[-2000:])
